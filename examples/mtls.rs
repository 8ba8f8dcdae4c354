//! Both sides have certificates: only clients with a certificate from our CA get in, and the handler knows whose it is.
//!
//! A CA, and the certificates that it issues to the server and to a client:
//!   new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -subj /CN=$1 "${@:2}"; }
//!   new ca -x509 -out ca.pem
//!   new server -addext subjectAltName=DNS:localhost | openssl x509 -req -CA ca.pem -CAkey ca.key -copy_extensions copy -out server.pem
//!   new client -addext subjectAltName=DNS:ann | openssl x509 -req -CA ca.pem -CAkey ca.key -copy_extensions copy -out client.pem
//! Run it:            cargo run --release --features tls --example mtls [-- --port N] [--cert FILE] [--key FILE] [--client-ca FILE]
//! In another shell:  curl --cacert ca.pem --cert client.pem --key client.key https://localhost:8443/
//!                    openssl x509 -in client.pem -noout -fingerprint -sha256       # says the same

use std::error::Error;
use std::time::Duration;

use httpserver::{HttpServer, Request};
use iostream::tls::{Pem, TlsServerConfig};
use ring::digest::{SHA256, digest};

/// Who is let in is the authority's affair; who may do what, that of a list of fingerprints, for instance.
async fn whoami(request: Request) -> String {
    let Some(tls) = request.tls_info() else { return "no TLS\n".to_owned() };
    let Some(certificate) = tls.peer_certificates().next() else { return "no certificate\n".to_owned() };
    let fingerprint: Vec<_> =
        digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("You are {}\n", fingerprint.join(":"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "mtls [--port N] [--cert FILE] [--key FILE] [--client-ca FILE]";
    let flags = examples::Flags::parse(usage, &["--port", "--cert", "--key", "--client-ca"]);
    let file = |flag, otherwise: &str| Pem::file(flags.value(flag).unwrap_or(otherwise.to_owned()));
    examples::log_to_stderr();

    let tls = TlsServerConfig::builder()
        .certificate(file("--cert", "server.pem"), file("--key", "server.key"))
        .require_client_certificates(file("--client-ca", "ca.pem"))
        .alpn(["http/1.1", "http/1.0"])
        .build()?;
    let server = HttpServer::new(whoami).tls(tls);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8443))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
