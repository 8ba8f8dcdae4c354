//! Uploads that are written to disk as they arrive: memory stays small however large the file, and one that is too large is refused before it
//! has been sent.
//!
//! Run it:            cargo run --release --example upload [-- --port N] [--dir DIR] [--limit BYTES]
//! In another shell:  curl -T large.iso http://127.0.0.1:8888/large.iso
//!                    curl -T large.iso http://127.0.0.1:8888/large.iso      # 409: it is there already

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, HttpServer, Response};

const USAGE: &str = "upload [--port N] [--dir DIR] [--limit BYTES]";

struct Uploads {
    folder: PathBuf,
    limit: u64,
}

impl Uploads {
    async fn answer(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        if *exchange.method() != Method::PUT {
            let refused = Response::text("PUT a file here\n").status(StatusCode::METHOD_NOT_ALLOWED);
            return exchange.send(refused.header("Allow", "PUT")?).await;
        }
        let Some(name) = file_name(exchange.path()) else {
            let refused = Response::text("a name of letters, digits, dots and dashes\n");
            return exchange.send(refused.status(StatusCode::BAD_REQUEST)).await;
        };
        if exchange.headers().contains("content-range") {
            // A part must not pass for the whole (RFC 9110 §14.5); `curl -C -` sends one to resume.
            return exchange.send(Response::text("whole files only\n").status(StatusCode::BAD_REQUEST)).await;
        }
        let path = self.folder.join(name);
        // Instead of the server's 100 MiB. Who announces more gets a 413 at once, and no `100 Continue`.
        exchange.set_max_body_size(self.limit);
        let answer = match exchange.body().save_to(&path, self.limit).await {
            Ok(bytes) => Response::text(format!("{bytes} bytes\n")).status(StatusCode::CREATED),
            Err(HttpError::Io(ErrorKind::AlreadyExists)) => {
                Response::text("it is there already\n").status(StatusCode::CONFLICT)
            }
            Err(error) => return Err(error), // a 413, a 408, or a 500; nothing is left on disk
        };
        exchange.send(answer).await
    }
}

/// The last segment of the path, if it is a name that cannot lead anywhere else.
fn file_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (!name.is_empty() && !name.starts_with('.') && name.bytes().all(is_good)).then_some(name)
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse(USAGE, &["--port", "--dir", "--limit"]);
    examples::log_to_stderr();
    let folder = flags.value("--dir").unwrap_or_else(|| PathBuf::from("."));
    let uploads = Uploads { folder, limit: flags.value("--limit").unwrap_or(10 << 30) };

    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| uploads.answer(exchange).await);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
