//! may_minihttp: stackful coroutines, the fastest of TechEmpower's Rust entries on plain text. A scheduler thread for each loop.
//!
//! It has no timeouts, no limits and no chunked framing in either direction, and it never closes a connection
//! by itself, so the scenarios that need those are not run against it.

#![forbid(unsafe_code)]

mod message;

use std::error::Error;
use std::io::{self, Read as _};

use benches::peer::{self, HELLO, Options, Route};
use bytes::BufMut as _;
use may_minihttp::{HttpServer, HttpService, Request, Response};
use message::Message;

#[derive(Clone)]
struct Service;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    may::config().set_workers(options.loops);
    // It takes an address, not a listener: a port that was free a moment ago stands in for port 0.
    let address = peer::listen(options.port)?.local_addr()?;
    let server = HttpServer(Service).start(address)?;
    peer::announce(address)?;
    server.wait();
    Ok(())
}

impl HttpService for Service {
    fn call(&mut self, request: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        match (request.method(), Route::of(request.path())) {
            ("GET", Route::Plaintext) => {
                response.header("Content-Type: text/plain").body(HELLO);
            }
            ("GET", Route::Json) => {
                response.header("Content-Type: application/json");
                serde_json::to_writer(response.body_mut().writer(), &Message::HELLO)?;
            }
            ("GET", Route::Bytes(length)) => {
                response.header("Content-Type: application/octet-stream");
                response.body_mut().extend_from_slice(peer::body(length));
            }
            ("POST", Route::Echo) => {
                response.header("Content-Type: application/octet-stream");
                let mut body = Vec::new();
                request.body().read_to_end(&mut body)?;
                response.body_vec(body);
            }
            _ => {
                response.status_code(404, "Not Found");
            }
        }
        Ok(())
    }
}
