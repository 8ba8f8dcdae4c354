//! The alarm: ends the loop's sleeps at a deadline that is not near, so that the poll need not be told of it.
//!
//! A poll with a timeout has the kernel set a timer and remove it again at each sleep, so each request that comes alone would
//! pay for one. The alarm is set once and stays set, for all sleeps until then; while deadlines are pushed forward it rings
//! before its time, once in a while, and is set anew.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use mio::Token;

use crate::timers::Nanos;

/// The token of the alarm. A poll that it has ended has nobody to tell.
pub(crate) const ALARM: Token = Token(usize::MAX - 1);

/// For nearer deadlines the poll's own timeout is cheaper than a call to set the alarm.
const NEAR: u64 = 10_000_000;

/// One alarm clock of the operating system, where it has such.
pub(crate) struct Alarm {
    timer: Timer,
    set_for: Cell<Option<Nanos>>,
}

impl Alarm {
    pub(crate) fn new(registry: &mio::Registry) -> io::Result<Alarm> {
        Ok(Alarm { timer: Timer::new(registry)?, set_for: Cell::new(None) })
    }

    /// Sees to it that a sleep which begins `now` ends at `deadline` or before, without a timeout; `false` if it needs one.
    pub(crate) fn ends_sleep_by(&self, deadline: Nanos, now: Nanos) -> bool {
        if self.set_for.get().is_some_and(|set_for| set_for > now && set_for <= deadline) {
            return true;
        }
        let away = deadline.since(now);
        let is_set = away >= NEAR && self.timer.set(Duration::from_nanos(away)).is_ok();
        if is_set {
            self.set_for.set(Some(deadline));
        }
        is_set
    }
}

/// A timerfd, registered edge-triggered: setting it anew takes back what it has rung, so nobody need read it.
#[cfg(target_os = "linux")]
struct Timer(Option<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Timer {
    fn new(registry: &mio::Registry) -> io::Result<Timer> {
        use std::os::fd::AsRawFd as _;

        use rustix::io::Errno;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let timer = match timer {
            Ok(timer) => timer,
            Err(error @ (Errno::MFILE | Errno::NFILE)) => return Err(error.into()),
            Err(_) => return Ok(Timer(None)), // a sandbox that does not know it: each poll has its timeout there
        };
        registry.register(&mut mio::unix::SourceFd(&timer.as_raw_fd()), ALARM, mio::Interest::READABLE)?;
        Ok(Timer(Some(timer)))
    }

    fn set(&self, after: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let timer = self.0.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let it_value = Timespec::try_from(after).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    fn new(_: &mio::Registry) -> io::Result<Timer> {
        Ok(Timer)
    }

    fn set(&self, _: Duration) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn nanos(millis: u64) -> Nanos {
        let epoch = Instant::now();
        Nanos::between(epoch, epoch).plus(Duration::from_millis(millis))
    }

    fn alarm() -> (mio::Poll, Alarm) {
        let poll = mio::Poll::new().unwrap();
        let alarm = Alarm::new(poll.registry()).unwrap();
        (poll, alarm)
    }

    #[test]
    fn a_poll_without_a_timeout_ends_when_the_alarm_rings_again_and_again() {
        let (mut poll, alarm) = alarm();
        let mut events = mio::Events::with_capacity(8);
        for round in 0..3 {
            let (now, began) = (nanos(20 * round), Instant::now());
            assert!(alarm.ends_sleep_by(nanos(20 * (round + 1)), now));
            poll.poll(&mut events, None).unwrap();
            assert!(began.elapsed() >= Duration::from_millis(20), "never too early");
            assert!(events.iter().all(|event| event.token() == ALARM));
        }
    }

    #[test]
    fn it_is_set_once_for_all_deadlines_behind_it_and_anew_for_one_before_or_when_it_has_rung() {
        let (_poll, alarm) = alarm();
        let mut sets = Vec::new();
        for (now, deadline) in
            [(0, 5_000), (1, 6_000), (2, 5_000), (3, 4_000), (4_000, 9_000), (8_999, 9_000)]
        {
            let before = alarm.set_for.get();
            let ended = alarm.ends_sleep_by(nanos(deadline), nanos(now));
            sets.push((ended, alarm.set_for.get() != before));
        }
        let (set, kept) = ((true, true), (true, false));
        assert_eq!(sets, [set, kept, kept, set, set, kept]);
    }

    #[test]
    fn without_a_timer_each_poll_has_its_timeout() {
        let alarm = Alarm { timer: Timer(None), set_for: Cell::new(None) };
        assert!(!alarm.ends_sleep_by(nanos(5_000), nanos(0)));
    }

    #[test]
    fn what_is_near_is_left_to_the_poll() {
        let (_poll, alarm) = alarm();
        assert!(!alarm.ends_sleep_by(nanos(9), nanos(0)));
        assert!(!alarm.ends_sleep_by(nanos(3), nanos(3)));
        assert_eq!(alarm.set_for.get(), None);
    }
}
