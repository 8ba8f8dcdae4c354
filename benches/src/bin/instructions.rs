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
use std::process::{Command, ExitCode, Stdio};

use benches::counting::{Amount, Tool, per_request};
use benches::report::aligned;
use benches::scenario::Pace;
use benches::selection::{Build, Selection, interrupted};
use benches::server::Places;
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

struct Options {
    selection: Selection,
    amount: Amount,
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
    let (servers, left_out) = options.selection.servers(&scenarios, &places)?;
    for (server, reason) in left_out {
        eprintln!("left out: {server}: {reason}");
    }
    let interrupted = interrupted()?;
    for scenario in scenarios.iter().filter(|scenario| !matches!(scenario.pace, Pace::Rate(_))) {
        let mut lines = vec![vec!["server".to_string()]];
        lines[0].extend(options.tools.iter().map(|tool| tool.column().to_string()));
        for server in servers.iter().filter(|server| server.takes(scenario)) {
            let mut line = vec![server.name.to_string()];
            for tool in &options.tools {
                let (amount, cpus) = (options.amount, options.selection.cpus);
                line.push(match per_request(*tool, server, scenario, amount, &places, cpus, &interrupted) {
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
        for (count, times) in counts.iter_mut().zip([options.amount.requests, options.amount.requests * 2]) {
            let report = env::temp_dir().join(format!("instructions-{}", std::process::id()));
            let words = Tool::Callgrind.wrapper(&report);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(&program).args(["--alone", case, contender, &times.to_string()]);
            if !command.stdout(Stdio::null()).status()?.success() {
                return Err(format!("{case}: {contender} failed").into());
            }
            *count = Tool::Callgrind.read(&report)?;
        }
        let each = (counts[1] as f64 - counts[0] as f64) / options.amount.requests as f64;
        lines.push(vec![what.to_string(), contender.to_string(), Tool::Callgrind.format(each)]);
    }
    println!("{}", aligned(&lines));
    Ok(())
}

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let tools = [Tool::Callgrind, Tool::Strace].into_iter().filter(|tool| tool.is_installed()).collect();
    let mut options = Options {
        selection: Selection::default(),
        amount: Amount { requests: 10_000, connections: None },
        tools,
        ioloop: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("requests") => options.amount.requests = arguments.value()?.parse()?,
            Long("connections") => options.amount.connections = Some(arguments.value()?.parse()?),
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
