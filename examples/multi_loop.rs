//! A server on all CPUs: Tornado's `bind` and `start`, one loop per thread, and a choice of how connections are spread over them.
//!
//! Run it:           cargo run --release --example multi_loop [-- --port N --loops N --accept shared|reuse-port|dispatch]
//!                   (no loops given: one for each CPU)
//! In another shell: for n in 1 2 3 4 5 6; do (echo; sleep 1) | nc 127.0.0.1 9996 & done; wait
//! End it:           kill -TERM its process: all loops are drained, and it prints how many connections each has served.

use std::cell::Cell;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use ioloop::{IoLoop, worker_index};
use iostream::{IoStream, StreamError};
use tcpserver::{AcceptStrategy, ConnectionContext, TcpServer};

/// How long clients that are served may take when the service ends.
const GRACE: Duration = Duration::from_secs(10);

thread_local! {
    /// What a loop keeps for itself needs no lock: its connections share one thread.
    static LINES: Cell<u64> = const { Cell::new(0) };
}

/// Answers each line with who has read it: the loop, and how many lines that has had.
async fn serve(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    let place = worker_index().map_or("this loop".to_owned(), |index| format!("loop {index}"));
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 1024)).await {
        line?;
        LINES.set(LINES.get() + 1);
        stream.write(format!("{place}, line {}\n", LINES.get())).await?;
    }
    Ok(())
}

struct Accept(AcceptStrategy);

impl FromStr for Accept {
    type Err = ();

    fn from_str(text: &str) -> Result<Accept, ()> {
        match text {
            "shared" => Ok(Accept(AcceptStrategy::Shared)),
            "reuse-port" => Ok(Accept(AcceptStrategy::ReusePort)),
            "dispatch" => Ok(Accept(AcceptStrategy::Dispatch)),
            _ => Err(()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "multi_loop [--port N] [--loops N] [--accept shared|reuse-port|dispatch]";
    let flags = examples::Flags::parse(usage, &["--port", "--loops", "--accept"]);
    let Accept(strategy) = flags.value("--accept").unwrap_or(Accept(AcceptStrategy::Shared));
    examples::log_to_stderr();

    let server = TcpServer::new(serve).accept_strategy(strategy);
    let addresses = server.bind(flags.value("--port").unwrap_or(9996))?;
    let servers = server.start(flags.value("--loops").unwrap_or(0))?;

    examples::announce(&addresses)?;
    let report = servers.run_until_signal(GRACE)?;
    let metrics = IoLoop::current().run_sync(servers.metrics())?;
    for (index, counted) in metrics.loops.iter().enumerate() {
        let (accepted, bytes) = (counted.accepted, counted.bytes_received);
        examples::say(format_args!("loop {index}: {accepted} connections, {bytes} bytes"));
    }
    let (finished, aborted, skew) = (report.finished, report.aborted, metrics.skew());
    examples::say(format_args!("{finished} finished, {aborted} were cut; skew {skew:.2}"));
    Ok(())
}
