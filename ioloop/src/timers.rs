//! Deadlines in order: a wheel for those that are far away, a heap for those that are near, over one table.
//! Step 5 of path 3 through the house (see ARCHITECTURE.md).
//!
//! ```text
//!   wheel (unordered lists)         slots                            heap (earliest first, FIFO among equals)
//!   ┌────────┐        ┌──────────┬─────┬────────┬──────┐        ┌──────────┬──────┬─────┐
//!   │ bucket │──────▶ │ deadline │ seq │ action │ link │ ◀──────│ deadline │ slot │ seq │   same seq: alive
//!   └────────┘        └──────────┴─────┴────────┴──────┘        └──────────┴──────┴─────┘   otherwise: a tombstone
//! ```
//!
//! A timer waits in the wheel, in no order, until the tick of its deadline begins (`wheel.rs`); only then is it put in
//! order. Most timers are removed before: that takes them out of their list and leaves nothing behind, however many others
//! wait (IL20). One that is removed from the heap leaves a tombstone for the 66 µs until it would have been due.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::io_loop::Callback;
use crate::table::Table;
use crate::trim::move_to_fit;
use crate::wake::{TaskKey, WakeTarget};
use crate::wheel::{Link, Wheel};

/// A heap that was larger than this once gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 4_096;

/// Below this many tombstones a sweep is not worth its pass.
const SWEEP_AT_LEAST: usize = 512;

/// What happens when a deadline passes.
pub(crate) enum Action {
    Call(Callback),
    Wake(TaskKey),
}

impl Action {
    /// Tells `target`: nearly always one of the loop's own tasks.
    pub(crate) fn wake(target: WakeTarget) -> Action {
        match target {
            WakeTarget::Task(key) => Action::Wake(key),
            foreign => Action::Call(Box::new(move |inner| inner.wake(foreign))),
        }
    }
}

/// A moment, in nanoseconds since a loop's epoch; what was before counts as the epoch. No moment takes no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Nanos(NonZeroU64);

impl Nanos {
    pub(crate) fn between(epoch: Instant, at: Instant) -> Nanos {
        Nanos(NonZeroU64::MIN).plus(at.saturating_duration_since(epoch))
    }

    /// So long after the epoch.
    #[inline]
    pub(crate) fn new(since_epoch: u64) -> Nanos {
        Nanos(NonZeroU64::MIN.saturating_add(since_epoch))
    }

    pub(crate) fn plus(self, duration: Duration) -> Nanos {
        // Not `as_nanos`, which reckons in 128 bits.
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        Nanos(self.0.saturating_add(nanos.saturating_add(u64::from(duration.subsec_nanos()))))
    }

    /// How long after `earlier`, in nanoseconds; 0 if it is not.
    pub(crate) fn since(self, earlier: Nanos) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    pub(crate) fn after(self, epoch: Instant) -> Instant {
        epoch + Duration::from_nanos(self.get())
    }

    fn get(self) -> u64 {
        self.0.get() - 1
    }

    /// In units of 2²⁸ ns.
    #[inline]
    pub(crate) fn coarse(self) -> u16 {
        (self.0.get() >> 28) as u16
    }
}

/// Names one timer of one loop; stale once the timer has fired or was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    slot: u32,
    seq: u32,
}

impl TimerKey {
    /// Names no timer: no table has so many places.
    pub(crate) const NONE: TimerKey = TimerKey { slot: u32::MAX, seq: u32::MAX };
}

/// An [`Action`] as a timer's slot has it.
#[derive(Clone, Copy)]
enum Stored {
    /// The place of a callback: four times the size of a place, and seldom what a timer is for.
    Call(u32),
    Wake(TaskKey),
}

/// A timer: 32 bytes, and 16 more in the heap while it is near.
pub(crate) struct Slot {
    /// Nanoseconds since the loop's epoch: half the size of an `Instant`. A deadline from before it counts as the epoch.
    pub(crate) deadline: u64,
    action: Stored,
    seq: u32,
    pub(crate) link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    deadline: u64,
    key: TimerKey,
}

impl Ord for Entry {
    /// Reversed, because `BinaryHeap` yields its greatest. The sequence wraps: what counts is which of two
    /// is older, and that is right as long as two timers with *equal* deadlines were made within 2³¹ of each other.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .deadline
            .cmp(&self.deadline)
            .then_with(|| 0_i32.cmp(&(self.key.seq.wrapping_sub(other.key.seq) as i32)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All timers of one loop.
pub(crate) struct Timers {
    epoch: Instant,
    wheel: Wheel,
    near: BinaryHeap<Entry>,
    /// Entries of `near` whose timers were removed.
    tombstones: usize,
    slots: Table<Slot>,
    callbacks: Table<Callback>,
    next_seq: u32,
    /// No timer is due before this, so until then nothing but this is looked at. [`FOREVER`] where none waits; [`UNKNOWN`] once
    /// the one that it was the deadline of is gone, and when the last is.
    quiet_until: u64,
}

/// No deadline is before it.
const UNKNOWN: u64 = 0;

/// No deadline is so late: a [`Nanos`] counts from one.
const FOREVER: u64 = u64::MAX;

impl Timers {
    pub(crate) fn new(epoch: Instant) -> Timers {
        Timers {
            epoch,
            wheel: Wheel::new(),
            near: BinaryHeap::new(),
            tombstones: 0,
            slots: Table::new(),
            callbacks: Table::new(),
            next_seq: 0,
            quiet_until: FOREVER,
        }
    }

    /// How many timers wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn insert(&mut self, deadline: Instant, action: Action) -> TimerKey {
        let action = self.store(action);
        self.insert_at(self.nanos(deadline), action)
    }

    fn insert_at(&mut self, deadline: u64, action: Stored) -> TimerKey {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        let slot = self.slots.insert(Slot { deadline, action, seq, link: Link::NEAR });
        let key = TimerKey { slot, seq };
        self.quiet_until = self.quiet_until.min(deadline);
        if self.wheel.has_reached(deadline) {
            self.near.push(Entry { deadline, key });
        } else {
            self.wheel.insert(&mut self.slots, key.slot, deadline);
        }
        key
    }

    /// Takes the timer out; `None` if it has fired or was removed before.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Action> {
        let Slot { link, deadline, .. } = *self.get(key)?;
        if deadline == self.quiet_until || self.slots.len() == 1 {
            self.quiet_until = UNKNOWN;
        }
        let action = self.free(key.slot);
        match link {
            Link::NEAR => self.bury(),
            Link::DUE => {} // its entry has left the heap
            _ => self.wheel.remove(&mut self.slots, link),
        }
        Some(action)
    }

    pub(crate) fn contains(&self, key: TimerKey) -> bool {
        is_alive(&self.slots, key)
    }

    /// Has the timer that `armed` names wake `task`, if it is there, not too late, and woke a task before: what [`arm`](Timers::arm)
    /// nearly always comes to, in a few instructions.
    #[inline]
    pub(crate) fn rearm(&mut self, armed: TimerKey, deadline: Nanos, task: TaskKey) -> bool {
        match self.get(armed) {
            Some(Slot { deadline: armed, action: Stored::Wake(before), .. }) if *armed <= deadline.get() => {
                *before = task;
                true
            }
            _ => false,
        }
    }

    /// Sees to it that a timer calls `action` at `deadline` or before: the one that `armed` names if it is not too late,
    /// else a new one in its place. Gives its key, and what is to be dropped by the caller.
    pub(crate) fn arm(
        &mut self,
        armed: TimerKey,
        deadline: Nanos,
        action: Action,
    ) -> (TimerKey, Option<Action>) {
        let action = self.store(action);
        match self.get(armed) {
            Some(slot) if slot.deadline <= deadline.get() => {
                let replaced = std::mem::replace(&mut slot.action, action);
                (armed, Some(self.restore(replaced)))
            }
            _ => {
                let too_late = self.remove(armed);
                (self.insert_at(deadline.get(), action), too_late)
            }
        }
    }

    /// The earliest deadline of a timer, or a time before it: if the earliest was removed from among a crowd of the same
    /// bucket, the loop wakes up once for nothing. `None` if there is no timer.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<Nanos> {
        if self.quiet_until == UNKNOWN {
            self.quiet_until = self.find_next();
        }
        (self.quiet_until != FOREVER).then(|| Nanos::new(self.quiet_until))
    }

    /// The earliest deadline of those that have not been collected, as far as is known.
    fn find_next(&mut self) -> u64 {
        while let Some(entry) = self.near.peek() {
            if self.contains(entry.key) {
                break;
            }
            self.near.pop();
            self.tombstones -= 1;
        }
        let nearest = self.near.peek().map(|entry| entry.deadline);
        nearest.or_else(|| self.wheel.earliest()).unwrap_or(FOREVER)
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        let mut near = std::mem::take(&mut self.near).into_vec();
        move_to_fit(&mut near);
        self.near = near.into();
        self.slots.shrink_to_fit();
        self.callbacks.shrink_to_fit();
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.near.capacity()
    }

    /// Moves the keys of timers due at `now` into `due`, in order, `most` of them, without running any (IL22); `is_late_by` hears
    /// how late each is. Others stay where they are, and are the next to be due. Nearly always it is too early for any.
    #[inline]
    pub(crate) fn collect_due(
        &mut self,
        now: Nanos,
        most: usize,
        due: &mut Vec<TimerKey>,
        is_late_by: impl FnMut(Duration),
    ) {
        if now.get() >= self.quiet_until {
            self.collect_now(now.get(), most, due, is_late_by);
            self.quiet_until = self.find_next();
        }
    }

    #[inline(never)]
    fn collect_now(
        &mut self,
        now: u64,
        most: usize,
        due: &mut Vec<TimerKey>,
        mut is_late_by: impl FnMut(Duration),
    ) {
        let near = &mut self.near;
        self.wheel.advance(now, &mut self.slots, |slot, number| {
            let key = TimerKey { slot: number, seq: slot.seq };
            near.push(Entry { deadline: slot.deadline, key });
        });
        while due.len() < most
            && let Some(entry) = self.near.peek().filter(|entry| entry.deadline <= now).copied()
        {
            self.near.pop();
            match self.get(entry.key) {
                Some(slot) => {
                    slot.link = Link::DUE;
                    due.push(entry.key);
                    is_late_by(Duration::from_nanos(now - entry.deadline));
                }
                None => self.tombstones -= 1,
            }
        }
        if self.near.is_empty() {
            self.near.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Takes the action of a timer that `collect_due` named; `None` if a peer in the batch removed it (IL20).
    pub(crate) fn take(&mut self, key: TimerKey) -> Option<Action> {
        self.get(key)?;
        Some(self.free(key.slot))
    }

    /// Takes everything out, for a loop that closes. Gives the callbacks, which others have made.
    pub(crate) fn drain(&mut self) -> Vec<Callback> {
        let now_empty = Timers { next_seq: self.next_seq, ..Timers::new(self.epoch) };
        std::mem::replace(self, now_empty).callbacks.drain().collect()
    }

    fn free(&mut self, slot: u32) -> Action {
        let stored = self.slots.remove(slot).expect("a timer that is there").action;
        self.restore(stored)
    }

    fn store(&mut self, action: Action) -> Stored {
        match action {
            Action::Call(callback) => Stored::Call(self.callbacks.insert(callback)),
            Action::Wake(task) => Stored::Wake(task),
        }
    }

    fn restore(&mut self, stored: Stored) -> Action {
        match stored {
            Stored::Call(place) => {
                Action::Call(self.callbacks.remove(place).expect("a callback that is there"))
            }
            Stored::Wake(task) => Action::Wake(task),
        }
    }

    /// Notes that an entry of the heap has lost its timer, and sweeps such entries out when they are its greater part.
    fn bury(&mut self) {
        self.tombstones += 1;
        if self.tombstones > SWEEP_AT_LEAST && self.tombstones > self.near.len() / 2 {
            let slots = &self.slots;
            self.near.retain(|entry| is_alive(slots, entry.key));
            self.tombstones = 0;
        }
    }

    /// The deadline of a timer that waits or is due.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "used by ioloop::testing alone")
    )]
    pub(crate) fn deadline_of(&mut self, key: TimerKey) -> Option<u64> {
        self.get(key).map(|slot| slot.deadline)
    }

    fn get(&mut self, key: TimerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot).filter(|slot| slot.seq == key.seq)
    }

    fn nanos(&self, at: Instant) -> u64 {
        Nanos::between(self.epoch, at).get()
    }
}

fn is_alive(slots: &Table<Slot>, key: TimerKey) -> bool {
    slots.get(key.slot).is_some_and(|slot| slot.seq == key.seq)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn nothing() -> Action {
        Action::Call(Box::new(|_| {}))
    }

    fn next(timers: &mut Timers) -> Option<Instant> {
        timers.next_deadline().map(|next| next.after(timers.epoch))
    }

    fn due(timers: &mut Timers, now: Instant) -> Vec<TimerKey> {
        let mut due = Vec::new();
        timers.collect_due(Nanos::between(timers.epoch, now), usize::MAX, &mut due, |_| {});
        due
    }

    #[test]
    fn il21_equal_deadlines_come_out_first_in_first_out_across_the_wrap_of_the_sequence() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        timers.next_seq = u32::MAX - 2;
        let at = epoch + Duration::from_secs(1);
        let keys: Vec<_> = (0..6).map(|_| timers.insert(at, nothing())).collect();
        assert_eq!(due(&mut timers, at), keys);
    }

    #[test]
    fn earlier_deadlines_come_first_whatever_the_order_of_insertion() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        let mut keys: Vec<_> = [5, 1, 4, 2, 3]
            .map(|seconds| (seconds, timers.insert(epoch + Duration::from_secs(seconds), nothing())))
            .to_vec();
        keys.sort_by_key(|(seconds, _)| *seconds);
        let expected: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
        assert_eq!(due(&mut timers, epoch + Duration::from_secs(9)), expected);
    }

    #[test]
    fn il20_removed_timers_do_not_accumulate() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        let live = timers.insert(epoch + Duration::from_secs(1), nothing());
        for _ in 0..10_000 {
            let key = timers.insert(epoch + Duration::from_secs(2), nothing());
            assert!(timers.remove(key).is_some());
            assert_eq!((timers.len(), timers.near.len()), (1, 0), "nothing is left behind");
        }
        assert!(timers.contains(live));
    }

    #[test]
    fn il20_near_timers_that_are_removed_do_not_accumulate_either() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        let live = timers.insert(epoch, nothing());
        for _ in 0..10_000 {
            let key = timers.insert(epoch, nothing());
            assert!(timers.remove(key).is_some());
            assert!(timers.near.len() <= 2 * SWEEP_AT_LEAST, "tombstones were swept");
        }
        assert_eq!(due(&mut timers, epoch), [live], "the sweep keeps what is alive");
        assert!(timers.remove(live).is_some());
        assert_eq!(timers.tombstones, 0, "one that is due has no entry in the heap any more");
    }

    #[test]
    fn il17_il20_il21_whatever_is_set_and_removed_the_rest_comes_out_in_order_and_in_time() {
        let epoch = Instant::now();
        let mut random = 7_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for _ in 0..200 {
            let mut timers = Timers::new(epoch);
            let mut model: BTreeMap<(Instant, u32), TimerKey> = BTreeMap::new();
            let mut now = epoch;
            for _ in 0..300 {
                // From nanoseconds to years, so that all levels of the wheel are used.
                let shift = below(56);
                let later = now + Duration::from_nanos(below(16) << shift);
                match below(8) {
                    0..4 => {
                        let key = timers.insert(later, nothing());
                        model.insert((later, key.seq), key);
                    }
                    4..6 if !model.is_empty() => {
                        let any = *model.keys().nth(below(model.len() as u64) as usize).unwrap();
                        assert!(timers.remove(model.remove(&any).unwrap()).is_some());
                    }
                    6 => now = later,
                    _ => now = next(&mut timers).map_or(now, |next| next.max(now)),
                }
                let rest = model.split_off(&(now + Duration::from_nanos(1), 0));
                let expected: Vec<_> = std::mem::replace(&mut model, rest).into_values().collect();
                assert_eq!(due(&mut timers, now), expected);
                assert!(expected.into_iter().all(|key| timers.take(key).is_some()));
                let first = model.first_key_value().map(|((deadline, _), _)| *deadline);
                let next = next(&mut timers);
                assert!(
                    next.is_some() == first.is_some() && next <= first,
                    "{next:?} is too late for {first:?}"
                );
                assert_eq!(timers.len(), model.len());
            }
        }
    }

    #[test]
    fn the_next_deadline_is_exact_where_none_was_removed_and_soon_again_after() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        let [first, second] = [1_000_000, 1_000_001].map(|seconds| epoch + Duration::from_secs(seconds));
        let key = timers.insert(first, nothing());
        timers.insert(second, nothing());
        assert_eq!(next(&mut timers), Some(first));
        timers.remove(key);
        assert!(due(&mut timers, first).is_empty());
        assert_eq!(next(&mut timers), Some(second), "one look for nothing, no more");
    }

    #[test]
    fn a_waiting_timer_takes_32_bytes_and_a_crowd_that_is_gone_none() {
        assert_eq!(size_of::<Option<Slot>>(), 32);
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        for _ in 0..2 {
            let keys: Vec<_> =
                (0..10_000).map(|n| timers.insert(epoch + Duration::from_micros(n), nothing())).collect();
            assert_eq!(due(&mut timers, epoch + Duration::from_secs(1)).len(), keys.len());
            assert!(keys.into_iter().all(|key| timers.take(key).is_some()));
            assert!(timers.slots.capacity() <= KEPT_CAPACITY && timers.near.capacity() <= KEPT_CAPACITY);
        }
    }

    #[test]
    fn a_stale_key_does_not_reach_the_timer_that_took_its_slot() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        let stale = timers.insert(epoch, nothing());
        timers.remove(stale);
        let fresh = timers.insert(epoch, nothing());
        assert_eq!(stale.slot, fresh.slot);
        assert!(timers.remove(stale).is_none());
        assert!(timers.contains(fresh));
    }

    #[test]
    fn a_deadline_beyond_what_fits_is_never_due() {
        let epoch = Instant::now();
        let mut timers = Timers::new(epoch);
        timers.insert(epoch + Duration::from_secs(60 * 60 * 24 * 365 * 1_000), nothing());
        assert!(due(&mut timers, epoch + Duration::from_secs(60 * 60 * 24 * 365 * 500)).is_empty());
    }
}
