//! hyper 1.x on tokio's current-thread runtime: what most Rust HTTP servers stand on.
//!
//! `pipeline_flush` is on, as TechEmpower's entry has it: the answers of a pipelined batch leave in one write. Without
//! `--header-timeout SECONDS` no timer is set, so its header timeout is without effect and without cost.
//!
//! For the faults there are `/count`, `/panic` and `/stream/N`, an answer of any size.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use benches::peer::{self, HELLO, Route};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lexopt::prelude::*;
use message::Message;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut port, mut header_timeout) = (0, None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = arguments.value()?.parse()?,
            Long("header-timeout") => {
                header_timeout = Some(Duration::try_from_secs_f64(arguments.value()?.parse()?)?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(serve(port, header_timeout))
}

async fn serve(port: u16, header_timeout: Option<Duration>) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::from_std(peer::listen(port)?)?;
    peer::announce(listener.local_addr()?)?;
    let mut http = http1::Builder::new();
    http.pipeline_flush(true);
    if let Some(limit) = header_timeout {
        http.timer(TokioTimer::new()).header_read_timeout(limit);
    }
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // As axum::serve has it, which most servers on hyper are.
                eprintln!("accept error: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            // A client that goes away is no event here.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let bytes = |bytes: &'static [u8]| Answer::Whole(Some(Bytes::from_static(bytes)));
    let path = request.uri().path();
    if let Some(length) = path.strip_prefix("/stream/").and_then(|length| length.parse().ok()) {
        return Ok(response("application/octet-stream", Answer::Chunks(Box::new(endless(length)))));
    } else if path == "/count" {
        return Ok(count(request).await);
    } else if path == "/panic" {
        panic!("asked to");
    }
    Ok(match (request.method(), Route::of(request.uri().path())) {
        (&Method::GET, Route::Plaintext) => response("text/plain", bytes(HELLO.as_bytes())),
        (&Method::GET, Route::Json) => response("application/json", json()),
        (&Method::GET, Route::Bytes(length)) => {
            response("application/octet-stream", bytes(peer::body(length)))
        }
        (&Method::GET, Route::Chunked(length)) => {
            response("application/octet-stream", Answer::Chunks(Box::new(peer::chunks(length))))
        }
        (&Method::POST, Route::Echo) => {
            response("application/octet-stream", Answer::Echo(request.into_body()))
        }
        _ => {
            let mut missing = response("text/plain", Answer::Whole(None));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            missing
        }
    })
}

/// Any number of bytes.
fn endless(bytes: usize) -> impl Iterator<Item = &'static [u8]> + Send {
    std::iter::repeat_n(peer::body(peer::CHUNK_BYTES), bytes / peer::CHUNK_BYTES)
}

/// Reads the body before it answers.
async fn count(request: Request<Incoming>) -> Response<Answer> {
    let (mut body, mut bytes) = (request.into_body(), 0);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => {
                let mut refused = response("text/plain", Answer::Whole(Some(Bytes::from(error.to_string()))));
                *refused.status_mut() = StatusCode::BAD_REQUEST;
                return refused;
            }
        }
    }
    response("text/plain", Answer::Whole(Some(Bytes::from(bytes.to_string()))))
}

fn response(content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    response.headers_mut().insert(SERVER, HeaderValue::from_static("hyper"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json() -> Answer {
    Answer::Whole(serde_json::to_vec(&Message::HELLO).ok().map(Bytes::from))
}

/// The one body type of all routes, so that the small answers pay for no box.
enum Answer {
    Whole(Option<Bytes>),
    Chunks(Box<dyn Iterator<Item = &'static [u8]> + Send>),
    Echo(Incoming),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Answer::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Answer::Chunks(chunks) => {
                Poll::Ready(chunks.next().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))))
            }
            Answer::Echo(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(bytes) => bytes.is_none(),
            Answer::Chunks(_) => false,
            Answer::Echo(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Answer::Chunks(_) => SizeHint::default(),
            Answer::Echo(body) => body.size_hint(),
        }
    }
}
