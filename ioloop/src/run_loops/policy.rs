//! When a worker that has failed is started again: a pure rule, with the time as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How failed workers are started again: each on its own account, after a wait that grows, and not without end.
///
/// A worker may be restarted `max_restarts` times within a `window`, which slides. The wait before a restart is
/// `first_delay`, doubled for each restart that the window still holds, and never longer than `max_delay`. So a worker that
/// has lived for a whole window starts from the smallest wait again; one that needs more restarts than it may have
/// stops its whole group (PR5, PR6).
///
/// | option | default | |
/// | --- | --- | --- |
/// | [`max_restarts`](Self::max_restarts) | 5 | within one window, for one worker |
/// | [`window`](Self::window) | 60 s | |
/// | [`first_delay`](Self::first_delay) | 100 ms | |
/// | [`max_delay`](Self::max_delay) | 10 s | |
///
/// With these a worker that can never start ends its group after some three seconds: long enough for a port to become free,
/// short enough for whoever has started it to notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    max_restarts: u32,
    window: Duration,
    first_delay: Duration,
    max_delay: Duration,
}

impl RestartPolicy {
    /// The defaults of the table above.
    #[must_use]
    pub fn new() -> RestartPolicy {
        RestartPolicy {
            max_restarts: 5,
            window: Duration::from_secs(60),
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
        }
    }

    /// No restarts: the first failure of any worker stops the others.
    #[must_use]
    pub fn never() -> RestartPolicy {
        RestartPolicy::new().max_restarts(0)
    }

    /// How often one worker may be restarted within a window. Default: 5.
    ///
    /// Tornado's counts over all children and for ever, so that a long life uses it up (PR5).
    #[must_use]
    pub fn max_restarts(mut self, restarts: u32) -> RestartPolicy {
        self.max_restarts = restarts;
        self
    }

    /// How long a restart is remembered. Default: 60 s. With zero none is: a worker is restarted without end, each time
    /// after `first_delay`.
    #[must_use]
    pub fn window(mut self, window: Duration) -> RestartPolicy {
        self.window = window;
        self
    }

    /// The wait before the first restart. Default: 100 ms.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> RestartPolicy {
        self.first_delay = delay;
        self
    }

    /// The longest wait before a restart, also where it is less than `first_delay`. Default: 10 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> RestartPolicy {
        self.max_delay = delay;
        self
    }
}

impl Default for RestartPolicy {
    fn default() -> RestartPolicy {
        RestartPolicy::new()
    }
}

/// The restarts of one worker that its window still holds, oldest first; never more than `max_restarts`.
#[derive(Debug, Default)]
pub(crate) struct History {
    restarts: VecDeque<Instant>,
}

impl History {
    /// The worker has failed at `now`: how long to wait before it is started again; `None` if it has used up its restarts.
    pub(crate) fn next_delay(&mut self, policy: &RestartPolicy, now: Instant) -> Option<Duration> {
        while self.restarts.front().is_some_and(|at| now.saturating_duration_since(*at) >= policy.window) {
            self.restarts.pop_front();
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if doublings >= policy.max_restarts {
            return None;
        }
        let factor = 2_u32.saturating_pow(doublings);
        let delay = policy.first_delay.saturating_mul(factor).min(policy.max_delay);
        // From the restart on, so that the window measures the life and not the wait before it.
        self.restarts.push_back(now.checked_add(delay).unwrap_or(now));
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const S: fn(u64) -> Duration = Duration::from_secs;

    /// A worker that lives for each of `lives` and then fails; what it is told each time.
    fn delays(policy: &RestartPolicy, lives: &[Duration]) -> Vec<Option<Duration>> {
        let (mut history, mut now) = (History::default(), Instant::now());
        let mut told = Vec::new();
        for life in lives {
            now += *life;
            let delay = history.next_delay(policy, now);
            now = now.checked_add(delay.unwrap_or_default()).unwrap_or(now);
            told.push(delay);
        }
        told
    }

    #[test]
    fn pr5_pr6_the_delay_doubles_until_the_restarts_of_a_window_are_used_up() {
        let policy = RestartPolicy::new();
        let told = delays(&policy, &[S(0); 6]);
        assert_eq!(told, [Some(MS(100)), Some(MS(200)), Some(MS(400)), Some(MS(800)), Some(MS(1600)), None]);
    }

    #[test]
    fn pr6_the_delay_has_a_largest_value_however_many_restarts_there_are() {
        let policy = RestartPolicy::new().max_restarts(u32::MAX).max_delay(MS(300));
        let told = delays(&policy, &[S(0); 100]);
        assert_eq!(told[..3], [Some(MS(100)), Some(MS(200)), Some(MS(300))]);
        assert!(told[3..].iter().all(|delay| *delay == Some(MS(300))));
        let policy = policy.first_delay(Duration::MAX).max_delay(Duration::MAX);
        assert_eq!(delays(&policy, &[S(0)]), [Some(Duration::MAX)]);
    }

    #[test]
    fn pr6_a_worker_that_has_lived_for_a_window_starts_from_the_smallest_delay_again() {
        let policy = RestartPolicy::new();
        let just_short = S(60) - MS(1);
        let told = delays(&policy, &[S(0), S(0), S(60), just_short, S(60)]);
        assert_eq!(told, [Some(MS(100)), Some(MS(200)), Some(MS(100)), Some(MS(200)), Some(MS(100))]);
    }

    #[test]
    fn pr5_restarts_that_are_further_apart_than_the_window_are_never_used_up() {
        let policy = RestartPolicy::new().max_restarts(1);
        assert!(delays(&policy, &[S(60); 1_000]).iter().all(Option::is_some));
        assert_eq!(delays(&policy, &[S(1), S(59)]), [Some(MS(100)), None]);
        assert!(delays(&policy.window(S(0)), &[S(0); 1_000]).iter().all(|delay| *delay == Some(MS(100))));
    }

    #[test]
    fn pr5_without_restarts_the_first_failure_is_the_last() {
        assert_eq!(delays(&RestartPolicy::never(), &[S(100)]), [None]);
    }
}
