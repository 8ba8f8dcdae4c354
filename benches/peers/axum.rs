//! axum, as its documentation shows it: a router, extractors, `axum::serve`, on tokio's current-thread runtime, or for
//! several loops on tokio's own pool of threads.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::header::{CONTENT_TYPE, HeaderName, SERVER};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{Router, get, post};
use benches::peer::{self, HELLO, Options};
use bytes::Bytes;
use futures_util::stream;
use message::Message;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

type Named = [(HeaderName, &'static str); 1];
const NAMED: Named = [(SERVER, "axum")];
const OCTETS: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/octet-stream")];
const TEXT: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain")];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    let runtime = match options.loops {
        1 => Builder::new_current_thread().enable_io().enable_time().build()?,
        loops => Builder::new_multi_thread().worker_threads(loops).enable_io().enable_time().build()?,
    };
    runtime.block_on(serve(options.port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::from_std(peer::listen(port)?)?;
    peer::announce(listener.local_addr()?)?;
    let router = Router::new()
        .route("/plaintext", get(async || (NAMED, TEXT, HELLO)))
        .route("/json", get(async || (NAMED, Json(Message::HELLO))))
        .route("/echo", post(echo))
        .route("/bytes/{length}", get(bytes))
        .route("/chunked/{length}", get(chunked))
        .layer(DefaultBodyLimit::disable());
    axum::serve(listener, router).await?;
    Ok(())
}

async fn echo(body: Body) -> Response {
    (NAMED, OCTETS, body).into_response()
}

async fn bytes(Path(length): Path<usize>) -> Response {
    (NAMED, OCTETS, Bytes::from_static(peer::body(length))).into_response()
}

async fn chunked(Path(length): Path<usize>) -> Response {
    let chunks = peer::chunks(length).map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)));
    (NAMED, OCTETS, Body::from_stream(stream::iter(chunks))).into_response()
}
