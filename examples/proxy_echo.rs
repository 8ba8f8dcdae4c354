//! A line echo behind a proxy that names its client: the PROXY protocol, versions 1 and 2.
//!
//! Run it:           cargo run --release --example proxy_echo [-- --port N] [--from NETWORK]
//! In another shell: printf 'PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\nhello\n' | nc -N 127.0.0.1 9997
//! Or a real proxy:  scripts/ci.d/28-haproxy.sh puts HAProxy before it
//!
//! With --from only addresses of that network may connect, and each of them must send a header.

use std::error::Error;
use std::fmt::Write;

use iostream::{IoStream, StreamError};
use tcpserver::{ConnectionContext, ListenOptions, ProxyProtocol, TcpServer};

/// The longest line, with its end.
const LONGEST_LINE: usize = 1024;

/// Says first whom the proxy has named, then each line again.
async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    stream.write(greeting(&context)).await?;
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", LONGEST_LINE)).await {
        stream.write(line?).await?;
    }
    Ok(())
}

fn greeting(context: &ConnectionContext) -> String {
    let mut greeting = format!("client {} by {}", context.client_addr(), context.peer_addr());
    let Some(header) = context.proxy_header() else { return greeting + "\n" };
    // Writing to a string cannot fail.
    if let Some(destination) = header.destination() {
        let _ = write!(greeting, ", who connected to {destination}");
    }
    if let Some(authority) = header.authority() {
        let _ = write!(greeting, " and asked for {authority}");
    }
    if let Some(ssl) = header.ssl().filter(|ssl| ssl.is_tls()) {
        let _ = write!(greeting, " with {}", ssl.version().unwrap_or("TLS"));
    }
    if let Some(id) = header.unique_id() {
        let _ = write!(greeting, ", id {}", String::from_utf8_lossy(id));
    }
    greeting + "\n"
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("proxy_echo [--port N] [--from NETWORK]", &["--port", "--from"]);
    examples::log_to_stderr();

    let policy = match flags.value::<String>("--from") {
        Some(network) => ProxyProtocol::required_from([&*network])?,
        None => ProxyProtocol::required(),
    };
    let server = TcpServer::new(echo).with(ListenOptions::new().proxy_protocol(policy));
    let addresses = server.listen(flags.value("--port").unwrap_or(9997))?;

    examples::announce(&addresses)?;
    server.run_until_signal(std::time::Duration::from_secs(10))?;
    Ok(())
}
