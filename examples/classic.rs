//! Tornado's classic program, as literally as Rust allows: a callback writes the raw response and finishes it.
//!
//! Run it:          cargo run --release --example classic [-- --port N]
//! In another shell: curl -s http://127.0.0.1:8888/story

use std::error::Error;

use httpserver::{Exchange, HttpServer};
use ioloop::IoLoop;

fn handle_request(request: &mut Exchange<'_>) {
    let message = format!("You requested {}\n", request.uri());
    request.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", message.len(), message));
    request.finish();
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("classic [--port N]", &["--port"]);

    let http_server = HttpServer::new(handle_request);
    let addresses = http_server.listen(flags.value("--port").unwrap_or(8888))?;
    examples::announce(&addresses)?;
    examples::stop_on_signals(&IoLoop::current())?;
    IoLoop::current().start()?;
    Ok(())
}
