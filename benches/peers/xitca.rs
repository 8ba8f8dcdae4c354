//! xitca-http with a worker for each loop: the same level as hyper, on its own server.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;
use std::task::Poll;

use benches::peer::{self, HELLO, Options, Route};
use futures_util::stream;
use message::Message;
use xitca_http::body::{BoxBody, Frame, RequestBody, ResponseBody, StreamBody};
use xitca_http::bytes::Bytes;
use xitca_http::http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use xitca_http::http::{Method, Request, RequestExt, Response, StatusCode};
use xitca_http::{BodyError, HttpServiceBuilder};
use xitca_service::{ServiceExt as _, fn_service};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    let listener = peer::listen(options.port)?;
    peer::announce(listener.local_addr()?)?;
    xitca_server::Builder::new()
        .worker_threads(options.loops)
        .listen("http", listener, fn_service(answer).enclosed(HttpServiceBuilder::h1()))
        .build()
        .wait()?;
    Ok(())
}

async fn answer(request: Request<RequestExt<RequestBody>>) -> Result<Response<ResponseBody>, BodyError> {
    Ok(match (request.method(), Route::of(request.uri().path())) {
        (&Method::GET, Route::Plaintext) => response("text/plain", HELLO.into()),
        (&Method::GET, Route::Json) => response("application/json", json()?),
        (&Method::GET, Route::Bytes(length)) => {
            response("application/octet-stream", Bytes::from_static(peer::body(length)).into())
        }
        (&Method::GET, Route::Chunked(length)) => {
            let mut chunks = peer::chunks(length);
            // Not `stream::iter`: the number of items that it announces would be taken for a number of bytes.
            let chunks = stream::poll_fn(move |_| {
                let chunk = chunks.next().map(|chunk| Frame::Data(Bytes::from_static(chunk)));
                Poll::Ready(chunk.map(Ok::<_, Infallible>))
            });
            response("application/octet-stream", ResponseBody::boxed(StreamBody::new(chunks)))
        }
        (&Method::POST, Route::Echo) => {
            response("application/octet-stream", BoxBody::new(request.into_body()).into())
        }
        _ => {
            let mut missing = response("text/plain", ResponseBody::empty());
            *missing.status_mut() = StatusCode::NOT_FOUND;
            missing
        }
    })
}

fn response(content_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(SERVER, HeaderValue::from_static("xitca"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json() -> Result<ResponseBody, BodyError> {
    Ok(serde_json::to_vec(&Message::HELLO)?.into())
}
