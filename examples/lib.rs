//! What the examples share: flags, the line that says where they listen, and an orderly end.

mod drain;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ioloop::{IoLoop, SignalKind, signal};

pub use drain::{Drain, Guest, drain};

/// The flags of the command line, each with a value: `--port 8888` or `--port=8888`.
pub struct Flags {
    usage: &'static str,
    given: Vec<(String, String)>,
}

impl Flags {
    /// Reads the command line. A flag that is not among `known`, or has no value, ends the program with `usage` and status 2.
    pub fn parse(usage: &'static str, known: &[&str]) -> Flags {
        let mut flags = Flags { usage, given: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            if !known.contains(&name.as_str()) {
                flags.refuse(&format!("unknown flag {name}"));
            }
            match value.or_else(|| arguments.next()) {
                Some(value) => flags.given.push((name, value)),
                None => flags.refuse(&format!("{name} needs a value")),
            }
        }
        flags
    }

    /// The value of a flag, if it was given.
    pub fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        let (_, value) = self.given.iter().rev().find(|(given, _)| given == name)?;
        value.parse().map_err(|_| self.refuse(&format!("{name} does not take {value}"))).ok()
    }

    /// The value of a flag that takes seconds, fractions allowed.
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        let seconds = self.value::<f64>(name)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) => Some(duration),
            Err(_) => self.refuse(&format!("{name} does not take {seconds}")),
        }
    }

    fn refuse(&self, why: &str) -> ! {
        eprintln!("{why}\nusage: {}", self.usage);
        std::process::exit(2)
    }
}

/// Says where the program listens, a line each, at once: scripts wait for it.
pub fn announce(addresses: &[SocketAddr]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for address in addresses {
        writeln!(out, "listening on {address}")?;
    }
    out.flush()
}

/// Writes a line to standard error, if anybody reads that: `eprintln!` would panic if not.
pub fn say(line: impl std::fmt::Display) {
    let _said = writeln!(io::stderr(), "{line}");
}

/// Has SIGTERM and SIGINT stop the loop, so that the program ends with status 0.
pub fn stop_on_signals(io_loop: &IoLoop) -> io::Result<()> {
    for kind in [SignalKind::Terminate, SignalKind::Interrupt] {
        let (mut signal, stop) = (signal(kind)?, io_loop.remote());
        io_loop.spawn_detached(async move {
            signal.recv().await;
            stop.stop();
        });
    }
    Ok(())
}

/// Logs to standard error what happens at level `warn` and above.
pub fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false) // it would panic
        .init();
}
