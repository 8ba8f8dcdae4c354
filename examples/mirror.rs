//! Answers each request with how it was parsed, so that it can be compared with how other servers parse the same bytes.
//!
//! Run it:          cargo run --release --example mirror [-- --port N] [--max-body BYTES]
//! In another shell: curl -si -d hello http://127.0.0.1:8888/story
//!
//! The method and the target come back in the field X-Request, the body as the body. `scripts/ci.d/50-differential.sh` sends the cases
//! of httpserver/tests/conformance to this program and to other servers.

use std::error::Error;

use httpserver::{HttpError, HttpOptions, HttpServer, Request, Response};
use ioloop::IoLoop;

async fn mirror(request: Request) -> Result<Response, HttpError> {
    let asked = format!("{} {}", request.method(), request.uri());
    Ok(Response::bytes(request.body().clone()).header("X-Request", asked)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("mirror [--port N] [--max-body BYTES]", &["--port", "--max-body"]);
    let mut options = HttpOptions::new();
    options.limits.body_bytes = flags.value("--max-body").unwrap_or(options.limits.body_bytes);
    let io_loop = IoLoop::current();

    let server = HttpServer::new(mirror).options(options);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
