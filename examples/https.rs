//! HTTP over TLS: a connection begins TLS and is then served as any other.
//!
//! Make a certificate as `tls_echo` says, then
//! Run it:            cargo run --release --features tls --example https -- --cert cert.pem --key key.pem [--port N]
//!                    [--client-ca FILE], whose issuers' clients alone are let in
//! In another shell:  curl --cacert cert.pem https://localhost:8443/story

use std::error::Error;
use std::rc::Rc;

use httpserver::{HttpServer, Request, Response};
use ioloop::IoLoop;
use iostream::tls::{Pem, TlsAcceptor, TlsConfigError, TlsServerConfig};
use iostream::{IoStream, StreamError};
use tcpserver::TcpServer;

async fn hello(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

fn load(cert: String, key: String, client_ca: Option<String>) -> Result<TlsServerConfig, TlsConfigError> {
    let mut config =
        TlsServerConfig::builder().certificate(Pem::file(cert), Pem::file(key)).alpn(["http/1.1"]);
    if let Some(issuers) = client_ca {
        config = config.require_client_certificates(Pem::file(issuers));
    }
    config.build()
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "https [--port N] [--cert FILE] [--key FILE] [--client-ca FILE]";
    let flags = examples::Flags::parse(usage, &["--port", "--cert", "--key", "--client-ca"]);
    let cert = flags.value("--cert").unwrap_or("cert.pem".to_owned());
    let key = flags.value("--key").unwrap_or("key.pem".to_owned());
    examples::log_to_stderr();
    let io_loop = IoLoop::current();

    let acceptor = TlsAcceptor::new(load(cert, key, flags.value("--client-ca"))?);
    let http = Rc::new(HttpServer::new(hello));
    let server = TcpServer::new(move |stream: IoStream, context| {
        let (http, acceptor) = (Rc::clone(&http), acceptor.clone());
        async move {
            stream.start_tls_server(&acceptor).await?;
            http.serve_stream(stream, context).await;
            Ok::<_, StreamError>(())
        }
    });
    let addresses = server.listen(flags.value("--port").unwrap_or(8443))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
