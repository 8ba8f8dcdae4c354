//! The small Redis (the example `redis_mini`) beside the real one, under redis-benchmark.
//!
//!     cargo run --release -p benches --bin redis                    needs redis-server and redis-benchmark (Debian: redis-server)
//!     cargo run --release -p benches --bin redis -- --rounds 15
//!
//! One CPU has the servers, the other redis-benchmark. A round takes one slice of each server in random order, of under a second
//! each; ratios are taken within rounds.

#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use benches::building::build;
use benches::machine::{Cpus, pin_to};
use benches::process_cost::Cpu;
use benches::report::aligned;
use benches::running::Running;
use benches::server::{Launch, Places, Program, Server};
use benches::slice::DISTURBED;
use benches::spread::Spread;
use lexopt::prelude::*;

const HELP: &str =
    "redis [--rounds N] [--load-cpu N] [--server-cpu N]     11 rounds, CPUs 0 and 1 by default";
const CLIENTS: u32 = 50;
const COMMANDS: [&str; 2] = ["set", "get"];
/// How many commands are sent at once, and how many a slice has of them.
const PIPELINES: [(u32, u64); 2] = [(1, 40_000), (16, 480_000)];
/// Ours first: ratios are ours to the other.
const NAMES: [&str; 2] = ["redis_mini", "redis-server"];
const OURS: Server = Server::of_lines(NAMES[0], Program::Example(NAMES[0]));

/// What one slice measured.
#[derive(Clone, Copy)]
struct Sample {
    requests_per_second: f64,
    cpu_micros: f64,
    disturbed: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some((rounds, cpus)) = options()? else { return Ok(()) };
    let places = Places::find()?;
    build(&[&OURS], &places).into_iter().collect::<Result<(), String>>()?;
    let program = places.target.join("release/examples").join(NAMES[0]);
    let ours = Launch::announcing(words(program, &["--port", "0"]));
    let port = free_port()?;
    let settings = ["--port", &port.to_string(), "--save", "", "--appendonly", "no"];
    let theirs = Launch::on_port(words("redis-server", &settings), port);
    let servers = [Running::start(&ours, &[], cpus)?, Running::start(&theirs, &[], cpus)?];
    pin_to(&[cpus.load])?; // what is started from here inherits it
    let mut lines =
        vec![["", "requests/s", "ours ÷ it", "CPU µs/request", "ours ÷ it"].map(str::to_string).to_vec()];
    for (pipeline, requests) in PIPELINES {
        for command in COMMANDS {
            let mut samples: [Vec<Sample>; 2] = Default::default();
            for _ in 0..rounds {
                let mut order = [0, 1];
                fastrand::shuffle(&mut order);
                for index in order {
                    samples[index].push(calm_slice(&servers[index], command, pipeline, requests)?);
                }
            }
            lines.extend(rows(&format!("{command} -P {pipeline}"), &samples));
        }
    }
    println!("### redis-benchmark, {CLIENTS} clients, {rounds} rounds\n\n{}", aligned(&lines));
    Ok(())
}

/// A slice, taken again (at most twice) when something else had the server's CPU for a while.
fn calm_slice(
    server: &Running,
    command: &str,
    pipeline: u32,
    requests: u64,
) -> Result<Sample, Box<dyn Error>> {
    let mut sample = slice(server, command, pipeline, requests)?;
    for _ in 0..2 {
        if sample.disturbed <= DISTURBED {
            break;
        }
        let again = slice(server, command, pipeline, requests)?;
        if again.disturbed < sample.disturbed {
            sample = again;
        }
    }
    Ok(sample)
}

fn slice(server: &Running, command: &str, pipeline: u32, requests: u64) -> Result<Sample, Box<dyn Error>> {
    let (before, began) = (Cpu::of(server.pid())?, Instant::now());
    let output = Command::new("redis-benchmark")
        .args(["--csv", "-t", command, "-p", &server.address().port().to_string()])
        .args(["-c", &CLIENTS.to_string(), "-P", &pipeline.to_string(), "-n", &requests.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let (cost, elapsed) = (Cpu::of(server.pid())? - before, began.elapsed());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "GET","66533.60","0.183",…: the name, requests a second, latencies.
    let rate = text.lines().filter_map(|line| line.split('"').nth(3)?.parse().ok()).next_back();
    Ok(Sample {
        requests_per_second: rate.ok_or_else(|| format!("redis-benchmark says: {text}"))?,
        cpu_micros: cost.ran.as_secs_f64() * 1e6 / requests as f64,
        disturbed: cost.waited.as_secs_f64() / elapsed.max(Duration::from_millis(1)).as_secs_f64(),
    })
}

fn rows(title: &str, samples: &[Vec<Sample>; 2]) -> Vec<Vec<String>> {
    let column = |of: usize, value: fn(&Sample) -> f64| -> Vec<Option<f64>> {
        samples[of].iter().map(|sample| Some(value(sample))).collect()
    };
    let spread = |spread: Option<Spread>| spread.map_or("-".to_string(), |spread| spread.to_string());
    let mut rows = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        let mut cells = vec![format!("{title}: {name}")];
        for value in [|sample: &Sample| sample.requests_per_second, |sample: &Sample| sample.cpu_micros] {
            let (ours, its) = (column(0, value), column(index, value));
            cells.push(spread(Spread::of(its.iter().copied().flatten())));
            cells.push(if index == 0 { String::new() } else { spread(Spread::of_ratios(&ours, &its)) });
        }
        rows.push(cells);
    }
    rows
}

fn words(program: impl Into<OsString>, arguments: &[&str]) -> Vec<OsString> {
    [program.into()].into_iter().chain(arguments.iter().map(OsString::from)).collect()
}

/// A port that was free a moment ago: the real server does not say which it was given.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn options() -> Result<Option<(usize, Cpus)>, Box<dyn Error>> {
    let (mut rounds, mut cpus) = (11, Cpus { load: 0, server: 1 });
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => rounds = arguments.value()?.parse()?,
            Long("load-cpu") => cpus.load = arguments.value()?.parse()?,
            Long("server-cpu") => cpus.server = arguments.value()?.parse()?,
            Short('h') | Long("help") => {
                println!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some((rounds, cpus)))
}
