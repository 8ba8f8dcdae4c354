//! A small line protocol with what a service needs: a limit on lines, an idle timeout, and a graceful end.
//! Step 1 of path 2 through the house (see ARCHITECTURE.md).
//!
//! Run it:           cargo run --release --example line_protocol [-- --port N]
//! In another shell: printf 'ADD 1 2 39\nPING\nQUIT\n' | nc 127.0.0.1 9999
//! End it:           kill -TERM its process: idle connections are closed, the others are served to the end.

use std::error::Error;
use std::time::Duration;

use ioloop::timeout;
use iostream::{IoStream, StreamError};
use tcpserver::{ConnectionContext, TcpServer};

/// The longest line, with its end.
const LONGEST_LINE: usize = 1024;

/// How long a client may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// How long clients that are served may take when the service ends.
const GRACE: Duration = Duration::from_secs(10);

async fn serve(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let next = timeout(SILENCE, context.until_drained(stream.read_until_max(b"\n", LONGEST_LINE))).await;
        let line = match next {
            Ok(Some(Ok(line))) => line,
            Ok(Some(Err(StreamError::DelimiterNotFound { .. }))) => {
                return stream.write("ERROR line too long\n").await;
            }
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) => return stream.write("BYE the service ends\n").await,
            Err(_elapsed) => return stream.write("BYE too long silent\n").await,
        };
        match answer(&line) {
            Some(answer) => stream.write(answer).await?,
            None => return stream.write("BYE\n").await,
        }
    }
}

/// What is said to a line; nothing more after that if there is nothing to say.
fn answer(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace();
    Some(match words.next() {
        Some("PING") => "PONG\n".to_owned(),
        Some("ADD") => {
            match words.map(str::parse::<i64>).try_fold(0_i64, |sum, next| sum.checked_add(next.ok()?)) {
                Some(sum) => format!("{sum}\n"),
                None => "ERROR whole numbers only, and a sum within 64 bits\n".to_owned(),
            }
        }
        Some("QUIT") => return None,
        _ => "ERROR the commands are ADD, PING and QUIT\n".to_owned(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("line_protocol [--port N]", &["--port"]);
    examples::log_to_stderr();

    let server = TcpServer::new(serve);
    let addresses = server.listen(flags.value("--port").unwrap_or(9999))?;

    examples::announce(&addresses)?;
    let report = server.run_until_signal(GRACE)?;
    examples::say(format_args!("{} connections finished, {} were cut", report.finished, report.aborted));
    Ok(())
}
