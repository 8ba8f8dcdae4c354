//! A protocol of your own on tcpserver, without HTTP: every line comes back.
//!
//! Run it:           cargo run --release --example echo [-- --port N] [--max-line BYTES]
//! In another shell: printf 'hello\nworld\n' | nc -N 127.0.0.1 9999

use std::error::Error;

use ioloop::IoLoop;
use iostream::{IoStream, StreamError};
use tcpserver::TcpServer;

/// When a peer has left this much unread, it is time to wait for it.
const ENOUGH_UNREAD: usize = 64 * 1024;

/// Sends each line back, copied once. Lines that arrive together are answered together: what is written leaves when nothing
/// is left to be read.
async fn echo(stream: IoStream, max_line: u32) -> Result<(), StreamError> {
    loop {
        let send = |line: &[u8]| stream.append_with(|output| output.extend_from_slice(line));
        stream.read_until_with(b"\n", max_line as usize, send).await??;
        if stream.pending() >= ENOUGH_UNREAD {
            stream.flush().await?;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("echo [--port N] [--max-line BYTES]", &["--port", "--max-line"]);
    let max_line = flags.value("--max-line").unwrap_or(8192);
    examples::log_to_stderr();
    let io_loop = IoLoop::current();

    let server = TcpServer::new(move |stream, _context| echo(stream, max_line));
    let addresses = server.listen(flags.value("--port").unwrap_or(9999))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
