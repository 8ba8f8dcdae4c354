//! What connections cost that only wait, for our servers and, side by side, hyper and nginx.
//!
//!     cargo run --release -p benches --bin idle
//!     cargo run --release -p benches --bin idle -- --only waterspout
//!
//! Ends with status 1 if ours is out of its bounds. One CPU has the servers, another the clients. Linux only.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use benches::faults::report::bytes;
use benches::faults::target::{Kind, Place, Start};
use benches::idle::{Crowd, LINE, Question, REQUEST, REQUEST_OVER_TLS, awake, memory, p99_in_turn};
use benches::machine::{Cpus, pin_to, raise_descriptor_limit};
use benches::running::Running;
use benches::server::Launch;
use benches::tls::Certificate;
use lexopt::prelude::*;

const FEW: usize = 1_000;
const MANY: usize = 15_000;
const DRIBBLERS: usize = 10_000;

/// What a server may close in good order without being asked, so that it does not within a run.
const LIMIT: Duration = Duration::from_secs(600);

/// A server of ours clears up when a crowd has left and half a second has passed in which nobody has.
const QUIET: Duration = Duration::from_millis(1_500);

/// Ours is to be below these.
const MOST_FOR_HTTP: i64 = 400;
const MOST_FOR_LINES: i64 = 400;
const MOST_FOR_HTTPS: i64 = 9 * 1024;
const MOST_FOR_A_DRIBBLER: i64 = 4 * 1024;
/// This part of what there was before may stay when all have gone, of whatever crowd; and so much by which pages differ from run to run.
const MOST_THAT_STAYS: i64 = 10;
const NOISE: i64 = 4 * 4096;

/// Crowds that come and leave, one after the other. What stays is what the worst of them leaves.
const CROWDS: usize = 5;

#[derive(Clone, Copy)]
enum Server {
    Http(Kind),
    Https(Kind),
    /// `examples/echo`.
    Lines,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Http(kind) => kind.name(),
            Server::Https(Kind::Waterspout) => "waterspout, TLS",
            Server::Https(Kind::Hyper) => "hyper, TLS",
            Server::Https(Kind::Nginx) => "nginx, TLS",
            Server::Lines => "waterspout, line echo",
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Server::Lines | Server::Http(Kind::Waterspout) | Server::Https(Kind::Waterspout))
    }

    fn question(self) -> Question {
        match self {
            Server::Http(_) => REQUEST,
            Server::Https(_) => REQUEST_OVER_TLS,
            Server::Lines => LINE,
        }
    }

    fn start(self, place: &Place) -> Result<Running, Box<dyn Error>> {
        let start = Start { arguments: &["--idle-timeout", "600"], ..Start::default() };
        match self {
            Server::Http(kind) => Ok(place.start(kind, start)?.running),
            Server::Https(kind) => {
                let certificate = Certificate::create(place.scratch("")?.as_path())?;
                Ok(place.start(kind, Start { certificate: Some(&certificate), ..start })?.running)
            }
            Server::Lines => {
                let words = [programs()?.join("examples/echo").into(), "--port".into(), "0".into()];
                Ok(Running::start(&Launch::announcing(words.to_vec()), &[], Cpus { load: 0, server: 1 })?)
            }
        }
    }

    fn build(self, place: &Place) -> Result<(), Box<dyn Error>> {
        match self {
            Server::Http(kind) | Server::Https(kind) => Ok(place.build(kind)?),
            Server::Lines => {
                let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                cargo.args(["build", "--quiet", "-p", "examples", "--example", "echo"]);
                if programs()?.ends_with("release") {
                    cargo.arg("--release");
                }
                cargo.status()?.success().then_some(()).ok_or_else(|| "the example does not build".into())
            }
        }
    }
}

fn programs() -> Result<PathBuf, Box<dyn Error>> {
    Ok(std::env::current_exe()?.parent().ok_or("no folder")?.to_owned())
}

fn main() -> ExitCode {
    benches::bounds::verdict("idle", run())
}

fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let (mut only, mut build) = (None, true);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("only") => only = Some(arguments.value()?.string()?),
            Long("no-build") => build = false,
            other => return Err(other.unexpected().into()),
        }
    }
    raise_descriptor_limit()?;
    let place = Place::find(LIMIT)?;
    let mut missed = Vec::new();
    println!(
        "| server | bytes a connection | the second time | before → {MANY} → all have gone | CPU and wake-ups in 3 s | p99 alone → among {MANY} | a head begun, each |"
    );
    println!("|---|---|---|---|---|---|---|");
    let all = [
        Server::Http(Kind::Waterspout),
        Server::Lines,
        Server::Http(Kind::Hyper),
        Server::Http(Kind::Nginx),
        Server::Https(Kind::Waterspout),
        Server::Https(Kind::Hyper),
        Server::Https(Kind::Nginx),
    ];
    for server in
        all.into_iter().filter(|server| only.as_deref().is_none_or(|only| server.name().starts_with(only)))
    {
        if build && let Err(reason) = server.build(&place) {
            eprintln!("left out: {}: {reason}", server.name());
            continue;
        }
        pin_to(&[0])?;
        row(server, &place, &mut missed)?;
    }
    Ok(missed)
}

fn row(server: Server, place: &Place, missed: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let running = server.start(place)?;
    let (pid, mut crowd) = (running.pid(), Crowd::of(running.address(), server.question()));
    let mut with = |connections| -> Result<i64, Box<dyn Error>> {
        crowd.is(connections)?;
        std::thread::sleep(QUIET);
        Ok(i64::try_from(memory(pid)?)?)
    };
    with(1)?; // what is made once and for all
    let before = with(0)?;
    let first = [with(FEW)?, with(MANY)?];
    let mut after = with(0)?;
    let second = [with(FEW)?, with(MANY)?];
    if server.is_ours() {
        for _ in 1..CROWDS {
            after = with(0)?.max(after);
            with(MANY)?;
        }
    }
    let each = |[few, many]: [i64; 2]| (many - few) / (MANY - FEW) as i64;
    let (cpu, wakes) = awake(pid, Duration::from_secs(3))?;
    let alone = server.start(place)?;
    let [without, with] = p99_in_turn([alone.address(), running.address()], server.question(), 40)?;
    drop((crowd, running));
    let dribbler = match server {
        Server::Http(_) => Some(dribbled(server, place)?),
        Server::Lines | Server::Https(_) => None,
    };
    println!(
        "| {} | {} | {} | {} → {} → {} | {:.1} ms, {wakes} | {} → {} µs | {} |",
        server.name(),
        each(first),
        each(second),
        bytes(before),
        bytes(first[1]),
        bytes(after),
        cpu.as_secs_f64() * 1e3,
        without.as_micros(),
        with.as_micros(),
        dribbler.map_or(String::new(), bytes),
    );
    if !server.is_ours() {
        return Ok(());
    }
    let most = match server {
        Server::Http(_) => MOST_FOR_HTTP,
        Server::Https(_) => MOST_FOR_HTTPS,
        Server::Lines => MOST_FOR_LINES,
    };
    let bounds = [
        (after - before <= before / MOST_THAT_STAYS + NOISE, "memory that stays of a crowd"),
        (each(first) <= most, "memory of an idle connection"),
        (wakes == 0 && cpu.is_zero(), "idle CPU"),
        (dribbler.is_none_or(|bytes| bytes < MOST_FOR_A_DRIBBLER), "memory of a head that has begun"),
    ];
    let broken = bounds.into_iter().filter(|(held, _)| !held);
    missed.extend(broken.map(|(_, what)| format!("{}: {what}", server.name())));
    Ok(())
}

/// What each of those takes who have sent a part of a request's head.
fn dribbled(server: Server, place: &Place) -> Result<i64, Box<dyn Error>> {
    let running = server.start(place)?;
    let mut crowd = Crowd::of(running.address(), server.question());
    crowd.is(FEW)?;
    let before = memory(running.pid())?;
    crowd.dribble(DRIBBLERS)?;
    std::thread::sleep(Duration::from_secs(1)); // the server reads what is on its way
    Ok((i64::try_from(memory(running.pid())?)? - i64::try_from(before)?) / DRIBBLERS as i64)
}
