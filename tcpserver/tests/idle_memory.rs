//! What a connection costs that only waits, over real sockets. A file of its own, because it counts all memory of the process.
#![cfg(target_os = "linux")]

#[path = "support/crowd.rs"]
mod crowd;

use crowd::{Crowd, assert_idle_connections_cost, be_the_crowd};
use ioloop::IoLoop;
use iostream::{IoStream, StreamError};
use netutil::BindOptions;
use tcpserver::{ConnectionContext, TcpServer};

async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until_max(b"\n", 8192).await?;
        stream.write(line).await?;
    }
}

#[test]
fn ts12_an_idle_connection_to_an_echo_server_costs_less_than_400_bytes() {
    netutil::raise_descriptor_limit().unwrap();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let server = TcpServer::new(echo);
    let addresses = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).unwrap();
    let crowd = Crowd::start("the_crowd", addresses[0]);
    assert_idle_connections_cost(server.handle(), &crowd, 360, 400);
}

#[test]
#[ignore = "the other process of the test above, which starts it"]
fn the_crowd() {
    be_the_crowd(b"hello\n", |answer| answer.ends_with(b"\n"));
}
