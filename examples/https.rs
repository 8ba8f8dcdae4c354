//! HTTP over TLS: the server does the handshake, the handler sees requests.
//!
//! Make a certificate as `tls_echo` says, then
//! Run it:            cargo run --release --features tls --example https -- --cert cert.pem --key key.pem [--port N]
//!                    [--client-ca FILE]: only clients with a certificate from these CAs are let in
//! In another shell:  curl --cacert cert.pem https://localhost:8443/story

use std::error::Error;
use std::time::Duration;

use httpserver::{HttpServer, Request, Response};
use iostream::tls::{Pem, TlsConfigError, TlsServerConfig};

async fn hello(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

fn load(cert: String, key: String, client_ca: Option<String>) -> Result<TlsServerConfig, TlsConfigError> {
    let mut config = TlsServerConfig::builder()
        .certificate(Pem::file(cert), Pem::file(key))
        .alpn(["http/1.1", "http/1.0"]);
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

    let server = HttpServer::new(hello).tls(load(cert, key, flags.value("--client-ca"))?);
    let addresses = server.listen(flags.value("--port").unwrap_or(8443))?;

    examples::announce(&addresses)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
