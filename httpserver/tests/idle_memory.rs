//! What a kept-alive connection costs between two requests, over real sockets. A file of its own, because it counts all memory of the
//! process.
#![cfg(target_os = "linux")]

#[path = "../../tcpserver/tests/support/crowd.rs"]
mod crowd;

use crowd::{Crowd, assert_idle_connections_cost, be_the_crowd};
use httpserver::{HttpServer, Request, Response};
use ioloop::IoLoop;
use tcpserver::BindOptions;

async fn hello(_: Request) -> Response {
    Response::text("hello")
}

#[test]
fn an_idle_connection_costs_less_than_420_bytes_and_nothing_when_it_has_gone() {
    netutil::raise_descriptor_limit().unwrap();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let server = HttpServer::new(hello);
    let addresses = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).unwrap();
    let crowd = Crowd::start("the_crowd", addresses[0]);
    assert_idle_connections_cost(server.handle(), &crowd, 376, 420);
}

#[test]
#[ignore = "the other process of the test above, which starts it"]
fn the_crowd() {
    be_the_crowd(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", |answer| answer.ends_with(b"hello"));
}
