//! Has peers, descriptors and threads do their worst to our server and, side by side, to hyper and nginx, and prints what became
//! of each.
//!
//!     cargo run --release -p benches --bin faults
//!     cargo run --release -p benches --bin faults -- --line resets --peer waterspout
//!
//! Ends with status 1 if ours is out of its bounds anywhere. One CPU has the server, another the clients.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::faults::report::{Finding, Report, bytes, replace_rows, replace_section};
use benches::faults::target::{Kind, Place, Start, Target};
use benches::faults::{Extent, Findings, LINES, Line, Run};
use benches::machine::{pin_to, raise_descriptor_limit};
use lexopt::prelude::*;

const HELP: &str = "\
faults [options]: what becomes of a server under attack
  --line NAME       only this line; may be repeated (--list names them)
  --peer NAME       only this server: waterspout, hyper or nginx; may be repeated
  --limit SECONDS   the limit of time in every phase, for all servers (default 10)
  --quick           ours alone, little of each, short limits; times are shown and not judged
  --no-build        take the programs that are there
  --write           put the table into docs/limits.md; with --line only the rows of that
";

struct Options {
    lines: Vec<&'static Line>,
    kinds: Vec<Kind>,
    limit: Option<Duration>,
    extent: Extent,
    build: bool,
    write: bool,
}

fn main() -> ExitCode {
    benches::bounds::verdict("faults", run())
}

fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let Some(options) = parse_options()? else { return Ok(Vec::new()) };
    let began = Instant::now();
    raise_descriptor_limit()?;
    let limit = options.extent.pick(Duration::from_secs(10), Duration::from_secs(2));
    let place = Place::find(options.limit.unwrap_or(limit))?;
    let mut kinds = Vec::new();
    for kind in options.kinds {
        match if options.build { place.build(kind) } else { Ok(()) } {
            Ok(()) => kinds.push(kind),
            Err(reason) if kind == Kind::Waterspout => return Err(reason.into()),
            Err(reason) => eprintln!("left out: {}: {reason}", kind.name()),
        }
    }
    pin_to(&[0])?;
    let mut report = Report::default();
    for kind in &kinds {
        println!("{}", kind.name());
        attack(*kind, &place, options.extent, &options.lines, &mut report)?;
    }
    let seconds = place.limit.as_secs_f64();
    let table = report.table(&kinds);
    let text = format!(
        "Limits of {seconds} s in every phase, for all; the rest is as by default. Took {:.0} s.\n\n{}",
        began.elapsed().as_secs_f64(),
        table
    );
    println!("\n{text}");
    let document = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md"));
    match options.lines.len() {
        _ if !options.write => {}
        all if all == LINES.len() => replace_section(document, &text)?,
        _ => replace_rows(document, &table)?,
    }
    Ok(report.missed)
}

fn attack(
    kind: Kind,
    place: &Place,
    extent: Extent,
    lines: &[&Line],
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let excused = extent == Extent::Quick;
    let is_shared = |line: &&&Line| matches!(line.run, Run::Shared(_));
    if lines.iter().any(|line| is_shared(&line)) {
        let target = place.start(kind, Start::default())?;
        let before = if target.is_ours() { Some(State::of(&target, extent)?) } else { None };
        for line in lines {
            if let Run::Shared(run) = line.run {
                report.add(kind, checked(kind, line, run(&target, extent))?, excused);
                target.settle(extent)?;
            }
        }
        if let Some(before) = before {
            report.add(kind, before.compared_with(&before.again(&target, extent)?), excused);
        }
    }
    let mut afterwards = Vec::new();
    for line in lines {
        let findings = match line.run {
            Run::Fresh(run) => {
                let start = Start { limit: extent.limit_unjudged(), ..Start::default() };
                let target = place.start(kind, start)?;
                let before = if target.is_ours() { Some(State::of(&target, extent)?) } else { None };
                let findings = run(&target, extent);
                if let Some(before) = before {
                    // The allocator keeps what once was needed; a second time needs no more.
                    let memory = State::of(&target, extent)?.memory;
                    run(&target, Extent::Quick)?;
                    let before = State { memory, ..before };
                    afterwards.push((line.name, before.compared_with(&before.again(&target, extent)?)));
                }
                findings
            }
            Run::Own(run) => run(kind, place, extent),
            Run::OursAlone(run) if kind == Kind::Waterspout => run(place, extent),
            _ => continue,
        };
        report.add(kind, checked(kind, line, findings)?, excused);
    }
    if !afterwards.is_empty() {
        report.add(kind, vec![all_as_before(&afterwards)], excused);
    }
    Ok(())
}

/// The states of those servers that had one line each.
fn all_as_before(afterwards: &[(&str, Vec<Finding>)]) -> Finding {
    let mut seen = format!("all, on {} servers", afterwards.len());
    let missed = afterwards.iter().flat_map(|(line, findings)| findings.iter().map(move |each| (line, each)));
    let missed: Vec<_> = missed.filter(|(_, each)| !each.holds).collect();
    for (line, each) in &missed {
        _ = write!(seen, "; but {line}, {}: {}", each.what, each.seen);
    }
    let what = "the same after each line that had a server of its own, twice";
    Finding::fact(what, "as before, memory as after the first time", seen, missed.is_empty())
}

/// A line that cannot be tried on ours is an error; on another server its cells stay empty.
fn checked(kind: Kind, line: &Line, findings: Findings) -> Result<Vec<Finding>, Box<dyn Error>> {
    findings.or_else(|error| {
        let what = format!("{}, {}: {error}", line.name, kind.name());
        if kind == Kind::Waterspout {
            return Err(what.into());
        }
        eprintln!("{what}");
        Ok(Vec::new())
    })
}

/// What must be the same after everything as before.
struct State {
    counters: Vec<(&'static str, u64)>,
    descriptors: usize,
    memory: i64,
}

impl State {
    /// When nobody is there.
    fn of(target: &Target, extent: Extent) -> Result<State, Box<dyn Error>> {
        let (counters, descriptors) = target.at_rest(extent)?;
        let stand_still = ["connections", "tasks", "timers", "sources", "blocks"];
        let count = |name| {
            let count = counters.get(name).copied().unwrap_or_default();
            // Who asks has a timer of its own if the server had to wait for the question.
            if name == "timers" { count.saturating_sub(1) } else { count }
        };
        let counters = stand_still.map(|name| (name, count(name)));
        Ok(State { counters: counters.to_vec(), descriptors, memory: target.memory()? })
    }

    /// As soon as all is as here, or as it is in the end: a server clears up half a second after the last of many has left.
    fn again(&self, target: &Target, extent: Extent) -> Result<State, Box<dyn Error>> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let after = State::of(target, extent)?;
            let is_same = self.compared_with(&after).iter().all(|finding| finding.holds);
            if is_same || Instant::now() >= until {
                return Ok(after);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn compared_with(&self, after: &State) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ((name, before), (_, after)) in self.counters.iter().zip(&after.counters) {
            findings.push(Finding::fact(
                format!("after all of the above: {name}, by its own count"),
                "as before",
                format!("{before} before, {after} after"),
                before == after,
            ));
        }
        let (before, now) = (self.descriptors, after.descriptors);
        let seen = format!("{before} before, {now} after");
        findings.push(Finding::fact(
            "after all of the above: descriptors, by /proc",
            "as before",
            seen,
            before == now,
        ));
        let seen = format!("{} before, {} after", bytes(self.memory), bytes(after.memory));
        // What the pool keeps for the next connections is 64 blocks of 64 KiB for reading, as many write buffers of 16 KiB; the
        // rest is what the allocator does not give back to the kernel because something above it is in use.
        let holds = after.memory <= self.memory + (8 << 20);
        findings.push(Finding::fact(
            "after all of the above: memory, by /proc",
            "as before, and 8 MiB of pool and allocator",
            seen,
            holds,
        ));
        findings
    }
}

fn parse_options() -> Result<Option<Options>, Box<dyn Error>> {
    let (mut lines, mut kinds) = (Vec::new(), Vec::new());
    let mut options = Options {
        lines: Vec::new(),
        kinds: Vec::new(),
        limit: None,
        extent: Extent::Full,
        build: true,
        write: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("line") => lines.push(arguments.value()?.string()?),
            Long("peer") => kinds.push(arguments.value()?.string()?),
            Long("limit") => options.limit = Some(Duration::try_from_secs_f64(arguments.value()?.parse()?)?),
            Long("quick") => options.extent = Extent::Quick,
            Long("no-build") => options.build = false,
            Long("write") => options.write = true,
            Long("list") => {
                LINES.iter().for_each(|line| println!("{}", line.name));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let all = match options.extent {
        Extent::Full => vec![Kind::Waterspout, Kind::Hyper, Kind::Nginx],
        Extent::Quick => vec![Kind::Waterspout],
    };
    let named = |kind: &Kind| kinds.is_empty() || kinds.iter().any(|name| name == kind.name());
    options.kinds = all.into_iter().filter(named).collect();
    options.lines =
        LINES.iter().filter(|line| lines.is_empty() || lines.iter().any(|name| name == line.name)).collect();
    if options.kinds.is_empty() || options.lines.is_empty() {
        return Err("no such line or peer; see --help and --list".into());
    }
    if options.write && options.kinds.len() < 3 {
        return Err("what is written has all servers side by side".into());
    }
    Ok(Some(options))
}
