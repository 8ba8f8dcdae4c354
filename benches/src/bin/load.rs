//! Puts load on one server and prints what it measured.
//!
//!     load --port 8888                                  # plaintext-64 for 1 second
//!     load --port 8888 --scenario pipelined-16 --seconds 2 --pid "$(pidof testbed)"
//!     load --port 8888 --path /bytes/65536 --connections 8
//!     load --list

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use benches::load::{Load, Measured, Until};
use benches::machine::{pin_to, raise_descriptor_limit};
use benches::process_cost::{Cpu, peak_rss_bytes};
use benches::scenario::{Pace, SCENARIOS, Scenario, Traffic};
use benches::selection::interrupted;
use lexopt::prelude::*;

const HELP: &str = "\
load --port N [options]: load for a server on 127.0.0.1
  --scenario NAME     where to start from (default plaintext-64; --list names them all)
  --path PATH         GET this path instead
  --post BYTES        POST so much to /echo instead; --chunked sends it in chunks
  --lines BYTES       a line echo instead of HTTP, lines of so many bytes
  --connections N     open at once            --depth N        pipelined on each
  --close             a connection per request
  --rate N            an open loop: so many a second
  --seconds S         how long (default 1)    --requests N     how many, instead
  --rounds N          print so many runs on the same connections (default 1)
  --cpu N             run on this CPU (default 0)
  --pid PID           also print the server's CPU time per request and peak memory
";

/// No run is without an end.
const MAX_SECONDS: f64 = 3600.0;
const MAX_RATE: f64 = 1e7;

struct Options {
    port: u16,
    scenario: Scenario,
    until: Until,
    rounds: u32,
    cpu: usize,
    pid: Option<u32>,
}

fn main() -> ExitCode {
    match run_with_arguments() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_with_arguments() -> Result<(), Box<dyn Error>> {
    let Some(options) = parse_options()? else { return Ok(()) };
    let interrupted = interrupted()?;
    raise_descriptor_limit()?;
    pin_to(&[options.cpu])?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let scenario = options.scenario;
    let mut load = Load::open(address, scenario.connections, scenario.wanted(), interrupted)?;
    for _ in 0..options.rounds {
        let before = (Cpu::of(std::process::id())?, options.pid.map(Cpu::of).transpose()?);
        let measured = match (scenario.pace, options.until) {
            (Pace::Rate(rate), Until::Elapsed(duration)) => load.run_at_rate(rate, duration)?,
            (_, until) => load.run(until)?,
        };
        println!("{}", line(&measured, before, options.pid)?);
    }
    Ok(())
}

fn line(measured: &Measured, before: (Cpu, Option<Cpu>), pid: Option<u32>) -> Result<String, Box<dyn Error>> {
    let seconds = measured.elapsed.as_secs_f64();
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6 / measured.answers.max(1) as f64;
    let latency = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e3;
    let load_cpu = Cpu::of(std::process::id())? - before.0;
    let mut line = format!(
        "{} answers, {} refused, {} errors; {:.0}/s; p50 {:.1} µs, p99 {:.1} µs; load {:.2} µs/request ({:.0} % busy)",
        measured.answers,
        measured.refused,
        measured.errors,
        measured.answers as f64 / seconds,
        latency(0.5),
        latency(0.99),
        micros(load_cpu.ran),
        load_cpu.ran.as_secs_f64() / seconds * 100.0,
    );
    if let (Some(pid), Some(before)) = (pid, before.1) {
        let cpu = Cpu::of(pid)? - before;
        write!(
            line,
            "; server {:.2} µs/request ({:.0} % busy, {:.1} % waiting), peak {:.1} MiB",
            micros(cpu.ran),
            cpu.ran.as_secs_f64() / seconds * 100.0,
            cpu.waited.as_secs_f64() / seconds * 100.0,
            peak_rss_bytes(pid)? as f64 / (1 << 20) as f64,
        )?;
    }
    Ok(line)
}

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let mut port = None;
    let mut scenario = *Scenario::named("plaintext-64").ok_or("no default scenario")?;
    let mut options = (Until::Elapsed(Duration::from_secs(1)), 1, 0, None);
    let mut chunked = false;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = Some(arguments.value()?.parse()?),
            Long("scenario") => {
                let name = arguments.value()?.string()?;
                scenario = *Scenario::named(&name).ok_or(format!("no scenario is named {name}"))?;
            }
            Long("path") => {
                // Lives as long as the process, as the names in the table do.
                let path = String::leak(arguments.value()?.string()?);
                scenario.traffic = Traffic::Get(path, 0);
            }
            Long("post") => scenario.traffic = Traffic::Post(arguments.value()?.parse()?),
            Long("chunked") => chunked = true,
            Long("lines") => scenario.traffic = Traffic::Lines(arguments.value()?.parse()?),
            Long("connections") => scenario.connections = arguments.value()?.parse()?,
            Long("depth") => scenario.depth = arguments.value()?.parse()?,
            Long("close") => scenario.pace = Pace::ConnectionPerRequest,
            Long("rate") => {
                scenario.pace = Pace::Rate(within(arguments.value()?.parse()?, MAX_RATE, "--rate")?);
            }
            Long("seconds") => {
                let seconds = within(arguments.value()?.parse()?, MAX_SECONDS, "--seconds")?;
                options.0 = Until::Elapsed(Duration::from_secs_f64(seconds));
            }
            Long("requests") => options.0 = Until::Requests(arguments.value()?.parse()?),
            Long("rounds") => options.1 = arguments.value()?.parse()?,
            Long("cpu") => options.2 = arguments.value()?.parse()?,
            Long("pid") => options.3 = Some(arguments.value()?.parse()?),
            Long("list") => {
                SCENARIOS.iter().for_each(|scenario| println!("{}", scenario.name));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let (true, Traffic::Post(bytes)) = (chunked, scenario.traffic) {
        scenario.traffic = Traffic::PostChunked(bytes);
    }
    let (until, rounds, cpu, pid) = options;
    let port = port.ok_or("--port N is missing")?;
    Ok(Some(Options { port, scenario, until, rounds, cpu, pid }))
}

fn within(value: f64, most: f64, option: &str) -> Result<f64, String> {
    if value > 0.0 && value <= most {
        Ok(value)
    } else {
        Err(format!("{option} is above 0 and at most {most}"))
    }
}
