//! ntex's HTTP service without its web layer, a worker for each loop, on its own polling runtime.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::rc::Rc;

use benches::peer::{self, HELLO, Options, Route};
use futures_util::{TryStreamExt as _, stream};
use message::Message;
use ntex::http::body::SizedStream;
use ntex::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, SERVER};
use ntex::http::{HttpService, Method, Request, Response, ResponseBuilder};
use ntex::util::Bytes;

#[ntex::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    let listener = peer::listen(options.port)?;
    peer::announce(listener.local_addr()?)?;
    ntex::server::build()
        .workers(options.loops)
        .listen("http", listener, async |_| HttpService::new(answer))?
        .run()
        .await?;
    Ok(())
}

async fn answer(mut request: Request) -> Result<Response, io::Error> {
    Ok(match (request.method(), Route::of(request.path())) {
        (&Method::GET, Route::Plaintext) => ok("text/plain").body(HELLO),
        (&Method::GET, Route::Json) => ok("application/json").json(&Message::HELLO),
        (&Method::GET, Route::Bytes(length)) => {
            ok("application/octet-stream").body(Bytes::from_static(peer::body(length)))
        }
        (&Method::GET, Route::Chunked(length)) => {
            let chunks = peer::chunks(length).map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)));
            ok("application/octet-stream").streaming(stream::iter(chunks))
        }
        (&Method::POST, Route::Echo) => {
            let body = request.take_payload();
            match content_length(request.headers()) {
                Some(length) => {
                    let body = body.map_err(|error| Rc::new(error) as Rc<dyn Error>);
                    ok("application/octet-stream").body(SizedStream::new(length, body))
                }
                None => ok("application/octet-stream").streaming(body),
            }
        }
        _ => Response::NotFound().finish(),
    })
}

fn ok(content_type: &'static str) -> ResponseBuilder {
    let mut response = Response::Ok();
    response.set_header(SERVER, HeaderValue::from_static("ntex"));
    response.set_header(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
