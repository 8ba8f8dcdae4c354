//! How the server bears a time in which it cannot accept: how long it waits between attempts, and what it logs.

use std::cell::Cell;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ioloop::{Deadline, IoLoop};

/// The first and the longest pause after an accept that failed for want of something. The first bounds how often it is
/// tried when descriptors come and go all the time, fifty times a second; the longest is short enough that nobody waits
/// long once descriptors are free again, and long enough that trying costs nothing.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// How long all must be well before an episode is over. An episode is logged when it begins and when it ends, so this
/// makes it a line a second at most, whatever clients do.
pub(crate) const CALM: Duration = Duration::from_secs(2);

/// The one timer of a listener's task: it ends a pause, or says when to look again.
pub(crate) struct Backoff {
    timer: Deadline,
    pausing: bool,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(io_loop: &IoLoop) -> Backoff {
        Backoff { timer: Deadline::new(io_loop), pausing: false, next: PAUSES.0 }
    }

    /// Begins a pause, each longer than the one before. The task is woken at its end.
    pub(crate) fn pause(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.look_again(cx, now + self.next);
        self.pausing = true;
        self.next = (2 * self.next).min(PAUSES.1);
    }

    /// Ready when there is no pause.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pausing {
            ready!(self.timer.poll(cx));
            self.pausing = false;
        }
        Poll::Ready(())
    }

    /// The next pause is a short one: an attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = PAUSES.0;
    }

    /// Has the task woken at `at`, or before.
    pub(crate) fn look_again(&mut self, cx: &mut Context<'_>, at: Instant) {
        self.timer.set(Some(at));
        if self.timer.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// A time in which something is amiss, now and then or all the time.
#[derive(Default)]
pub(crate) struct Episode {
    /// When it was last seen to be amiss.
    last: Cell<Option<Instant>>,
}

impl Episode {
    /// Something is amiss. Whether that is news.
    pub(crate) fn goes_on(&self, now: Instant) -> bool {
        self.last.replace(Some(now)).is_none()
    }

    /// Ends the episode if it has been calm for long enough; says when to look again if not.
    pub(crate) fn look(&self, now: Instant) -> Look {
        match self.last.get().map(|last| last + CALM) {
            None => Look::Well,
            Some(over) if over <= now => {
                self.last.set(None);
                Look::Over
            }
            Some(over) => Look::Again(over),
        }
    }
}

/// What a look at an [`Episode`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Well,
    /// It has just ended.
    Over,
    Again(Instant),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nu3_4_an_episode_is_news_when_it_begins_and_is_over_when_it_was_calm_for_long_enough() {
        let episode = Episode::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(episode.look(at(0)), Look::Well);
        assert!(episode.goes_on(at(0)));
        assert!(!episode.goes_on(at(1500)), "no news");
        assert_eq!(episode.look(at(2000)), Look::Again(at(3500)));
        assert_eq!(episode.look(at(3500)), Look::Over);
        assert_eq!(episode.look(at(3500)), Look::Well);
        assert!(episode.goes_on(at(3500)), "a new one");
    }
}
