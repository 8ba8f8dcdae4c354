//! A thread that sees when a loop is stuck in one piece of work, and says so while it is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::IoLoop;
use crate::origin::Origin;
use crate::running::{IDLE, Running, origin_in};

/// Looks per threshold: a report is late by at most this part of it.
const LOOKS: u32 = 4;

/// After so many looks that found the loop idle, the watchdog sleeps until there is work.
const IDLE_LOOKS: u32 = 2 * LOOKS;

const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Watches one loop for as long as it lives. Made by [`IoLoop::watch_blocking`].
#[derive(Debug)]
#[must_use = "dropping the watchdog ends the watch"]
pub struct Watchdog {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A piece of work that keeps its loop from everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// What runs; `None` for the loop's own work and for what a stream does at the end of a turn.
    pub origin: Option<Origin>,
    /// How long it has run so far. It has begun up to a quarter of the threshold before the first look at it.
    pub elapsed: Duration,
}

impl Blocked {
    /// Logs the report as a warning.
    pub fn log(&self) {
        tracing::warn!("{self}");
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the loop has been blocked for {:?}", self.elapsed)?;
        match self.origin {
            Some(origin) => write!(f, " by the {origin}"),
            None => f.write_str(" by its own work"),
        }
    }
}

impl IoLoop {
    /// Has `report` called, on a thread of its own, when one callback, handler, timer or poll of a task has run for
    /// `threshold`, **while it still runs**; and again whenever that time has doubled (IL40).
    ///
    /// `Blocked::log` as the report is Tornado's `set_blocking_log_threshold`. The thread looks four times per threshold
    /// while the loop has work and sleeps while it has none, so an idle process stays idle; the loop itself does one more
    /// check a turn. A threshold below four milliseconds counts as that. The time is the real one, also on a virtual clock.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    #[doc(alias = "set_blocking_log_threshold")]
    #[doc(alias = "set_blocking_signal_threshold")]
    pub fn watch_blocking(
        &self,
        threshold: Duration,
        report: impl FnMut(&Blocked) + Send + 'static,
    ) -> io::Result<Watchdog> {
        let ended = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            running: self.inner.dispatch.running(),
            ended: Arc::clone(&ended),
            tick: (threshold / LOOKS).max(SHORTEST_TICK),
            threshold: threshold.max(SHORTEST_TICK * LOOKS),
            report,
        };
        let thread = std::thread::Builder::new().name("ioloop-watchdog".to_owned()).spawn(|| watch.run())?;
        Ok(Watchdog { ended, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    /// Waits for a report that is under way, unless the report itself drops this.
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Watch<R> {
    running: Arc<Running>,
    ended: Arc<AtomicBool>,
    tick: Duration,
    threshold: Duration,
    report: R,
}

impl<R: FnMut(&Blocked)> Watch<R> {
    fn run(mut self) {
        let mut seen = Seen::new(self.running.look(), self.threshold);
        let mut idle_looks = 0;
        while !self.ended.load(Ordering::Acquire) {
            if idle_looks < IDLE_LOOKS {
                std::thread::park_timeout(self.tick);
            } else {
                self.running.sleep_while_idle();
                idle_looks = 0;
            }
            let word = self.running.look();
            idle_looks = if word == IDLE { idle_looks + 1 } else { 0 };
            if let Some(elapsed) = seen.look(word, Instant::now(), self.threshold) {
                let blocked = Blocked { origin: origin_in(word), elapsed };
                // A report that panics is not asked again.
                if crate::caught(|| (self.report)(&blocked)).is_err() {
                    return;
                }
            }
        }
    }
}

/// What the last look saw, and since when.
struct Seen {
    dispatch: u64,
    since: Instant,
    report_at: Duration,
}

impl Seen {
    fn new(word: u64, threshold: Duration) -> Seen {
        Seen { dispatch: word >> 32, since: Instant::now(), report_at: threshold }
    }

    /// How long the work in `word` has run, if that is to be reported.
    fn look(&mut self, word: u64, now: Instant, threshold: Duration) -> Option<Duration> {
        let dispatch = word >> 32;
        if dispatch != self.dispatch || word == IDLE {
            *self = Seen { dispatch, since: now, report_at: threshold };
            return None;
        }
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < self.report_at {
            return None;
        }
        self.report_at = elapsed * 2;
        Some(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: u64 = 1 << 63;
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn il40_one_piece_of_work_is_reported_at_the_threshold_and_at_each_doubling() {
        let mut seen = Seen::new(IDLE, 100 * MS);
        let began = seen.since;
        let word = BUSY | 1 << 32 | 7;
        let reported: Vec<u128> = (0..40)
            .filter_map(|tick| seen.look(word, began + 25 * MS * tick, 100 * MS))
            .map(|elapsed| elapsed.as_millis())
            .collect();
        assert_eq!(reported, [100, 200, 400, 800]);
    }

    #[test]
    fn il40_another_piece_of_work_and_an_idle_loop_begin_anew() {
        let mut seen = Seen::new(IDLE, 100 * MS);
        let began = seen.since;
        for tick in 0..40 {
            let word = if tick % 4 == 3 { IDLE } else { BUSY | (tick / 2) << 32 | 7 };
            assert_eq!(seen.look(word, began + 50 * MS * tick as u32, 100 * MS), None);
        }
        for tick in 40..80 {
            assert_eq!(seen.look(IDLE, began + 50 * MS * tick, 100 * MS), None);
        }
    }

    #[test]
    fn a_new_label_does_not_start_the_time_anew() {
        let mut seen = Seen::new(IDLE, 100 * MS);
        let began = seen.since;
        assert_eq!(seen.look(BUSY | 1, began, 100 * MS), None);
        assert_eq!(seen.look(BUSY | 2, began + 100 * MS, 100 * MS), Some(100 * MS));
    }
}
