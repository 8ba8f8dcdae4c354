//! A form with files, read as it arrives: each part in turn, none of them kept in memory unless that is wanted.
//!
//! Run it:            cargo run --release --example multipart_form [-- --port N]
//! In a browser:      http://127.0.0.1:8888/
//! In another shell:  curl -F name=Ann -F photo=@photo.jpg http://127.0.0.1:8888/
//!
//! Small forms are simpler: `request.form()?` has fields and files of a body that is in memory, urlencoded or multipart.

use std::error::Error;
use std::time::Duration;

use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, HttpServer, Response};

const PAGE: &str = "<!doctype html><title>form</title>
<form method=post enctype=multipart/form-data><input name=name> <input name=photo type=file multiple> <button>Send</button></form>
";

/// The longest text that is shown.
const LONGEST_TEXT: usize = 1024;

async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    match *exchange.method() {
        Method::GET | Method::HEAD => exchange.send(Response::html(PAGE)).await,
        Method::POST => {
            let seen = parts(exchange).await?; // what is no form, or breaks off, is answered with the status that says so
            exchange.send(Response::text(seen)).await
        }
        _ => {
            exchange
                .send(Response::new(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "GET, HEAD, POST")?)
                .await
        }
    }
}

async fn parts(exchange: &Exchange<'_>) -> Result<String, HttpError> {
    let mut seen = String::new();
    let mut parts = exchange.multipart()?;
    while let Some(mut part) = parts.next_part().await? {
        let name = part.head().name().to_owned();
        if let Some(file) = part.head().file_name().map(str::to_owned) {
            let content_type = part.head().content_type().to_owned();
            let mut bytes = 0; // `part.save_to(path, limit)` would write it to disk
            while let Some(chunk) = part.chunk().await? {
                bytes += chunk.len();
            }
            seen += &format!("{name}: the file {file:?}, {content_type}, {bytes} bytes\n");
        } else {
            let mut text = Vec::new();
            while let Some(chunk) = part.chunk().await? {
                text.extend_from_slice(&chunk[..chunk.len().min(LONGEST_TEXT - text.len())]);
            }
            seen += &format!("{name}: {:?}\n", String::from_utf8_lossy(&text));
        }
    }
    Ok(seen)
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("multipart_form [--port N]", &["--port"]);
    examples::log_to_stderr();

    let server = HttpServer::new(route);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
