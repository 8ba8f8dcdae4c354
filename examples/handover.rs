//! A server that replaces itself while it serves: on SIGHUP it starts its program again, passes its listeners to the new process, and drains once
//! that is ready. No connection is refused or reset meanwhile; if the new process fails, the old one goes on. Linux.
//!
//! Run it:           cargo run --release --example handover [-- --port N]
//! In another shell: while echo who | nc -N 127.0.0.1 9996; do :; done
//! In a third one:   kill -HUP the process that answers, perhaps after a `cargo build`; kill -TERM ends it
//!
//! Started by systemd from a socket unit with `FileDescriptorName=lines` it takes that listener.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("listeners are handed over on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::process::id;
    use std::time::Duration;

    use iostream::{IoStream, StreamError};
    use netutil::{BindOptions, activated_sockets, bind_sockets};
    use tcpserver::{ConnectionContext, TcpServer};

    /// What the listeners are called on their way.
    const NAME: &str = "lines";

    /// How long clients that are served may take when the process ends.
    const GRACE: Duration = Duration::from_secs(60);

    /// Answers each line with the number of the process.
    async fn serve(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
        while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 1024)).await {
            drop(line?);
            stream.write(format!("process {}\n", id())).await?;
        }
        Ok(())
    }

    pub(crate) fn main() -> Result<(), Box<dyn Error>> {
        let flags = examples::Flags::parse("handover [--port N]", &["--port"]);
        examples::log_to_stderr();

        let mut sockets = activated_sockets()?;
        let mut listeners = sockets.take_tcp(NAME)?;
        if listeners.is_empty() {
            listeners = bind_sockets(flags.value("--port").unwrap_or(9996), &BindOptions::new())?;
        }
        let addresses: Vec<_> = listeners.iter().filter_map(|it| it.local_addr().ok()).collect();
        let server = TcpServer::new(serve);
        server.add_sockets(listeners)?;

        examples::announce(&addresses)?;
        let report = server.run_until_replaced(NAME, sockets, GRACE)?;
        let (finished, aborted) = (report.finished, report.aborted);
        examples::say(format_args!("process {}: {finished} connections finished, {aborted} were cut", id()));
        Ok(())
    }
}
