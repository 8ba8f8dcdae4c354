//! examples/mirror.rs on hyper: answers each request with what hyper took it to be. Bodies may have 1,000 bytes.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use benches::peer;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const MOST: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let port = peer::Options::from_arguments()?.port;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::from_std(peer::listen(port)?)?;
    peer::announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            // What is wrong with a request has been answered by then.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Whole>, Infallible> {
    let asked = format!("{} {}", request.method(), request.uri());
    let asked = HeaderValue::from_bytes(asked.as_bytes()).unwrap_or(HeaderValue::from_static("?"));
    Ok(match whole(request.into_body()).await {
        Ok(body) => {
            let mut response = Response::new(Whole(Some(body)));
            response.headers_mut().insert("x-request", asked);
            response
        }
        Err(status) => {
            let mut response = Response::new(Whole(None));
            *response.status_mut() = status;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    })
}

/// The body, or the status that refuses it.
async fn whole(mut body: Incoming) -> Result<Bytes, StatusCode> {
    let mut bytes = Vec::new();
    if body.size_hint().lower() > MOST as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        if bytes.len() > MOST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
    Ok(bytes.into())
}

struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
