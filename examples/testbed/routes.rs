//! What the testbed answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, Response};
use serde::Serialize;

use crate::watch;

/// The size of the pieces of a streamed answer.
const PIECE: usize = 16 * 1024;
/// The same, so small that they are copied behind each other.
const SMALL_PIECE: usize = 1000;
static ZEROS: [u8; 1024 * 1024] = [b'0'; 1024 * 1024];

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

pub async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let path = exchange.path();
    if path == "/plaintext" && matches!(*exchange.method(), Method::GET | Method::HEAD) {
        return exchange.send(Response::text("Hello, World!").content_type("text/plain")).await;
    }
    let (first, argument) =
        path[1.min(path.len())..].split_once('/').unwrap_or((&path[1.min(path.len())..], ""));
    let number = argument.parse::<u64>();
    match (exchange.method(), first, number) {
        (&Method::GET | &Method::HEAD, "json", _) => {
            exchange.send(Response::json(&Message { message: "Hello, World!" })?).await
        }
        (&Method::POST, "echo", _) => echo(exchange).await,
        (&Method::GET | &Method::HEAD, "bytes", Ok(n)) => bytes(exchange, n).await,
        (&Method::GET | &Method::HEAD, "chunked", Ok(n)) => chunked(exchange, n, PIECE).await,
        (&Method::GET | &Method::HEAD, "pieces", Ok(n)) => chunked(exchange, n, SMALL_PIECE).await,
        (&Method::GET | &Method::HEAD, "sleep", Ok(ms)) => {
            ioloop::sleep(Duration::from_millis(ms)).await;
            exchange.send(Response::text("slept\n")).await
        }
        (&Method::POST, "count", _) => count(exchange).await,
        (&Method::POST, "form", _) => form(exchange).await,
        (&Method::GET, "counters", _) => exchange.send(Response::text(watch::counters())).await,
        (&Method::POST, "die", _) => {
            watch::die();
            exchange.send(Response::text("dying\n")).await
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
async fn chunked(exchange: &mut Exchange<'_>, mut n: u64, piece: usize) -> Result<(), HttpError> {
    let response = exchange.respond(StatusCode::OK).header("Content-Type", "application/octet-stream");
    let mut response = response.start().await?;
    while n > 0 {
        let piece = n.min(piece as u64);
        response.write(Bytes::from_static(&ZEROS[..piece as usize])).await?;
        n -= piece;
    }
    response.finish().await
}

/// Reads the whole body before it answers, and keeps nothing of it.
async fn count(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut bytes = 0;
    while let Some(chunk) = exchange.body().chunk().await? {
        bytes += chunk.len();
    }
    exchange.send(Response::text(format!("{bytes}\n"))).await
}

/// Counts what is in a form.
async fn form(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    exchange.read_body().await?;
    let form = exchange.form()?;
    let text = format!("{} arguments, {} files\n", form.arguments.len(), form.files.len());
    exchange.send(Response::text(text)).await
}
