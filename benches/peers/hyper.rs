//! hyper 1.x on tokio's current-thread runtime: what most Rust HTTP servers stand on. Over TLS with tokio-rustls; for
//! several loops as many such runtimes, each with a listener of its own.
//!
//! `pipeline_flush` is on, as TechEmpower's entry has it: the answers of a pipelined batch leave in one write. Without
//! `--header-timeout SECONDS` no timer is set, so its header timeout is without effect and without cost.
//!
//! For the faults, which set that, there are `/count`, `/panic` and `/stream/N`, an answer of any size; and `pipeline_flush` is off:
//! with it hyper 1 keeps in memory whatever a body has ready for a client that does not read.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use benches::peer::{self, HELLO, Options, Route};
use benches::tls::Certificate;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use message::Message;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let options = Options::from_arguments()?;
    let listeners = peer::listen_for_each(options.loops, options.port)?;
    let tls = options.certificate.as_ref().map(acceptor).transpose()?;
    peer::announce(listeners[0].local_addr()?)?;
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let tls = tls.clone();
            thread::spawn(move || run(listener, tls, options.header_timeout))
        })
        .collect();
    // Those who serve do not end.
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a loop has panicked")?)
}

fn run(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    header_timeout: Option<Duration>,
) -> Result<(), Failure> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if header_timeout.is_some() {
        runtime.enable_time();
    }
    runtime.enable_io().build()?.block_on(serve(listener, tls, header_timeout))
}

async fn serve(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    header_timeout: Option<Duration>,
) -> Result<(), Failure> {
    let listener = TcpListener::from_std(listener)?;
    let mut http = http1::Builder::new();
    http.pipeline_flush(header_timeout.is_none());
    if let Some(limit) = header_timeout {
        http.timer(TokioTimer::new()).header_read_timeout(limit);
    }
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if header_timeout.is_some() => {
                // As axum::serve has it, which most servers on hyper are.
                eprintln!("accept error: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match &tls {
            None => drop(tokio::spawn(converse(http.clone(), stream))),
            Some(tls) => {
                let (handshake, http) = (tls.accept(stream), http.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = handshake.await {
                        converse(http, stream).await;
                    }
                });
            }
        }
    }
}

async fn converse(http: http1::Builder, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    // A client that goes away is no event here.
    let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, Failure> {
    let chain = CertificateDer::pem_file_iter(&certificate.chain)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let bytes = |bytes: &'static [u8]| Answer::Whole(Some(Bytes::from_static(bytes)));
    Ok(match (request.method(), Route::of(request.uri().path())) {
        (&Method::GET, Route::Plaintext) => response("text/plain", bytes(HELLO.as_bytes())),
        (&Method::GET, Route::Json) => response("application/json", json()),
        (&Method::GET, Route::Bytes(length)) if length <= peer::PIECE_BYTES => {
            response("application/octet-stream", bytes(peer::body(length)))
        }
        (&Method::GET, Route::Bytes(length)) => {
            let pieces = Box::new(peer::pieces(length));
            response("application/octet-stream", Answer::Pieces { pieces, left: length as u64 })
        }
        (&Method::GET, Route::Chunked(length)) => {
            response("application/octet-stream", Answer::Chunks(Box::new(peer::chunks(length))))
        }
        (&Method::POST, Route::Echo) => {
            response("application/octet-stream", Answer::Echo(request.into_body()))
        }
        _ => for_the_faults(request).await,
    })
}

async fn for_the_faults(request: Request<Incoming>) -> Response<Answer> {
    let path = request.uri().path();
    if let Some(length) = path.strip_prefix("/stream/").and_then(|length| length.parse().ok()) {
        return response("application/octet-stream", Answer::Chunks(Box::new(endless(length))));
    } else if path == "/count" {
        return count(request).await;
    } else if path == "/panic" {
        panic!("asked to");
    }
    let mut missing = response("text/plain", Answer::Whole(None));
    *missing.status_mut() = StatusCode::NOT_FOUND;
    missing
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
    Pieces { pieces: Box<dyn Iterator<Item = &'static [u8]> + Send>, left: u64 },
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
            Answer::Pieces { pieces, left } => {
                let piece = pieces.next();
                *left -= piece.map_or(0, |piece| piece.len() as u64);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
            }
            Answer::Echo(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(bytes) => bytes.is_none(),
            Answer::Chunks(_) => false,
            Answer::Pieces { left, .. } => *left == 0,
            Answer::Echo(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Answer::Chunks(_) => SizeHint::default(),
            Answer::Pieces { left, .. } => SizeHint::with_exact(*left),
            Answer::Echo(body) => body.size_hint(),
        }
    }
}
