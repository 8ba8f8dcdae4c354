//! Lines of the log that peers can cause: so many a second, and then a number instead.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines that may be written within [`WINDOW`].
const LINES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(1);

/// Bounds one kind of line.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    since: Cell<Option<Instant>>,
    lines: Cell<u32>,
    withheld: Cell<u64>,
}

/// A line may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// How many were not, since the last one that was. `None` for none.
    pub(crate) withheld: Option<u64>,
}

impl LogLimit {
    pub(crate) fn allows(&self, now: Instant) -> Option<Allowed> {
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            self.since.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() == LINES {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        let withheld = self.withheld.take();
        Some(Allowed { withheld: (withheld > 0).then_some(withheld) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_the_next_says_how_many_were_withheld() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let written = |at: u64, tries: u32| {
            (0..tries).filter_map(|_| limit.allows(start + Duration::from_millis(at))).collect::<Vec<_>>()
        };
        assert_eq!(written(0, 25).len(), 10);
        assert_eq!(written(999, 5).len(), 0);
        let next = written(1000, 25);
        assert_eq!(next.len(), 10);
        assert_eq!((next[0].withheld, next[1].withheld), (Some(20), None));
    }
}
