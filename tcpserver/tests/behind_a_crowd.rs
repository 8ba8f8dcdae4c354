//! What a server does when most of a crowd has left: whoever keeps memory for the next connections is asked for it, once.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::{IoStream, testing};
use tcpserver::{ConnectionContext, HandleStream, Outcome, PeerAddr, TcpServer};

const CROWD: usize = 200;

/// Counts how often it was asked to give back what it keeps.
struct Keeper {
    asked: Rc<Cell<u32>>,
}

impl HandleStream for Keeper {
    fn handle_stream(
        &self,
        stream: IoStream,
        _: ConnectionContext,
    ) -> impl Future<Output: Outcome> + 'static {
        async move { drop(stream.read_until_close().await) }
    }

    fn release_memory(&self) {
        self.asked.set(self.asked.get() + 1);
    }
}

#[test]
fn a_handler_is_asked_for_its_memory_when_nobody_has_left_for_half_a_second_and_never_while_few_come_and_go()
{
    let test = VirtualLoop::new();
    test.make_current();
    let asked = Rc::new(Cell::new(0));
    let server = TcpServer::new(Keeper { asked: Rc::clone(&asked) });
    let come = |connections: usize| -> Vec<_> {
        let streams = (0..connections).map(|_| IoStream::new(testing::scripted().0).expect("a stream"));
        streams.inspect(|stream| server.add_stream(stream.clone(), PeerAddr::Unix(None))).collect()
    };
    for crowds in 0..3 {
        for _ in 0..CROWD {
            come(1).iter().for_each(IoStream::close);
            test.run_until_stalled();
        }
        test.advance(Duration::from_secs(2));
        assert_eq!(asked.get(), crowds, "few who come and go are no crowd");
        let crowd = come(CROWD);
        test.run_until_stalled();
        let (first, last) = crowd.split_at(CROWD - 4);
        first.iter().for_each(IoStream::close);
        for stream in last {
            test.advance(Duration::from_millis(300));
            assert_eq!(asked.get(), crowds, "some are still leaving");
            stream.close();
        }
        test.advance(Duration::from_secs(1));
        assert_eq!((asked.get(), server.open_connections()), (crowds + 1, 0));
    }
}
