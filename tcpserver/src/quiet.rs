//! Logging a little of what strangers can bring about as often as they like.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time from one line to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// A line now and then.
#[derive(Default)]
pub(crate) struct Quiet {
    last: Cell<Option<Instant>>,
    left_out: Cell<u64>,
}

impl Quiet {
    /// How many were left out since the line before; `None` if this is to be left out too.
    pub(crate) fn line(&self, now: Instant) -> Option<u64> {
        if self.last.get().is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts10_what_comes_all_the_time_is_a_line_in_ten_seconds_that_says_how_many_it_leaves_out() {
        let quiet = Quiet::default();
        let begin = Instant::now();
        let lines: Vec<_> =
            (0..30).filter_map(|second| quiet.line(begin + Duration::from_secs(second))).collect();
        assert_eq!(lines, [0, 9, 9]);
    }
}
