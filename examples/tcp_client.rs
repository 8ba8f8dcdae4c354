//! A client: connects to a host by name, sends the lines of the command line, prints what comes back.
//!
//! Run a server:     cargo run --release --example echo
//! In another shell: cargo run --release --example tcp_client -- localhost 9999 hello world

use std::error::Error;
use std::time::Duration;

use ioloop::{IoLoop, timeout};
use iostream::TcpClient;

/// For the look-up of the name and the connection together.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// For each answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// The longest answer, with its end of line.
const LONGEST_ANSWER: usize = 64 * 1024;

async fn talk(host: &str, port: u16, lines: &[String]) -> Result<(), Box<dyn Error>> {
    let client = TcpClient::new().timeout(CONNECTED_WITHIN);
    let stream = client.connect(host, port).await?;
    for line in lines {
        stream.write(format!("{line}\n")).await?;
        let answer = timeout(ANSWERED_WITHIN, stream.read_until_max(b"\n", LONGEST_ANSWER)).await??;
        print!("{}", String::from_utf8_lossy(&answer));
    }
    stream.shutdown(ANSWERED_WITHIN).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, lines @ ..] = arguments.as_slice() else {
        return Err("usage: tcp_client HOST PORT [LINE …]".into());
    };
    let port = port.parse().map_err(|_| format!("{port} is no port"))?;
    IoLoop::new()?.run_sync(talk(host, port, lines))?
}
