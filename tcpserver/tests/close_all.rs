//! All connections closed at once, and their ends waited for.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::IoStream;
use support::{connect, loopback};
use tcpserver::{ConnectionContext, TcpServer};

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
