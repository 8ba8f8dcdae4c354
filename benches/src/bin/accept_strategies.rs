//! What the ways to accept on several loops cost, and how evenly they spread connections.
//!
//!     cargo run --release -p benches --features loops --bin accept_strategies
//!     cargo run --release -p benches --features loops --bin accept_strategies -- --rounds 15 --loops 2
//!
//! The server is this process, its clients are another. CPU time is all of the server's, whoever accepts included. A round takes every
//! strategy under every load, in random order.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use benches::process_cost::Cpu;
use benches::report::aligned;
use benches::spread::{Spread, short};
use ioloop::IoLoop;
use iostream::{IoStream, StreamError};
use lexopt::prelude::*;
use netutil::BindOptions;
use socket2::SockRef;
use tcpserver::{AcceptStrategy, ConnectionContext, LoopMetrics, TcpServer};

const HELP: &str = "accept_strategies [--rounds N] [--loops N]     7 rounds, 2 loops by default";
const STRATEGIES: [AcceptStrategy; 3] =
    [AcceptStrategy::Shared, AcceptStrategy::ReusePort, AcceptStrategy::Dispatch];

/// A name, connections that are made, and how many are open at a time.
const LOADS: [(&str, usize, usize); 3] = [
    ("one at a time", 4_000, 1),
    ("64 at a time", 20_000, 64),
    ("512 that come and go at random", 4_000, 512),
];

/// What one slice measured.
struct Sample {
    cpu_micros: f64,
    sleeps: f64,
    in_vain: f64,
    skew: f64,
    skew_of_active: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("accept_strategies: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut rounds, mut loops) = (7, 2);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => rounds = parser.value()?.parse()?,
            Long("loops") => loops = parser.value()?.parse()?,
            Long("visit") => {
                let address = parser.value()?.parse()?;
                let count = parser.value()?.parse()?;
                return Ok(visit(address, count, parser.value()?.parse()?)?);
            }
            Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let mut cases: Vec<_> = (0..LOADS.len())
        .flat_map(|load| (0..STRATEGIES.len()).map(move |strategy| (load, strategy)))
        .collect();
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        fastrand::shuffle(&mut cases);
        for &(load, strategy) in &cases {
            eprintln!("round {}: {}, {:?}", round + 1, LOADS[load].0, STRATEGIES[strategy]);
            samples[load * STRATEGIES.len() + strategy].push(slice(STRATEGIES[strategy], load, loops)?);
        }
    }
    print!("{}", table(&samples));
    Ok(())
}

/// Says something, and ends with its client.
async fn greet(stream: IoStream, _: ConnectionContext) -> Result<(), StreamError> {
    stream.write("!").await?;
    stream.read_until_close().await.map(drop)
}

fn slice(strategy: AcceptStrategy, load: usize, loops: usize) -> Result<Sample, Box<dyn Error>> {
    let (_, count, at_once) = LOADS[load];
    let io_loop = IoLoop::new()?;
    io_loop.make_current();
    let server = TcpServer::new(greet).accept_strategy(strategy);
    let address = server.bind_with(0, &BindOptions::new().address("127.0.0.1").backlog(1024))?[0];
    let servers = server.start(loops)?;
    let threads = servers.loops().ok_or("two loops at least")?.clone();
    io_loop.run_sync(threads.ready())??;

    let (before, slept) = (Cpu::of(std::process::id())?, sleeps()?);
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--visit", &address.to_string(), &count.to_string(), &at_once.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (hold, mut said) = (child.stdin.take(), BufReader::new(child.stdout.take().ok_or("it is piped")?));
    let stop = io_loop.remote();
    let visits = thread::spawn(move || {
        let heard = said.read_line(&mut String::new());
        stop.stop();
        heard
    });
    io_loop.start()?;
    visits.join().map_err(|_| "the thread that listens has panicked")??;
    let metrics: LoopMetrics = io_loop.run_sync(servers.metrics())?;
    let slept = sleeps()?.saturating_sub(slept);
    drop(hold);
    if !child.wait()?.success() {
        return Err("the clients have failed".into());
    }
    let cost = Cpu::of(std::process::id())? - before;
    io_loop.run_sync(servers.drain(Duration::from_secs(10)))?;
    if metrics.total().accepted < count as u64 {
        return Err(format!("{} of {count} were served", metrics.total().accepted).into());
    }
    let per_visit = |value: f64| value / count as f64;
    Ok(Sample {
        cpu_micros: per_visit(cost.ran.as_secs_f64() * 1e6),
        sleeps: per_visit(slept as f64),
        in_vain: per_visit(metrics.total().wakes_in_vain as f64),
        skew: metrics.skew(),
        skew_of_active: metrics.skew_of_active(),
    })
}

/// How often the threads of this process have gone to sleep: as often, they were woken, be it in vain.
fn sleeps() -> io::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread may have ended since the folder was read.
        let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Makes so many connections, so many of them open at a time; when there are as many, one leaves, at random if they are many. Then waits to
/// be told to end.
fn visit(address: SocketAddr, count: usize, at_once: usize) -> io::Result<()> {
    let mut open = VecDeque::new();
    for _ in 0..count {
        if open.len() == at_once {
            if at_once > 64 {
                open.swap(0, fastrand::usize(..at_once));
            }
            if let Some(oldest) = open.pop_front() {
                leave(oldest)?;
            }
        }
        open.push_back(TcpStream::connect(address)?);
    }
    while at_once <= 64
        && let Some(oldest) = open.pop_front()
    {
        leave(oldest)?;
    }
    for stream in &mut open {
        stream.read_exact(&mut [0])?;
    }
    println!("done");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// By a reset, so that no port is kept for a while.
fn leave(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

fn table(samples: &[Vec<Sample>]) -> String {
    let head = [
        "connections",
        "strategy",
        "µs of CPU each",
        "sleeps each",
        "in vain each",
        "skew",
        "skew of the open",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (load, (name, _, at_once)) in LOADS.iter().enumerate() {
        for (strategy, kind) in STRATEGIES.iter().enumerate() {
            let samples = &samples[load * STRATEGIES.len() + strategy];
            let cell = |value: fn(&Sample) -> f64| {
                Spread::of(samples.iter().map(value)).map_or("-".to_owned(), |spread| spread.to_string())
            };
            let name = if strategy == 0 { name } else { "" };
            let held = if *at_once > 64 { cell(|sample| sample.skew_of_active) } else { "-".to_owned() };
            let in_vain = Spread::of(samples.iter().map(|sample| sample.in_vain));
            lines.push(vec![
                name.to_owned(),
                format!("{kind:?}"),
                cell(|sample| sample.cpu_micros),
                cell(|sample| sample.sleeps),
                in_vain.map_or("-".to_owned(), |spread| short(spread.median)),
                cell(|sample| sample.skew),
                held,
            ]);
        }
    }
    aligned(&lines)
}
