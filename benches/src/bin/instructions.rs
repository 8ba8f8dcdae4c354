//! Counts what a request costs in user instructions (callgrind) and syscalls (strace): figures that repeat within a
//! percent or two where times drift by a factor of two.
//!
//!     cargo run --release -p benches --bin instructions -- --scenario plaintext-64
//!     cargo run --release -p benches --bin instructions -- --scenario pipelined --peer waterspout --requests 20000
//!
//!     cargo build --release -p benches --features runtimes --bin ioloop_ratios
//!     cargo run --release -p benches --bin instructions -- --ioloop
//!
//! Each server runs twice under the same tool, with N and with 2 N requests on the same number of connections; the
//! difference divided by N leaves out its start, its end and the opening of the connections. So does each
//! case of `ioloop_ratios` that one thread does alone.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use benches::load::{Load, Until};
use benches::report::aligned;
use benches::running::Running;
use benches::scenario::{Pace, Scenario};
use benches::selection::{Build, Selection, interrupted};
use benches::server::{Places, Server};
use lexopt::prelude::*;

const HELP: &str = "\
instructions [options]: user instructions and syscalls per request
  --requests N      N and 2 N of them (default 10000)
  --connections N   instead of the scenario's own; with one of them counts repeat exactly
  --scenario NAME   only this one, or all that begin so; may be repeated
  --peer NAME       only this server and the floor; may be repeated
  --no-build        take the programs that are there
  --no-syscalls     without strace
  --ioloop          the loop and other runtimes instead, with --requests times each case
";

const REPORT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Callgrind,
    Strace,
}

struct Options {
    selection: Selection,
    requests: u64,
    connections: Option<usize>,
    tools: Vec<Tool>,
    ioloop: bool,
}

fn main() -> ExitCode {
    match run_with_arguments() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_with_arguments() -> Result<(), Box<dyn Error>> {
    let Some(options) = parse_options()? else { return Ok(()) };
    if options.ioloop {
        return run_the_loops_cases(&options);
    }
    let places = Places::find()?;
    let scenarios = options.selection.scenarios()?;
    let servers = options.selection.servers(&scenarios, &places)?;
    let interrupted = interrupted()?;
    for scenario in scenarios.iter().filter(|scenario| !matches!(scenario.pace, Pace::Rate(_))) {
        let mut lines = vec![vec!["server".to_string()]];
        lines[0].extend(options.tools.iter().map(|tool| tool.column().to_string()));
        for server in servers.iter().filter(|server| server.takes(scenario)) {
            let mut line = vec![server.name.to_string()];
            for tool in &options.tools {
                line.push(match per_request(*tool, server, scenario, &places, &options, &interrupted) {
                    Ok(count) => tool.format(count),
                    Err(error) => {
                        eprintln!("{}: {}: {tool:?}: {error}", scenario.name, server.name);
                        "-".to_string()
                    }
                });
            }
            lines.push(line);
        }
        println!("### {}\n\n{}", scenario.name, aligned(&lines));
    }
    Ok(())
}

/// The cases of `ioloop_ratios`, which is asked for them: this program is built without the other runtimes.
fn run_the_loops_cases(options: &Options) -> Result<(), Box<dyn Error>> {
    let program = env::current_exe()?.with_file_name("ioloop_ratios");
    let list = Command::new(&program).arg("--list").output();
    let list = String::from_utf8(list.map_err(|error| format!("{}: {error}", program.display()))?.stdout)?;
    let mut lines = vec![["", "", "instructions"].map(str::to_string).to_vec()];
    for line in list.lines().filter(|line| line.starts_with("alone\t")) {
        let [_, case, contender, what] = line.splitn(4, '\t').collect::<Vec<_>>()[..] else { continue };
        let mut counts = [0; 2];
        for (count, times) in counts.iter_mut().zip([options.requests, options.requests * 2]) {
            let report = env::temp_dir().join(format!("instructions-{}", std::process::id()));
            let words = Tool::Callgrind.wrapper(&report);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(&program).args(["--alone", case, contender, &times.to_string()]);
            if !command.stdout(Stdio::null()).status()?.success() {
                return Err(format!("{case}: {contender} failed").into());
            }
            *count = Tool::Callgrind.read(&report)?;
        }
        let each = (counts[1] as f64 - counts[0] as f64) / options.requests as f64;
        lines.push(vec![what.to_string(), contender.to_string(), Tool::Callgrind.format(each)]);
    }
    println!("{}", aligned(&lines));
    Ok(())
}

fn per_request(
    tool: Tool,
    server: &Server,
    scenario: &Scenario,
    places: &Places,
    options: &Options,
    interrupted: &Arc<AtomicBool>,
) -> Result<f64, Box<dyn Error>> {
    let mut counts = [(0, 0); 2];
    for (count, requests) in counts.iter_mut().zip([options.requests, options.requests * 2]) {
        let report = places.scratch.path().join("count");
        let launch = server.launch(scenario, places)?;
        let running = Running::start(&launch, &tool.wrapper(&report), options.selection.cpus)?;
        let connections = options.connections.unwrap_or(scenario.connections);
        let mut load =
            Load::open(running.address(), connections, scenario.wanted(), Arc::clone(interrupted))?;
        let measured = load.run(Until::Requests(requests))?;
        drop(load);
        running.stop()?;
        *count = (measured.answers, tool.read(&report)?);
    }
    let [(few, little), (many, much)] = counts;
    Ok((much as f64 - little as f64) / (many as f64 - few as f64))
}

impl Tool {
    fn column(self) -> &'static str {
        match self {
            Tool::Callgrind => "instructions/request",
            Tool::Strace => "syscalls/request",
        }
    }

    fn format(self, count: f64) -> String {
        match self {
            Tool::Callgrind => format!("{count:.0}"),
            Tool::Strace => format!("{count:.2}"),
        }
    }

    fn is_installed(self) -> bool {
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
    fn wrapper(self, report: &Path) -> Vec<OsString> {
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
    fn read(self, report: &Path) -> io::Result<u64> {
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

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let tools = [Tool::Callgrind, Tool::Strace].into_iter().filter(|tool| tool.is_installed()).collect();
    let mut options = Options {
        selection: Selection::default(),
        requests: 10_000,
        connections: None,
        tools,
        ioloop: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("requests") => options.requests = arguments.value()?.parse()?,
            Long("connections") => options.connections = Some(arguments.value()?.parse()?),
            Long("scenario") => options.selection.scenarios.push(arguments.value()?.string()?),
            Long("peer") => options.selection.peers.push(arguments.value()?.string()?),
            Long("no-build") => options.selection.build = Build::AsIs,
            Long("no-syscalls") => options.tools.retain(|tool| *tool != Tool::Strace),
            Long("ioloop") => options.ioloop = true,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.tools.is_empty() {
        return Err("neither valgrind nor strace is installed".into());
    }
    Ok(Some(options))
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
