//! Pieces of work that several libraries can do, put to each in slices and random order: what `ioloop_ratios` and `iostream_ratios`
//! have in common.
//!
//! Each contender is a process of its own, anew in each round, so that nobody allocates in what another has left behind. Ratios are
//! taken within a round, in which the contenders take turns, as often as the program says: what the machine does meanwhile then falls on all
//! alike.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use lexopt::prelude::*;

use crate::machine::pin_to;
use crate::report::aligned;
use crate::spread::Spread;

const HELP: &str = "\
[options]: what our work costs beside that of others
  --rounds N        rounds, each with all of the work for every contender (default 15)
  --case NAME       only this one, or all that begin so; may be repeated
  --cpu N           where the cases of one thread run (default 1)
  --list            name the cases and their contenders
  --alone CASE CONTENDER TIMES
                    once, here, for a profiler
";

/// Does its work so many times and gives what that has cost altogether.
pub type Measure = Box<dyn FnMut(u64) -> Duration>;

/// One runtime's way to do the work of a case.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The runtime, and the way if it has several.
    pub name: &'static str,
    /// Sets up what the work needs, which is not measured.
    pub prepare: fn() -> Measure,
}

/// Something every runtime can do.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called on a command line.
    pub name: &'static str,
    /// What is done, for a table.
    pub what: &'static str,
    /// How often in one round: for some tens of milliseconds or more.
    pub iterations: u64,
    /// Whether one thread does it all; it is then bound to one CPU, and what counts is CPU time.
    pub alone: bool,
    /// The first is ours.
    pub contenders: &'static [Contender],
}

struct Options {
    rounds: usize,
    turns: u64,
    cases: Vec<String>,
    cpu: usize,
}

/// The main function of a program for these cases, in each round of which the contenders take so many turns.
pub fn main(cases: &'static [Case], turns: u64) -> ExitCode {
    match run_with_arguments(cases, turns) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_with_arguments(cases: &'static [Case], turns: u64) -> Result<(), Box<dyn Error>> {
    let mut options = Options { rounds: 15, turns, cases: Vec::new(), cpu: 1 };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("case") => options.cases.push(arguments.value()?.string()?),
            Long("cpu") => options.cpu = arguments.value()?.parse()?,
            Long("list") => {
                list(cases);
                return Ok(());
            }
            Long("alone") => {
                let (case, contender) =
                    named(cases, &arguments.value()?.string()?, &arguments.value()?.string()?)?;
                let times = arguments.value()?.parse()?;
                println!("{} {}: {:?}", case.name, contender.name, (contender.prepare)()(times));
                return Ok(());
            }
            Long("serve") => {
                let (case, contender) =
                    named(cases, &arguments.value()?.string()?, &arguments.value()?.string()?)?;
                return serve(case, contender, arguments.value()?.parse()?);
            }
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    compare(cases, &options)
}

/// One line for each contender, for eyes and for `instructions`.
fn list(cases: &[Case]) {
    for case in cases {
        let threads = if case.alone { "alone" } else { "threads" };
        for contender in case.contenders {
            println!("{threads}\t{}\t{}\t{}", case.name, contender.name, case.what);
        }
    }
}

fn named(
    cases: &'static [Case],
    case: &str,
    contender: &str,
) -> Result<(&'static Case, &'static Contender), String> {
    let case = cases.iter().find(|one| one.name == case).ok_or(format!("there is no case {case}"))?;
    let mut contenders = case.contenders.iter();
    let contender = contenders.find(|one| one.name == contender);
    Ok((case, contender.ok_or(format!("{} has other contenders", case.name))?))
}

/// A contender's process: for each line with a number of times it prints what that has cost, in nanoseconds.
fn serve(case: &Case, contender: &Contender, cpu: usize) -> Result<(), Box<dyn Error>> {
    if case.alone {
        pin_to(&[cpu])?;
    }
    let mut measure = (contender.prepare)();
    for line in io::stdin().lock().lines() {
        println!("{}", measure(line?.parse()?).as_nanos());
    }
    std::process::exit(0) // loops on threads of their own never end
}

struct Served {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Served {
    fn start(case: &Case, contender: &Contender, cpu: usize) -> Result<Served, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--serve", case.name, contender.name, &cpu.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the contender")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the contender")?);
        Ok(Served { child, to, from })
    }

    /// Nanoseconds that the work has cost, done so many times.
    fn measure(&mut self, times: u64) -> Result<u64, Box<dyn Error>> {
        writeln!(self.to, "{times}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(cases: &[Case], options: &Options) -> Result<(), Box<dyn Error>> {
    let chosen = |case: &&Case| {
        options.cases.is_empty() || options.cases.iter().any(|name| case.name.starts_with(name))
    };
    let head = ["", "", "ns", "ours ÷ it"].map(str::to_string).to_vec();
    let mut lines = vec![head];
    for case in cases.iter().filter(chosen) {
        let samples = sample(case, options)?;
        let ours = samples[0].clone();
        for (contender, theirs) in case.contenders.iter().zip(&samples) {
            let what = if contender.name == case.contenders[0].name { case.what } else { "" };
            let cell = |spread: Option<Spread>| spread.map_or("-".to_string(), |spread| spread.to_string());
            let ratio = if what.is_empty() { cell(Spread::of_ratios(&ours, theirs)) } else { String::new() };
            let cost = cell(Spread::of(theirs.iter().copied().flatten()));
            lines.push(vec![what.to_string(), contender.name.to_string(), cost, ratio]);
        }
        eprintln!("{}: done", case.name);
    }
    println!("{}", aligned(&lines));
    Ok(())
}

/// The cost of each contender in each round. Each round has processes of its own: how memory happens to lie in one is luck, and
/// must not be that of the whole run.
fn sample(case: &Case, options: &Options) -> Result<Vec<Vec<Option<f64>>>, Box<dyn Error>> {
    let times = (case.iterations / options.turns).max(1);
    let done = (times * options.turns) as f64;
    let mut samples = vec![Vec::new(); case.contenders.len()];
    for _ in 0..options.rounds {
        let mut contenders = Vec::new();
        for contender in case.contenders {
            let mut served = Served::start(case, contender, options.cpu)?;
            served.measure(times)?; // warm, and set up before the next one begins
            contenders.push(served);
        }
        let mut spent = vec![0; contenders.len()];
        for _ in 0..options.turns {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            fastrand::shuffle(&mut order);
            for index in order {
                spent[index] += contenders[index].measure(times)?;
            }
        }
        for (samples, spent) in samples.iter_mut().zip(spent) {
            samples.push(Some(spent as f64 / done));
        }
    }
    Ok(samples)
}
