//! Runs the servers side by side, prints for each scenario what a request costs them, and writes `docs/performance.md`.
//!
//!     cargo run --release -p benches --bin compare
//!     cargo run --release -p benches --bin compare -- --rounds 11 --scenario plaintext --peer hyper --peer waterspout
//!     cargo run --release -p benches --bin compare -- --resume          goes on where it was interrupted
//!     cargo run --release -p benches --bin compare -- --report          the page again, from what was measured

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use benches::about::about;
use benches::comparison::Comparison;
use benches::counting::Tool;
use benches::machine::{pin_to, raise_descriptor_limit};
use benches::page;
use benches::record::Record;
use benches::report::table;
use benches::results::Results;
use benches::scenario::{SCENARIOS, Scenario};
use benches::selection::{Build, Selection, interrupted};
use benches::server::{Places, SERVERS};
use benches::targets;
use lexopt::prelude::*;

const HELP: &str = "\
compare [options]: what a request costs each server
  Without --scenario and --peer it also writes docs/performance.md, and everything measured to target/compare.tsv.
  --rounds N        slices per server and scenario (default 7)
  --scenario NAME   only this one, or all that begin so; may be repeated (--list names them)
  --peer NAME       only this server and the floor; may be repeated
  --resume          keep the scenarios that target/compare.tsv has all of, and measure the others
  --report          measure nothing: docs/performance.md from target/compare.tsv
  --no-build        take the programs that are there
  --no-counts       without callgrind and strace
  --load-cpu N      (default 0)      --server-cpu N   (default 1)
";

struct Options {
    selection: Selection,
    rounds: usize,
    mode: Mode,
    counts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    New,
    Resume,
    Report,
}

fn main() -> ExitCode {
    match run_with_arguments() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_with_arguments() -> Result<(), Box<dyn Error>> {
    let Some(options) = parse_options()? else { return Ok(()) };
    let begun = Instant::now();
    let places = Places::find()?;
    let (docs, file) = (places.workspace.join("docs"), places.target.join("compare.tsv"));
    let whole = options.selection.scenarios.is_empty() && options.selection.peers.is_empty();
    let mut results = match options.mode {
        Mode::Report | Mode::Resume => Results::resume(&file)?,
        Mode::New if whole => Results::create(&file)?,
        Mode::New => Results::default(),
    };
    if options.mode != Mode::Report {
        measure(&options, places, &mut results)?;
    }
    if let Some(targets) = targets::table(&results) {
        println!("### where we must stand\n\n{targets}");
    }
    if whole || options.mode != Mode::New {
        page::write(&results, &docs)?;
    }
    eprintln!("{}", took("all of it", begun));
    Ok(())
}

fn measure(options: &Options, places: Places, results: &mut Results) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit()?;
    let begun = Instant::now();
    if results.about().next().is_none() {
        for (what, value) in about(&places.workspace, options.rounds) {
            results.add(Record::About(what, value))?;
        }
    }
    let scenarios = options.selection.scenarios()?;
    let (servers, left_out) = options.selection.servers(&scenarios, &places)?;
    for (server, reason) in left_out {
        eprintln!("left out: {server}: {reason}");
        results.add(Record::LeftOut(server.to_string(), reason))?;
    }
    eprintln!("{}", took("building", begun));
    // From here on; while cargo runs, an interrupt ends both.
    let interrupted = interrupted()?;
    let cpus = options.selection.cpus;
    pin_to(&[cpus.load])?;
    let tools = [Tool::Callgrind, Tool::Strace].into_iter();
    let tools = tools.filter(|tool| options.counts && tool.is_installed()).collect();
    let comparison = Comparison { servers, rounds: options.rounds, tools, cpus, places, interrupted };
    for scenario in scenarios {
        run(&comparison, scenario, results)?;
    }
    Ok(())
}

fn run(comparison: &Comparison, scenario: &Scenario, results: &mut Results) -> Result<(), Box<dyn Error>> {
    if !results.is_done(scenario.name) {
        let begun = Instant::now();
        comparison.run(scenario, results)?;
        eprintln!("{}", took(scenario.name, begun));
    }
    println!("{}", table(scenario, &results.rows(scenario)));
    Ok(())
}

fn took(what: &str, begun: Instant) -> String {
    format!("{what}: {:.0} s", begun.elapsed().as_secs_f64())
}

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options { selection: Selection::default(), rounds: 7, mode: Mode::New, counts: true };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("scenario") => options.selection.scenarios.push(arguments.value()?.string()?),
            Long("peer") => options.selection.peers.push(arguments.value()?.string()?),
            Long("no-build") => options.selection.build = Build::AsIs,
            Long("no-counts") => options.counts = false,
            Long("resume") => options.mode = Mode::Resume,
            Long("report") => options.mode = Mode::Report,
            Long("load-cpu") => options.selection.cpus.load = arguments.value()?.parse()?,
            Long("server-cpu") => options.selection.cpus.server = arguments.value()?.parse()?,
            Long("list") => {
                SCENARIOS.iter().for_each(|scenario| println!("scenario {}", scenario.name));
                SERVERS.iter().for_each(|server| println!("peer {} ({:?})", server.name, server.speaks));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}
