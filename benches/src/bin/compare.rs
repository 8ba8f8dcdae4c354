//! Runs the servers side by side and prints, for each scenario, what a request costs them.
//!
//!     cargo run --release -p benches --bin compare
//!     cargo run --release -p benches --bin compare -- --rounds 11 --scenario plaintext --peer hyper --peer waterspout
//!
//! One CPU has the server under load, another the load generator; the other servers sleep. A round takes one slice of
//! each server, in random order, and ratios are taken within rounds, so that a machine that is faster now than a minute
//! ago does not favour anybody.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use benches::machine::{pin_to, raise_descriptor_limit};
use benches::report::{Row, table};
use benches::running::Running;
use benches::scenario::{SCENARIOS, Scenario};
use benches::selection::{Build, Selection, interrupted, is_set};
use benches::server::{Places, SERVERS, Server};
use benches::slice::{DISTURBED, Sample, SliceError};
use lexopt::prelude::*;

const HELP: &str = "\
compare [options]: what a request costs each server
  --rounds N        slices per server and scenario (default 7)
  --scenario NAME   only this one, or all that begin so; may be repeated (--list names them)
  --peer NAME       only this server and the floor; may be repeated
  --no-build        take the programs that are there
  --raw FILE        also write every slice, one a line, separated by tabs
  --load-cpu N      (default 0)      --server-cpu N   (default 1)
";

struct Options {
    selection: Selection,
    rounds: usize,
    raw: Option<File>,
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
    let Some(mut options) = parse_options()? else { return Ok(()) };
    raise_descriptor_limit()?;
    let places = Places::find()?;
    let scenarios = options.selection.scenarios()?;
    let servers = options.selection.servers(&scenarios, &places)?;
    // From here on; while cargo runs, an interrupt ends both.
    let interrupted = interrupted()?;
    pin_to(options.selection.cpus.load)?;
    for scenario in scenarios {
        let rows = run(scenario, &servers, &places, &mut options, &interrupted)?;
        println!("{}", table(scenario, &rows));
    }
    Ok(())
}

fn run(
    scenario: &Scenario,
    servers: &[&'static Server],
    places: &Places,
    options: &mut Options,
    interrupted: &Arc<AtomicBool>,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut running = Vec::new();
    for server in servers.iter().filter(|server| server.takes(scenario)) {
        match start(server, scenario, places, options, interrupted) {
            Ok(started) => running.push(started),
            Err(error) => eprintln!("{}: {} is left out: {error}", scenario.name, server.name),
        }
    }
    let mut rows: Vec<Row> =
        running.iter().map(|(name, _)| Row { name, samples: vec![None; options.rounds] }).collect();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        fastrand::shuffle(&mut order);
        for index in order {
            let (name, server) = &running[index];
            match calm_sample(server, scenario, interrupted) {
                Ok(sample) => {
                    write_raw(&mut options.raw, scenario, name, round, &sample)?;
                    rows[index].samples[round] = Some(sample);
                }
                Err(_) if is_set(interrupted) => return Err("interrupted".into()),
                Err(error) => eprintln!("{}: {name}: {error}", scenario.name),
            }
        }
    }
    Ok(rows)
}

/// A slice, taken again (at most twice) when something else had the CPU for a while.
fn calm_sample(
    server: &Running,
    scenario: &Scenario,
    interrupted: &Arc<AtomicBool>,
) -> Result<Sample, SliceError> {
    let mut sample = Sample::take(server, scenario, interrupted)?;
    for _ in 0..2 {
        if sample.disturbed() <= DISTURBED {
            break;
        }
        let again = Sample::take(server, scenario, interrupted)?;
        if again.disturbed() < sample.disturbed() {
            sample = again;
        }
    }
    Ok(sample)
}

/// Starts it, and lets it answer a few times, rightly.
fn start(
    server: &Server,
    scenario: &Scenario,
    places: &Places,
    options: &Options,
    interrupted: &Arc<AtomicBool>,
) -> Result<(&'static str, Running), Box<dyn Error>> {
    let running = Running::start(&server.launch(scenario, places)?, &[], options.selection.cpus)?;
    Sample::check(&running, scenario, interrupted)?;
    Ok((server.name, running))
}

fn write_raw(
    raw: &mut Option<File>,
    scenario: &Scenario,
    name: &str,
    round: usize,
    sample: &Sample,
) -> io::Result<()> {
    let Some(raw) = raw else { return Ok(()) };
    writeln!(
        raw,
        "{}\t{name}\t{round}\t{}\t{}\t{:.6}\t{}\t{}\t{:.1}\t{:.1}\t{}",
        scenario.name,
        sample.answers,
        sample.failures,
        sample.seconds,
        sample.server.ran.as_nanos(),
        sample.load.ran.as_nanos(),
        sample.p50,
        sample.p99,
        sample.peak_rss_bytes,
    )
}

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options { selection: Selection::default(), rounds: 7, raw: None };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("scenario") => options.selection.scenarios.push(arguments.value()?.string()?),
            Long("peer") => options.selection.peers.push(arguments.value()?.string()?),
            Long("no-build") => options.selection.build = Build::AsIs,
            Long("raw") => {
                let mut file = File::create(arguments.value()?)?;
                writeln!(
                    file,
                    "scenario\tserver\tround\tanswers\tfailures\tseconds\tserver_ns\tload_ns\tp50_us\tp99_us\tpeak_rss"
                )?;
                options.raw = Some(file);
            }
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
