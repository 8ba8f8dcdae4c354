//! The smallest HTTP server: from a request to a response. Step 1 of path 1 through the house (see ARCHITECTURE.md).
//!
//! Run it:          cargo run --release --example hello [-- --port N]
//! In another shell: curl -s http://127.0.0.1:8888/story

use std::error::Error;

use httpserver::{HttpServer, Request, Response};
use ioloop::IoLoop;

async fn hello(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("hello [--port N]", &["--port"]);
    let io_loop = IoLoop::current();

    let server = HttpServer::new(hello);
    let addresses = server.listen(flags.value("--port").unwrap_or(8888))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
