//! What a request costs in user instructions (callgrind) and system calls (strace).
//!
//! A server runs twice under the same tool, with N and with 2 N requests on the same number of connections; the
//! difference divided by N leaves out its start, its end and the opening of the connections. Nothing is timed, so both run at
//! once, each with its load on the other's CPU.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Load, LoadError, Until};
use crate::machine::Cpus;
use crate::running::Running;
use crate::scenario::Scenario;
use crate::server::{Places, Server};

const REPORT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// User instructions.
    Callgrind,
    /// System calls.
    Strace,
}

/// How much is counted.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// N.
    pub requests: u64,
    /// Instead of the scenario's own; with one of them counts repeat exactly.
    pub connections: Option<usize>,
}

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The server, or the tool around it, does not run.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not answer.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Counts for one server in one scenario.
///
/// # Errors
/// When the server does not run under the tool or does not answer as the scenario expects.
pub fn per_request(
    tool: Tool,
    server: &Server,
    scenario: &Scenario,
    amount: Amount,
    places: &Places,
    cpus: Cpus,
    interrupted: &Arc<AtomicBool>,
) -> Result<f64, CountError> {
    let run = |requests: u64, cpus: Cpus| {
        let report = places.scratch.path().join(format!("count-{requests}"));
        let launch = server.launch(scenario, places)?;
        let running = Running::start(&launch, &tool.wrapper(&report), cpus)?;
        let connections = amount.connections.unwrap_or(scenario.connections);
        let mut load =
            Load::open(running.address(), connections, scenario.wanted(), Arc::clone(interrupted))?;
        let measured = load.run(Until::Requests(requests))?;
        drop(load);
        running.stop()?;
        Ok::<_, CountError>((measured.answers, tool.read(&report)?))
    };
    let swapped = Cpus { load: cpus.server, server: cpus.load };
    let (less, more) = thread::scope(|scope| {
        // Who starts a server also ends it, within this thread: the server would go with it.
        let less = scope.spawn(|| run(amount.requests, swapped));
        let more = run(amount.requests * 2, cpus);
        (less.join(), more)
    });
    let (few, little) = less.map_err(|_| io::Error::other("a count has panicked"))??;
    let (many, much) = more?;
    Ok((much as f64 - little as f64) / (many as f64 - few as f64))
}

impl Tool {
    /// The heading of its counts.
    pub fn column(self) -> &'static str {
        match self {
            Tool::Callgrind => "instructions/request",
            Tool::Strace => "syscalls/request",
        }
    }

    /// A count as it is shown.
    pub fn format(self, count: f64) -> String {
        match self {
            Tool::Callgrind => format!("{count:.0}"),
            Tool::Strace => format!("{count:.2}"),
        }
    }

    /// Whether it can be run here.
    pub fn is_installed(self) -> bool {
        let program = match self {
            Tool::Callgrind => "valgrind",
            Tool::Strace => "strace",
        };
        let mut probe = Command::new(program);
        probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    /// The words before the server's own. Both tools keep the process they are started as for the server, so that
    /// it can be told to stop: valgrind becomes it, strace with `-D` steps aside.
    pub fn wrapper(self, report: &Path) -> Vec<OsString> {
        let words: &[&str] = match self {
            Tool::Callgrind => &["valgrind", "--tool=callgrind", "--quiet"],
            Tool::Strace => &["strace", "-D", "-f", "-c", "-U", "calls", "-o"],
        };
        let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match self {
            Tool::Callgrind => words.push(joined("--callgrind-out-file=", report)),
            Tool::Strace => words.push(report.into()),
        }
        words
    }

    /// The sum that the tool writes down when the server has ended; strace, a process of its own, a little later.
    ///
    /// # Errors
    /// When there is none after ten seconds.
    pub fn read(self, report: &Path) -> io::Result<u64> {
        let deadline = Instant::now() + REPORT;
        while Instant::now() < deadline {
            let text = fs::read_to_string(report).unwrap_or_default();
            if let Some(sum) = text.lines().find_map(|line| self.sum(line)) {
                fs::remove_file(report)?;
                return Ok(sum);
            }
            thread::sleep(LOOK_AGAIN);
        }
        Err(io::Error::other("the tool wrote no sum"))
    }

    /// `totals: 123` of callgrind, `123 total` of strace.
    fn sum(self, line: &str) -> Option<u64> {
        let number = match self {
            Tool::Callgrind => line.strip_prefix("totals:"),
            Tool::Strace => line.strip_suffix("total"),
        };
        number?.trim().parse().ok()
    }
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push(path);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_both_tools_are_found() {
        assert_eq!(Tool::Callgrind.sum("totals: 1234"), Some(1234));
        assert_eq!(Tool::Callgrind.sum("summary: 1234"), None);
        assert_eq!(Tool::Strace.sum("       29 total"), Some(29));
        assert_eq!(Tool::Strace.sum("        3 mprotect"), None);
    }
}
