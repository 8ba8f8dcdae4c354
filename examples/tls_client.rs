//! A TLS client: sends its standard input, prints what comes back until the peer ends, and prints what was negotiated.
//!
//! Run it: printf 'GET / HTTP/1.0\r\n\r\n' | cargo run --release --features tls --example tls_client -- \
//!           --connect 127.0.0.1:8443 --name localhost [--ca FILE] [--cert FILE --key FILE] [--tls 1.2|1.3] [--alpn NAME]

use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;

use ioloop::IoLoop;
use iostream::tls::{Pem, TlsClientConfig, TlsConfigError, TlsVersion};
use iostream::{IoStream, StreamError};

const CHUNK: usize = 64 * 1024;

fn configure(flags: &examples::Flags) -> Result<TlsClientConfig, TlsConfigError> {
    let mut config = TlsClientConfig::builder();
    if let Some(issuers) = flags.value::<String>("--ca") {
        config = config.trust(Pem::file(issuers));
    }
    if let (Some(chain), Some(key)) = (flags.value::<String>("--cert"), flags.value::<String>("--key")) {
        config = config.certificate(Pem::file(chain), Pem::file(key));
    }
    match flags.value::<String>("--tls").as_deref() {
        Some("1.2") => config = config.versions([TlsVersion::Tls12]),
        Some("1.3") => config = config.versions([TlsVersion::Tls13]),
        _ => {}
    }
    config.alpn(flags.value::<String>("--alpn")).build()
}

/// Prints what comes, whole or not, and ends well only if the peer has said that this was all.
async fn talk(stream: &IoStream, question: Vec<u8>) -> Result<(), StreamError> {
    stream.write(question).await?;
    loop {
        match stream.read_partial(CHUNK).await {
            Ok(bytes) => drop(std::io::stdout().write_all(&bytes)),
            Err(_) if stream.is_end_of_stream() => return stream.shutdown_write().await,
            Err(error) => return Err(error),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "tls_client --connect ADDRESS:PORT --name NAME [--ca FILE] [--cert FILE --key FILE] [--tls 1.2|1.3] [--alpn NAME]";
    let known = ["--connect", "--name", "--ca", "--cert", "--key", "--tls", "--alpn"];
    let flags = examples::Flags::parse(usage, &known);
    let address: SocketAddr = flags.value("--connect").ok_or(usage)?;
    let name: String = flags.value("--name").ok_or(usage)?;
    let config = configure(&flags)?;
    let mut question = Vec::new();
    std::io::stdin().read_to_end(&mut question)?;

    IoLoop::current().run_sync(async {
        let stream = IoStream::connect_tls(address, &name, &config).await?;
        if let Some(info) = stream.tls_info() {
            let alpn = info.alpn().map(String::from_utf8_lossy);
            eprintln!("{:?}, {}, ALPN {alpn:?}", info.version(), info.cipher());
        }
        talk(&stream, question).await
    })??;
    Ok(())
}
