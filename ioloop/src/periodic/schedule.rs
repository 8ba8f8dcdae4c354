//! When the next call is due: arithmetic alone, with the time and the chance as arguments.
//!
//! ```text
//!   slots    |---------|---------|---------|---------|---▶ time
//!   calls    ███       █████████████ late            ██
//!                      ^ slot       ^ now            ^ next: the first slot after now
//! ```

use std::time::{Duration, Instant};

use crate::error::PeriodicError;
use crate::time::NEVER;

/// A period, and by what fraction of it the intervals vary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    period: Duration,
    jitter: f64,
}

impl Schedule {
    /// Every `period`, with no jitter.
    pub(super) fn every(period: Duration) -> Result<Schedule, PeriodicError> {
        if period.is_zero() {
            return Err(PeriodicError::ZeroPeriod);
        }
        Ok(Schedule { period: period.min(NEVER), jitter: 0.0 })
    }

    pub(super) fn with_jitter(self, jitter: f64) -> Result<Schedule, PeriodicError> {
        if !(0.0..2.0).contains(&jitter) {
            return Err(PeriodicError::Jitter(jitter));
        }
        Ok(Schedule { jitter, ..self })
    }

    /// The first slot after both `slot` and `now`, in one step however far `now` is ahead (IL26, IL28).
    ///
    /// `chance` is a number from zero to one. Each interval counts from the slot before it, so what one is longer
    /// by others are shorter by, and the rate stays (IL27).
    pub(super) fn next(&self, slot: Instant, now: Instant, chance: f64) -> Instant {
        let interval = self.interval(chance);
        let late = now.saturating_duration_since(slot).as_nanos() % interval.as_nanos();
        let late = Duration::from_nanos(u64::try_from(late).expect("less than two centuries"));
        slot.max(now) + (interval - late)
    }

    fn interval(&self, chance: f64) -> Duration {
        if self.jitter == 0.0 {
            return self.period; // exact, where a float would round the nanoseconds of a long one
        }
        let factor = 1.0 + self.jitter * (chance - 0.5);
        self.period.mul_f64(factor).max(Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Begins at 1000 s and gives the time of each call, in seconds. After it, `now` is so much later than the
    /// call was due; a negative number is a clock that has stepped back.
    fn calls(schedule: Schedule, runs: &[(f64, f64)]) -> Vec<f64> {
        let zero = Instant::now();
        let mut slot = zero + seconds(1_000.0);
        let mut now = slot;
        let mut calls = Vec::new();
        for &(lasts, chance) in runs {
            slot = schedule.next(slot, now, chance);
            calls.push((slot - zero).as_secs_f64());
            now = if lasts < 0.0 { slot - seconds(-lasts) } else { slot + seconds(lasts) };
        }
        calls
    }

    fn calls_that_last(lasts: &[f64]) -> Vec<f64> {
        let every_ten = Schedule::every(seconds(10.0)).unwrap();
        calls(every_ten, &lasts.iter().map(|&lasts| (lasts, 0.0)).collect::<Vec<_>>())
    }

    #[test]
    fn il25_the_first_call_is_due_one_period_after_the_start_and_the_others_follow() {
        assert_eq!(calls_that_last(&[0.0; 5]), [1010.0, 1020.0, 1030.0, 1040.0, 1050.0]);
    }

    #[test]
    fn il26_an_overrun_skips_whole_periods_and_comes_back_to_the_grid() {
        assert_eq!(
            calls_that_last(&[9.0, 9.0, 10.0, 11.0, 20.0, 20.0, 35.0, 35.0, 0.0, 0.0, 0.0]),
            [1010.0, 1020.0, 1030.0, 1050.0, 1070.0, 1100.0, 1130.0, 1170.0, 1210.0, 1220.0, 1230.0],
        );
    }

    #[test]
    fn il27_each_interval_is_multiplied_by_one_and_the_jitters_share() {
        let schedule = Schedule::every(seconds(10.0)).unwrap().with_jitter(0.5).unwrap();
        let chances = [0.5, 1.0, 0.0, 0.75].map(|chance| (0.0, chance));
        assert_eq!(calls(schedule, &chances), [1010.0, 1022.5, 1030.0, 1041.25]);
    }

    #[test]
    fn il27_an_overrun_with_jitter_is_later_than_now_and_by_at_most_one_interval() {
        let schedule = Schedule::every(seconds(10.0)).unwrap().with_jitter(1.0).unwrap();
        let slot = Instant::now();
        for (late, chance, due) in [(4.0, 0.0, 5.0), (5.0, 0.0, 10.0), (31.0, 1.0, 45.0), (45.0, 1.0, 60.0)] {
            assert_eq!(schedule.next(slot, slot + seconds(late), chance), slot + seconds(due));
        }
    }

    #[test]
    fn il28_a_clock_that_steps_back_neither_calls_twice_nor_stalls() {
        assert_eq!(calls_that_last(&[-2.0, -1.0, -3.0, -2.0, 0.0]), [1010.0, 1020.0, 1030.0, 1040.0, 1050.0]);
        assert_eq!(calls_that_last(&[-100.0, 0.0, 0.0]), [1010.0, 1020.0, 1030.0]);
    }

    #[test]
    fn il28_a_clock_that_jumps_centuries_ahead_costs_one_step_even_with_the_shortest_period() {
        let slot = Instant::now();
        let now = slot + 10 * NEVER;
        let nanosecond = Duration::from_nanos(1);
        for jitter in [0.0, 1.999] {
            let schedule = Schedule::every(nanosecond).unwrap().with_jitter(jitter).unwrap();
            assert_eq!(schedule.next(slot, now, 0.0), now + nanosecond);
        }
    }

    #[test]
    fn il24_a_period_is_a_duration_and_is_kept_to_the_nanosecond() {
        let period = Duration::new(83 + 365 * 86_400, 1); // Tornado's 1 min 23 s, and more than a float can hold
        let schedule = Schedule::every(period).unwrap();
        let began = Instant::now();
        assert_eq!(schedule.next(began, began, 0.7), began + period);
    }

    #[test]
    fn il24_what_would_not_move_forward_is_refused() {
        assert_eq!(Schedule::every(Duration::ZERO).unwrap_err(), PeriodicError::ZeroPeriod);
        let schedule = Schedule::every(Duration::MAX).unwrap(); // as good as never
        for jitter in [0.0, 0.1, 1.0, 1.999] {
            let schedule = schedule.with_jitter(jitter).unwrap();
            let began = Instant::now();
            assert!(schedule.next(began, began, 0.0) > began);
        }
        for jitter in [-0.1, 2.0, f64::INFINITY, f64::NAN] {
            assert!(matches!(schedule.with_jitter(jitter), Err(PeriodicError::Jitter(_))), "{jitter}");
        }
    }
}
