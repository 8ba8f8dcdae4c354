//! The files of a folder, with ranges, so that a broken download can be resumed, and with conditional requests, so that a client that has
//! a file already is not sent it again.
//!
//! Run it:            cargo run --release --example download_range [-- --port N] [--root DIR]
//! In another shell:  curl -O http://127.0.0.1:8888/Cargo.lock
//!                    curl -C - -O http://127.0.0.1:8888/Cargo.lock           # goes on where it broke off
//!                    curl -r 0-9,-10 http://127.0.0.1:8888/Cargo.lock        # the first ten bytes and the last ten

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use httpserver::{HttpError, HttpServer, Request, Response, StaticFile};

async fn download(root: &str, request: &Request) -> Result<Response, HttpError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = Response::text("only to be read\n").status(StatusCode::METHOD_NOT_ALLOWED);
        return Ok(refused.header("Allow", "GET, HEAD")?);
    }
    // Nothing outside of the root: what could lead there names no file.
    match StaticFile::open_below(root, request.path()).await? {
        // The type by the name's ending, `ETag`, `Last-Modified`, and the answers to `Range`, `If-None-Match` and their kin.
        Some(file) => Ok(file.response_to(request)?),
        None => Ok(Response::text("no such file\n").status(StatusCode::NOT_FOUND)),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("download_range [--port N] [--root DIR]", &["--port", "--root"]);
    examples::log_to_stderr();
    let root: Rc<str> = flags.value("--root").unwrap_or_else(|| ".".to_owned()).into();

    let server = HttpServer::new(async move |request: Request| download(&root, &request).await);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
