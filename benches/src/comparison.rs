//! One scenario of the comparison: its servers side by side, slice by slice, and what is counted once.
//!
//! One CPU has the server under load, another the load generator; the other servers sleep. A round takes one slice of
//! each server, in random order, and ratios are taken within rounds, so that a machine that is faster now than a minute
//! ago does not favour anybody.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::counting::{Amount, Tool, per_request};
use crate::fairness::head_of_answer;
use crate::machine::Cpus;
use crate::record::{Key, Record};
use crate::results::Results;
use crate::running::Running;
use crate::scenario::{Field, Over, Scenario, Traffic};
use crate::selection::is_set;
use crate::server::{Places, Server};
use crate::slice::{DISTURBED, Sample, SliceError};

/// Where instructions and system calls are counted: they say little more elsewhere, and a count takes seconds.
const COUNTED: &[&str] = &["plaintext-64", "pipelined-16", "browser", "close", "lines-64"];
/// The curves of growth are shown as lines and have so many rounds at most.
const ROUNDS_OF_GROWTH: usize = 5;
/// Of each of two runs.
const COUNTED_REQUESTS: u64 = 1000;

/// How scenarios are run.
#[derive(Debug)]
pub struct Comparison {
    /// Who takes part, if the scenario is for them.
    pub servers: Vec<&'static Server>,
    /// Slices of each server.
    pub rounds: usize,
    /// What counts, where something is counted.
    pub tools: Vec<Tool>,
    /// Who runs where.
    pub cpus: Cpus,
    /// What is built where.
    pub places: Places,
    /// Ends everything when it is set.
    pub interrupted: Arc<AtomicBool>,
}

impl Comparison {
    /// Runs one scenario and adds what it found out.
    ///
    /// # Errors
    /// When it is interrupted, or what it found out cannot be written down. A server that fails is left out.
    pub fn run(&self, scenario: &Scenario, results: &mut Results) -> Result<(), Box<dyn Error>> {
        let takes = self.servers.iter().copied().filter(|server| server.takes(scenario));
        let mut running = Vec::new();
        for server in takes {
            match self.start(server, scenario, results) {
                Ok(started) => running.push((server, started)),
                Err(error) => eprintln!("{}: {} is left out: {error}", scenario.name, server.name),
            }
        }
        let rounds = match scenario.field {
            Field::All => self.rounds,
            Field::Few => self.rounds.min(ROUNDS_OF_GROWTH),
        };
        for round in 0..rounds {
            fastrand::shuffle(&mut running);
            for (server, started) in &running {
                self.slice(server, started, scenario, round, results)?;
            }
        }
        let servers: Vec<&Server> = running.into_iter().map(|(server, _)| server).collect();
        if COUNTED.contains(&scenario.name) {
            for server in servers {
                self.count(server, scenario, results)?;
            }
        }
        Ok(results.add(Record::Done(scenario.name.to_string()))?)
    }

    /// Starts it, lets it answer a few times, rightly, and has a look at the head of its answer.
    fn start(
        &self,
        server: &Server,
        scenario: &Scenario,
        results: &mut Results,
    ) -> Result<Running, Box<dyn Error>> {
        let running = Running::start(&server.launch(scenario, &self.places)?, &[], self.cpus)?;
        Sample::check(&running, scenario, &self.interrupted)?;
        if scenario.over == Over::Tcp && !matches!(scenario.traffic, Traffic::Lines(_)) {
            let head = head_of_answer(running.address(), &scenario.traffic.request(false))?;
            results.add(Record::Head(Key::new(scenario.name, server.name), head.bytes, head.fields))?;
        }
        Ok(running)
    }

    fn slice(
        &self,
        server: &Server,
        running: &Running,
        scenario: &Scenario,
        round: usize,
        results: &mut Results,
    ) -> Result<(), Box<dyn Error>> {
        match self.calm_sample(running, scenario) {
            Ok(sample) => {
                results.add(Record::Slice(Key::new(scenario.name, server.name), round, sample))?;
            }
            Err(error) => self.say(scenario, server, &error)?,
        }
        Ok(())
    }

    /// A slice, taken again when something else had the CPU for a while.
    fn calm_sample(&self, server: &Running, scenario: &Scenario) -> Result<Sample, SliceError> {
        let sample = Sample::take(server, scenario, &self.interrupted)?;
        if sample.disturbed() <= DISTURBED || scenario.loops > 1 {
            return Ok(sample);
        }
        let again = Sample::take(server, scenario, &self.interrupted)?;
        Ok(if again.disturbed() < sample.disturbed() { again } else { sample })
    }

    fn count(
        &self,
        server: &Server,
        scenario: &Scenario,
        results: &mut Results,
    ) -> Result<(), Box<dyn Error>> {
        let amount = Amount { requests: COUNTED_REQUESTS, connections: None };
        let countable = |tool: &&Tool| **tool == Tool::Strace || server.is_compiled();
        for tool in self.tools.iter().filter(countable) {
            let (places, cpus) = (&self.places, self.cpus);
            let key = Key::new(scenario.name, server.name);
            match per_request(*tool, server, scenario, amount, places, cpus, &self.interrupted) {
                Ok(count) => results.add(match tool {
                    Tool::Callgrind => Record::Instructions(key, count),
                    Tool::Strace => Record::Syscalls(key, count),
                })?,
                Err(error) => self.say(scenario, server, &error)?,
            }
        }
        Ok(())
    }

    fn say(&self, scenario: &Scenario, server: &Server, error: &dyn Error) -> io::Result<()> {
        if is_set(&self.interrupted) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        eprintln!("{}: {}: {error}", scenario.name, server.name);
        Ok(())
    }
}
