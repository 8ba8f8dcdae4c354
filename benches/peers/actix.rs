//! actix-web with as many workers as loops are asked for.

#![forbid(unsafe_code)]

mod message;

use std::convert::Infallible;
use std::error::Error;

use actix_web::http::header::{CONTENT_TYPE, SERVER};
use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpResponseBuilder, HttpServer, web};
use benches::peer::{self, HELLO, Options};
use bytes::Bytes;
use futures_util::stream;
use message::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    let listener = peer::listen(options.port)?;
    peer::announce(listener.local_addr()?)?;
    let server = HttpServer::new(|| {
        App::new()
            .app_data(web::PayloadConfig::new(peer::MAX_BODY_BYTES))
            .route("/plaintext", web::get().to(plaintext))
            .route("/json", web::get().to(json))
            .route("/echo", web::post().to(echo))
            .route("/bytes/{length}", web::get().to(bytes))
            .route("/chunked/{length}", web::get().to(chunked))
    });
    System::new().block_on(server.workers(options.loops).listen(listener)?.run())?;
    Ok(())
}

fn ok(content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((SERVER, "actix")).insert_header((CONTENT_TYPE, content_type));
    response
}

async fn plaintext() -> HttpResponse {
    ok("text/plain").body(HELLO)
}

async fn json() -> HttpResponse {
    ok("application/json").json(Message::HELLO)
}

/// The whole body first: actix-web closes a connection whose answer begins before the request has ended.
async fn echo(body: Bytes) -> HttpResponse {
    ok("application/octet-stream").body(body)
}

async fn bytes(length: web::Path<usize>) -> HttpResponse {
    ok("application/octet-stream").body(Bytes::from_static(peer::body(*length)))
}

async fn chunked(length: web::Path<usize>) -> HttpResponse {
    let chunks = peer::chunks(*length).map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)));
    ok("application/octet-stream").streaming(stream::iter(chunks))
}
