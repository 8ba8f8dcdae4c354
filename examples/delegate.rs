//! Tornado's push interface: a delegate is called for each part of a request as it arrives, and answers when it likes. This one counts what is
//! uploaded, as `wc` does, however large; it prints to standard error how each connection and each upload has ended.
//!
//! Run it:            cargo run --release --example delegate [-- --port N]
//! In another shell:  curl -T Cargo.lock http://127.0.0.1:8888/

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use httpserver::{
    ConnectionContext, Exchange, Headers, HttpError, HttpMessageDelegate, HttpServer,
    HttpServerConnectionDelegate, Response,
};

/// For all connections.
struct WordCount;

/// For one request.
#[derive(Default)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    is_within_word: bool,
}

impl HttpServerConnectionDelegate for WordCount {
    type Message = Counts;

    fn start_request(&self, _connection: &ConnectionContext) -> Counts {
        Counts::default()
    }

    fn on_close(&self, connection: &ConnectionContext) {
        let (id, peer) = (connection.id(), connection.peer_addr());
        examples::say(format_args!("connection {id} of {peer} has ended"));
    }
}

impl HttpMessageDelegate for Counts {
    async fn headers_received(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
        if matches!(*request.method(), Method::PUT | Method::POST) {
            return Ok(());
        }
        // An answer now: the body, if there is one, is not read.
        request.send(Response::new(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "PUT, POST")?).await
    }

    /// Nothing more is read before this is done.
    async fn data_received(&mut self, _request: &mut Exchange<'_>, chunk: Bytes) -> Result<(), HttpError> {
        self.bytes += chunk.len() as u64;
        for byte in chunk {
            let is_blank = byte.is_ascii_whitespace();
            self.lines += u64::from(byte == b'\n');
            self.words += u64::from(!is_blank && !self.is_within_word);
            self.is_within_word = !is_blank;
        }
        Ok(())
    }

    async fn finish(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut fields = Headers::new();
        fields.add("Content-Type", "text/plain")?;
        request.write_headers(StatusCode::OK, &fields);
        request.write(format!("{} {} {}\n", self.lines, self.words, self.bytes));
        request.finish();
        Ok(())
    }

    /// Instead of `finish`: the client has left, its body was bad, or it had its answer before.
    fn on_connection_close(&mut self) {
        examples::say(format_args!("an upload was not finished, {} bytes had come", self.bytes));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("delegate [--port N]", &["--port"]);
    examples::log_to_stderr();

    let server = HttpServer::new(WordCount);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
