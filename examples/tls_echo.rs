//! The line echo with TLS, and with a certificate that is renewed while the server runs.
//!
//! Make a certificate: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
//!                       -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! Run it:             cargo run --release --features tls --example tls_echo -- --cert cert.pem --key key.pem [--port N]
//! In another shell:   openssl s_client -connect localhost:9443 -CAfile cert.pem -quiet
//! A new certificate:  put it into the same files, then kill -HUP the server.

use std::error::Error;

use ioloop::{IoLoop, SignalKind, signal};
use iostream::tls::{Pem, TlsAcceptor, TlsConfigError, TlsServerConfig};
use iostream::{IoStream, StreamError};
use tcpserver::{ConnectionContext, TcpServer};

const MAX_LINE: usize = 8192;

/// Sends each line back, and ends when the peer does. TLS has begun when it is called.
async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    while let Ok(line) = stream.read_until_max(b"\n", MAX_LINE).await {
        stream.write(line).await?;
    }
    Ok(())
}

fn load(cert: &str, key: &str) -> Result<TlsServerConfig, TlsConfigError> {
    TlsServerConfig::builder().certificate(Pem::file(cert), Pem::file(key)).alpn(["echo"]).build()
}

/// On SIGHUP later connections get what the files hold then; if that is no good, what was there stays.
async fn reload_on_hangup(acceptor: TlsAcceptor, cert: String, key: String) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::Hangup)?;
    loop {
        hangup.recv().await;
        match load(&cert, &key) {
            Ok(config) => acceptor.replace(config),
            Err(error) => examples::say(format_args!("the certificate stays as it is: {error}")),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "tls_echo [--port N] [--cert FILE] [--key FILE]";
    let flags = examples::Flags::parse(usage, &["--port", "--cert", "--key"]);
    let cert: String = flags.value("--cert").unwrap_or("cert.pem".to_owned());
    let key: String = flags.value("--key").unwrap_or("key.pem".to_owned());
    examples::log_to_stderr();
    let io_loop = IoLoop::current();

    let acceptor = TlsAcceptor::new(load(&cert, &key)?);
    io_loop.spawn_detached({
        let acceptor = acceptor.clone();
        async move {
            if let Err(error) = reload_on_hangup(acceptor, cert, key).await {
                examples::say(format_args!("no reload on SIGHUP: {error}"));
            }
        }
    });
    let server = TcpServer::new(echo).tls(acceptor);
    let addresses = server.listen(flags.value("--port").unwrap_or(9443))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
