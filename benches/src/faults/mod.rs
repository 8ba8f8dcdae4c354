//! What happens to a server when its peers, its descriptors or its threads do their worst.
//!
//! Each line is a function that is given a server and says what it saw: [`Finding`]s. The lines that need a server of their own
//! (few descriptors, several loops, one that is told to end) start it.

mod bombs;
mod budget;
mod client;
mod clock;
mod descriptors;
mod ending;
mod endless;
mod greedy;
mod herd;
mod manners;
mod memory;
pub mod report;
mod resets;
mod rolling;
mod signals;
mod slow;
pub mod target;

use std::error::Error;
use std::time::Duration;

use report::Finding;
use target::{Kind, Place, Target};

/// What a line gives.
pub type Findings = Result<Vec<Finding>, Box<dyn Error>>;

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As the tables have it.
    Full,
    /// Little of each and short limits, for what is a fact however busy the machine is.
    Quick,
}

impl Extent {
    /// One of two numbers.
    pub fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Extent::Full => full,
            Extent::Quick => quick,
        }
    }

    /// The limit of time on servers whose limits are not what is tried, if it is another: the short one could be met by honest peers
    /// where the machine is slow.
    pub fn limit_unjudged(self) -> Option<Duration> {
        self.pick(None, Some(Duration::from_secs(60)))
    }
}

/// One line of the table, or a few that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// As `--line` takes it.
    pub name: &'static str,
    /// Against whom.
    pub run: Run,
}

/// How a line is run.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// On the one server that lives through all of these.
    Shared(fn(&Target, Extent) -> Findings),
    /// On one that has this line alone: what it takes for it, it has not taken before.
    Fresh(fn(&Target, Extent) -> Findings),
    /// On servers that it starts itself, of every kind.
    Own(fn(Kind, &Place, Extent) -> Findings),
    /// On servers of ours that it starts itself.
    OursAlone(fn(&Place, Extent) -> Findings),
}

/// All of them, in the order of the table.
pub const LINES: &[Line] = &[
    Line { name: "slow", run: Run::Shared(slow::slow_peers) },
    Line { name: "slow-readers", run: Run::Fresh(memory::slow_readers) },
    Line { name: "pipelined-unread", run: Run::Fresh(memory::pipelined_unread) },
    Line { name: "uploads", run: Run::Fresh(memory::echo_uploads) },
    Line { name: "greedy", run: Run::Shared(greedy::three_greedy_and_one_polite) },
    Line { name: "endless", run: Run::Shared(endless::endless) },
    Line { name: "chunks", run: Run::Shared(endless::one_byte_chunks) },
    Line { name: "forms", run: Run::Fresh(bombs::forms) },
    Line { name: "bombs", run: Run::Fresh(bombs::compressed) },
    Line { name: "half-closed", run: Run::Shared(manners::half_closed) },
    Line { name: "panic", run: Run::Shared(manners::panicking_handler) },
    Line { name: "resets", run: Run::Shared(resets::resets_and_scans) },
    Line { name: "stopped", run: Run::Shared(signals::stopped_and_continued) },
    Line { name: "signals", run: Run::Shared(signals::storm) },
    Line { name: "descriptors", run: Run::Own(descriptors::none_left) },
    Line { name: "budget", run: Run::OursAlone(budget::more_than_there_is) },
    Line { name: "clock", run: Run::OursAlone(clock::jumps) },
    Line { name: "loop-dies", run: Run::OursAlone(ending::a_loop_dies) },
    Line { name: "sigterm", run: Run::OursAlone(ending::sigterm) },
    Line { name: "rolling", run: Run::OursAlone(rolling::fifty_restarts) },
];
