//! One slice of the comparison: three tenths of a second of load on one server, and what it cost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::load::{Load, LoadError, Until};
use crate::process_cost::{Cpu, peak_rss_bytes, reset_peak_rss};
use crate::running::Running;
use crate::scenario::{Field, Pace, Scenario};

/// Long enough for some thousand requests, short enough that the machine is the same for all servers of a round.
pub const SLICE: Duration = Duration::from_millis(300);
/// A point of a curve is looked at for less: what matters there is how it lies beside the others.
const SLICE_OF_GROWTH: Duration = Duration::from_millis(200);
/// At a fixed rate there are fewer requests, and the rarest are of interest.
const SLICE_AT_RATE: Duration = Duration::from_millis(500);
/// The caches and the branch predictors see this server again.
const WARM_UP: Duration = Duration::from_millis(40);

/// A slice in which something else had the CPU for more than this share of the time is not to be trusted.
pub const DISTURBED: f64 = 0.1;

/// The quantiles of the latency that are kept.
pub const QUANTILES: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// What one slice measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Good answers.
    pub answers: u64,
    /// Answers with another status, and broken connections.
    pub failures: u64,
    /// Length of the slice.
    pub seconds: f64,
    /// The server's run time.
    pub server: Cpu,
    /// Ours.
    pub load: Cpu,
    /// Latencies at the [`QUANTILES`], in microseconds.
    pub latency: [f64; QUANTILES.len()],
    /// The server's, while connections were opened and driven.
    pub peak_rss_bytes: u64,
}

/// Why a slice gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The load failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The server is gone.
    #[error("the server's cost cannot be read: {0}")]
    Cost(#[from] std::io::Error),
    /// The bodies are not as long as they should be.
    #[error("an answer carries {found} body bytes instead of {expected}")]
    WrongBody {
        /// On average.
        found: u64,
        /// Asked for.
        expected: u64,
    },
    /// The server does not keep the connection.
    #[error("the server closes the connection before it has answered")]
    Broken,
    /// Other statuses than 200.
    #[error("{0} answers were refused")]
    Refused(u64),
}

impl Sample {
    /// Puts the scenario's load on the server for a [`SLICE`].
    ///
    /// # Errors
    /// When the server does not answer as the scenario expects.
    pub fn take(
        server: &Running,
        scenario: &Scenario,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Sample, SliceError> {
        reset_peak_rss(server.pid())?;
        let mut load =
            Load::open(server.address(), scenario.connections, scenario.wanted(), Arc::clone(interrupted))?;
        load.run(Until::Elapsed(WARM_UP))?;
        let before = (Cpu::of(server.pid())?, Cpu::of(std::process::id())?);
        let slice = if scenario.field == Field::All { SLICE } else { SLICE_OF_GROWTH };
        let measured = match scenario.pace {
            Pace::Rate(per_second) => load.run_at_rate(per_second, SLICE_AT_RATE)?,
            Pace::KeepAlive | Pace::ConnectionPerRequest => load.run(Until::Elapsed(slice))?,
        };
        let sample = Sample {
            answers: measured.answers,
            failures: measured.refused + measured.errors,
            seconds: measured.elapsed.as_secs_f64(),
            server: Cpu::of(server.pid())? - before.0,
            load: Cpu::of(std::process::id())? - before.1,
            latency: QUANTILES.map(|quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e3),
            peak_rss_bytes: peak_rss_bytes(server.pid())?,
        };
        Ok(sample)
    }

    /// A few batches on one connection, and a look whether the answers are right: done before a server is timed.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(
        server: &Running,
        scenario: &Scenario,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<(), SliceError> {
        let mut load = Load::open(server.address(), 1, scenario.wanted(), Arc::clone(interrupted))?;
        // Several on one connection: a server that does not keep it is found out at the second.
        let measured = load.run(Until::Requests(3 * u64::from(scenario.depth)))?;
        if measured.refused > 0 {
            return Err(SliceError::Refused(measured.refused));
        }
        if measured.errors > 0 {
            return Err(SliceError::Broken);
        }
        let found = measured.body_bytes / measured.answers.max(1);
        match scenario.traffic.answer_bytes() {
            Some(expected) if expected != found => Err(SliceError::WrongBody { found, expected }),
            _ => Ok(()),
        }
    }

    /// The key figure: microseconds of the server's CPU for each answer. None without answers.
    pub fn cpu_micros(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.server.ran.as_secs_f64() * 1e6 / self.answers as f64)
    }

    /// The median of the latency, in microseconds.
    pub fn p50(&self) -> f64 {
        self.latency[0]
    }

    /// Its 99th percentile.
    pub fn p99(&self) -> f64 {
        self.latency[4]
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    /// How much of its CPU the server used, from 0 to 1.
    pub fn server_busy(&self) -> f64 {
        self.server.ran.as_secs_f64() / self.seconds
    }

    /// How much of its CPU the load generator used, from 0 to 1.
    pub fn load_busy(&self) -> f64 {
        self.load.ran.as_secs_f64() / self.seconds
    }

    /// How long either was kept from its CPU by something else, as a share of the slice. Threads of one server wait
    /// for one another, so only the load generator's word counts when there are several.
    pub fn disturbed(&self) -> f64 {
        let server = if self.server.threads == 1 { self.server.waited } else { Duration::ZERO };
        self.load.waited.max(server).as_secs_f64() / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_percentiles_are_where_they_are_looked_for() {
        assert_eq!((QUANTILES[0], QUANTILES[4]), (0.5, 0.99));
    }
}
