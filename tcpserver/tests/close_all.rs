//! All connections closed at once, their ends waited for, and what is cleared up behind them.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::IoStream;
use iostream::testing::{Script, scripted};
use support::{connect, echo, loopback};
use tcpserver::{ConnectionContext, HandleStream, PeerAddr, TcpServer};

#[test]
fn who_closes_all_waits_for_handlers_that_wait_for_something_else() {
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(|stream: IoStream, _: ConnectionContext| async move {
        let _ = stream.read_until_close().await;
        ioloop::sleep(Duration::from_secs(5)).await;
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let _clients = [connect(address), connect(address)];
    test.run_until_stalled();
    let done = Rc::new(Cell::new(false));
    let (tell, closing, given_up) =
        (Rc::clone(&done), server.close_all_connections(), server.close_all_connections());
    drop(given_up);
    test.spawn_detached(async move {
        closing.await;
        tell.set(true);
    });
    test.advance(Duration::from_secs(4));
    assert!(!done.get() && server.open_connections() == 2);
    test.advance(Duration::from_secs(1));
    assert!(done.get() && server.open_connections() == 0);
}

#[test]
fn a_server_clears_up_behind_a_crowd_also_if_the_loop_of_an_earlier_one_closed_before_it_had() {
    /// Has a crowd come and go on this loop; gives how many timers that has set.
    fn crowd<H: HandleStream>(test: &VirtualLoop, server: &TcpServer<H>) -> u64 {
        test.make_current();
        let clients = [(); 300].map(|()| {
            let (transport, script) = scripted();
            server.add_stream(IoStream::new(transport).expect("a stream"), PeerAddr::Unix(None));
            script
        });
        test.run_until_stalled();
        assert_eq!(server.open_connections(), 300);
        let before = test.counters().timers_inserted;
        clients.iter().for_each(Script::finish);
        test.run_until_stalled();
        assert_eq!(server.open_connections(), 0);
        test.counters().timers_inserted - before
    }
    let server = TcpServer::new(echo);
    let closes = VirtualLoop::new();
    assert_eq!(crowd(&closes, &server), 1, "it clears up in a while");
    closes.close();
    let another = VirtualLoop::new();
    assert_eq!(crowd(&another, &server), 1, "the first time came to nothing");
    another.advance(Duration::from_secs(1));
    assert_eq!(crowd(&another, &server), 1, "and the next crowd is another one");
}
