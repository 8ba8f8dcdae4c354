//! Stopping, draining, aborting and listening again, in whatever order (TS6): on virtual time, with the order of what is ready and of
//! what is done decided by a seed.

mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::{VirtualLoop, for_each_seed};
use iostream::{IoStream, StreamError};
use support::{connect, loopback, refused};
use tcpserver::{ConnectionContext, DrainPhase, TcpServer};

const STEPS: usize = 40;

async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        stream.write(line?).await?;
    }
    Ok(())
}

/// Whether a line comes back; if not, the connection has ended.
fn is_served(test: &VirtualLoop, client: &mut TcpStream) -> bool {
    client.set_nonblocking(true).expect("a socket");
    if client.write_all(b"line\n").is_err() {
        return false;
    }
    test.run_until_stalled();
    let mut answer = [0; 5];
    match client.read(&mut answer) {
        Ok(0) => false,
        Ok(_) => answer == *b"line\n",
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither served nor closed"),
        Err(_) => false,
    }
}

fn pick(test: &VirtualLoop, count: usize) -> usize {
    (test.chance() * count as f64) as usize
}

#[test]
fn ts6_a_server_that_is_stopped_drained_and_aborted_at_random_listens_again_whenever_it_is_told_to() {
    for_each_seed(150, |test| {
        test.make_current();
        let server = TcpServer::new(echo);
        let drains = Rc::new(Cell::new((0, 0)));
        let (mut open, mut closed): (Vec<SocketAddr>, Vec<SocketAddr>) = Default::default();
        let mut clients: Vec<TcpStream> = Vec::new();
        for _ in 0..STEPS {
            match pick(test, 7) {
                0 | 1 => {
                    let (listener, address) = loopback();
                    server.add_socket(listener).expect("a listener");
                    open.push(address);
                    assert_eq!(server.drain_progress().phase, DrainPhase::Serving);
                }
                2 | 3 => clients.extend(open.iter().map(|address| connect(*address))),
                4 => {
                    server.stop();
                    closed.append(&mut open);
                }
                5 => {
                    let (server, drains) = (server.clone(), Rc::clone(&drains));
                    let grace = Duration::from_millis(pick(test, 3) as u64 * 100);
                    drains.set((drains.get().0 + 1, drains.get().1));
                    test.spawn_detached(async move {
                        server.drain(grace).await;
                        drains.set((drains.get().0, drains.get().1 + 1));
                    });
                    test.run_until_stalled();
                    closed.append(&mut open);
                }
                _ => {
                    server.abort();
                    closed.append(&mut open);
                    test.run_until_stalled();
                    assert_eq!(server.open_connections(), 0);
                }
            }
            if pick(test, 2) == 0 {
                test.advance(Duration::from_millis(50));
            }
            assert!(closed.iter().all(|address| refused(*address)), "nothing is left open");
            closed.clear();
        }

        // Whatever has been, it serves when it is told to, and stops when it is told to.
        server.stop();
        let (listener, address) = loopback();
        server.add_socket(listener).expect("a listener");
        assert!(is_served(test, &mut connect(address)));
        clients.retain_mut(|client| is_served(test, client));
        test.run_until_stalled();
        assert_eq!(server.open_connections(), clients.len(), "who is not served is gone");
        server.stop();
        test.advance(Duration::from_secs(1));
        assert!(refused(address));
        let (begun, ended) = drains.get();
        assert_eq!(begun, ended, "every drain has ended");
        server.abort();
        test.run_until_stalled();
        let metrics = server.metrics();
        assert_eq!((metrics.active, metrics.shed.total(), test.counters().panics), (0, 0, 0));
    });
}
