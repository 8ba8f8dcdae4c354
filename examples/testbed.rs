//! The server that benchmarks and fault tests drive: a few routes that each load one thing.
//!
//! Run it:          cargo run --release --example testbed -- [--port N] [--header-timeout S] [--idle-timeout S]
//!                      [--body-timeout S] [--write-timeout S] [--max-body BYTES]
//! In another shell: curl -s http://127.0.0.1:8888/plaintext
//!
//! GET /plaintext   GET /json   POST /echo   GET /bytes/N   GET /chunked/N   GET /sleep/MS   GET /panic

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, HttpOptions, HttpServer, Response};
use ioloop::IoLoop;
use serde::Serialize;

const USAGE: &str = "testbed [--port N] [--header-timeout S] [--idle-timeout S] [--body-timeout S] [--write-timeout S] \
                     [--max-body BYTES]";
const FLAGS: [&str; 6] =
    ["--port", "--header-timeout", "--idle-timeout", "--body-timeout", "--write-timeout", "--max-body"];

/// The size of the pieces of a streamed answer.
const PIECE: usize = 16 * 1024;
static ZEROS: [u8; 1024 * 1024] = [b'0'; 1024 * 1024];

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let path = exchange.path();
    let (first, argument) =
        path[1.min(path.len())..].split_once('/').unwrap_or((&path[1.min(path.len())..], ""));
    let number = argument.parse::<u64>();
    match (exchange.method(), first, number) {
        (&Method::GET | &Method::HEAD, "plaintext", _) => {
            exchange.send(Response::text("Hello, World!").content_type("text/plain")).await
        }
        (&Method::GET | &Method::HEAD, "json", _) => {
            let body =
                serde_json::to_vec(&Message { message: "Hello, World!" }).map_err(HttpError::handler)?;
            exchange.send(Response::bytes(body).content_type("application/json")).await
        }
        (&Method::POST, "echo", _) => echo(exchange).await,
        (&Method::GET | &Method::HEAD, "bytes", Ok(n)) => bytes(exchange, n).await,
        (&Method::GET | &Method::HEAD, "chunked", Ok(n)) => chunked(exchange, n).await,
        (&Method::GET | &Method::HEAD, "sleep", Ok(ms)) => {
            ioloop::sleep(Duration::from_millis(ms)).await;
            exchange.send(Response::text("slept\n")).await
        }
        (_, "panic", _) => panic!("asked to"),
        _ => exchange.send(Response::text("not found\n").status(StatusCode::NOT_FOUND)).await,
    }
}

/// Sends the request body back as it comes.
async fn echo(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut response = exchange.respond(StatusCode::OK);
    if let Some(length) = exchange.headers().text("content-length").and_then(|text| text.parse().ok()) {
        response = response.content_length(length);
    }
    let mut response = response.header("Content-Type", "application/octet-stream").start().await?;
    while let Some(chunk) = exchange.body().chunk().await? {
        response.write(chunk).await?;
    }
    response.finish().await
}

/// Sends `n` bytes with a Content-Length, without a copy.
async fn bytes(exchange: &mut Exchange<'_>, mut n: u64) -> Result<(), HttpError> {
    let response = exchange.respond(StatusCode::OK).header("Content-Type", "application/octet-stream");
    let mut response = response.content_length(n).start().await?;
    while n > 0 {
        let piece = n.min(ZEROS.len() as u64);
        response.write(Bytes::from_static(&ZEROS[..piece as usize])).await?;
        n -= piece;
    }
    response.finish().await
}

/// Streams `n` bytes in pieces.
async fn chunked(exchange: &mut Exchange<'_>, mut n: u64) -> Result<(), HttpError> {
    let response = exchange.respond(StatusCode::OK).header("Content-Type", "application/octet-stream");
    let mut response = response.start().await?;
    while n > 0 {
        let piece = n.min(PIECE as u64);
        response.write(Bytes::from_static(&ZEROS[..piece as usize])).await?;
        n -= piece;
    }
    response.finish().await
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse(USAGE, &FLAGS);
    examples::log_to_stderr();
    let mut options = HttpOptions::new();
    options.header_timeout = flags.seconds("--header-timeout").unwrap_or(options.header_timeout);
    options.idle_connection_timeout = flags.seconds("--idle-timeout").or(options.idle_connection_timeout);
    options.body_timeout = flags.seconds("--body-timeout").unwrap_or(options.body_timeout);
    options.write_timeout = flags.seconds("--write-timeout").unwrap_or(options.write_timeout);
    options.limits.body_bytes = flags.value("--max-body").unwrap_or(options.limits.body_bytes);

    let io_loop = IoLoop::current();
    let server = HttpServer::new(route).options(options);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
