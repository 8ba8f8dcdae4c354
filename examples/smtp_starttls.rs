//! A mail sink that switches to TLS in mid-conversation (STARTTLS): it takes mail and prints how much came, and whether it was encrypted.
//!
//! Make a certificate as `tls_echo` says, then
//! Run it:           cargo run --release --features tls --example smtp_starttls -- --cert cert.pem --key key.pem [--port N]
//! In another shell: openssl s_client -connect localhost:2525 -starttls smtp -CAfile cert.pem

use std::error::Error;

use ioloop::IoLoop;
use iostream::tls::{TlsAcceptor, TlsServerConfig};
use iostream::{IoStream, StreamError};
use tcpserver::TcpServer;

const MAX_LINE: usize = 1000; // RFC 5321 §4.5.3.1.6
const MAX_MAIL: usize = 10 * 1024 * 1024;

async fn serve(stream: IoStream, acceptor: TlsAcceptor) -> Result<(), StreamError> {
    stream.write("220 sink ready\r\n").await?;
    loop {
        let line = stream.read_until_max(b"\r\n", MAX_LINE).await?;
        let verb =
            line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default().to_ascii_uppercase();
        let is_protected = stream.tls_info().is_some();
        match &verb[..] {
            b"EHLO" if is_protected => stream.write("250-sink\r\n250 SIZE 10485760\r\n").await?,
            b"EHLO" => stream.write("250-sink\r\n250-STARTTLS\r\n250 SIZE 10485760\r\n").await?,
            b"STARTTLS" if !is_protected => {
                // The answer must be out, and nothing may have come behind the command: `start_tls_server` sees to both.
                stream.write("220 go on\r\n").await?;
                stream.start_tls_server(&acceptor).await?;
            }
            b"MAIL" if !is_protected => stream.write("530 STARTTLS first\r\n").await?,
            b"DATA" if !is_protected => stream.write("503 STARTTLS first\r\n").await?,
            b"DATA" => {
                stream.write("354 end with a dot\r\n").await?;
                let mail = stream.read_until_max(b"\r\n.\r\n", MAX_MAIL).await?;
                let version = stream.tls_info().map(|info| info.version());
                examples::say(format_args!("mail: {} bytes over {version:?}", mail.len()));
                stream.write("250 taken\r\n").await?;
            }
            b"QUIT" => {
                stream.write("221 bye\r\n").await?;
                return Ok(());
            }
            _ => stream.write("250 ok\r\n").await?,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "smtp_starttls [--port N] [--cert FILE] [--key FILE]";
    let flags = examples::Flags::parse(usage, &["--port", "--cert", "--key"]);
    let cert: String = flags.value("--cert").unwrap_or("cert.pem".to_owned());
    let key: String = flags.value("--key").unwrap_or("key.pem".to_owned());
    examples::log_to_stderr();
    let io_loop = IoLoop::current();

    let acceptor = TlsAcceptor::new(TlsServerConfig::from_pem_files(cert, key)?);
    let server = TcpServer::new(move |stream, _context| serve(stream, acceptor.clone()));
    let addresses = server.listen(flags.value("--port").unwrap_or(2525))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
