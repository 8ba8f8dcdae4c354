//! Deadlines in order: a heap of small entries over a table of actions.
//! Step 5 of path 3 through the house (see ARCHITECTURE.md).
//!
//! ```text
//!   heap (earliest first, FIFO among equals)        slots
//!   ┌──────────┬─────┬──────┐                ┌─────┬─────────────┐
//!   │ deadline │ seq │ slot │──────────────▶ │ seq │ action      │   same seq: alive
//!   └──────────┴─────┴──────┘                └─────┴─────────────┘   otherwise: a tombstone
//! ```
//!
//! Cancelling frees the slot and leaves the heap entry behind as a tombstone, so it costs no search. When
//! tombstones are the greater part of the heap they are swept in one pass: amortised, a cancel is O(1), and
//! removed timers do not accumulate (IL20).

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::io_loop::Callback;
use crate::wake::WakeTarget;

/// Below this many tombstones a sweep is not worth its pass.
const SWEEP_AT_LEAST: usize = 512;

/// What happens when a deadline passes.
pub(crate) enum Action {
    Call(Callback),
    Wake(WakeTarget),
}

/// Names one timer of one loop; stale once the timer has fired or was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    slot: u32,
    seq: u32,
}

struct Slot {
    seq: u32,
    action: Action,
}

/// Nanoseconds since the loop's epoch: half the size of an `Instant`. A deadline from before it counts as the epoch.
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
    heap: BinaryHeap<Entry>,
    slots: Slab<Slot>,
    next_seq: u32,
}

impl Timers {
    pub(crate) fn new(epoch: Instant) -> Timers {
        Timers { epoch, heap: BinaryHeap::new(), slots: Slab::new(), next_seq: 0 }
    }

    /// How many timers wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn insert(&mut self, deadline: Instant, action: Action) -> TimerKey {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        let slot = self.slots.insert(Slot { seq, action });
        let key = TimerKey { slot: u32::try_from(slot).expect("fewer than 2^32 timers"), seq };
        let deadline = self.nanos(deadline);
        self.heap.push(Entry { deadline, key });
        key
    }

    /// Takes the timer out; `None` if it has fired or was removed before.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Action> {
        let action = self.take(key)?;
        // Fewer than there are while a batch is due: its entries have left the heap, their slots are still taken.
        let tombstones = self.heap.len().saturating_sub(self.slots.len());
        if tombstones > SWEEP_AT_LEAST && tombstones > self.heap.len() / 2 {
            let slots = &self.slots;
            self.heap.retain(|entry| is_alive(slots, entry.key));
        }
        Some(action)
    }

    pub(crate) fn contains(&self, key: TimerKey) -> bool {
        is_alive(&self.slots, key)
    }

    /// Puts `target` in the place of who waits, and gives that back for the caller to drop; gives `target` back if
    /// the timer is no longer there.
    pub(crate) fn set_wake(&mut self, key: TimerKey, target: WakeTarget) -> Result<Action, WakeTarget> {
        match self.slots.get_mut(key.slot as usize) {
            Some(slot) if slot.seq == key.seq => {
                Ok(std::mem::replace(&mut slot.action, Action::Wake(target)))
            }
            _ => Err(target),
        }
    }

    /// The earliest deadline of a live timer.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(entry) = self.heap.peek() {
            if is_alive(&self.slots, entry.key) {
                return Some(self.epoch + Duration::from_nanos(entry.deadline));
            }
            self.heap.pop();
        }
        None
    }

    /// Moves the keys of all timers due at `now` into `due`, in order, without running any (IL22); `is_late_by` hears how late
    /// each is.
    pub(crate) fn collect_due(
        &mut self,
        now: Instant,
        due: &mut Vec<TimerKey>,
        mut is_late_by: impl FnMut(Duration),
    ) {
        let now = self.nanos(now);
        while let Some(entry) = self.heap.peek().filter(|entry| entry.deadline <= now) {
            if is_alive(&self.slots, entry.key) {
                due.push(entry.key);
                is_late_by(Duration::from_nanos(now - entry.deadline));
            }
            self.heap.pop();
        }
    }

    /// Takes the action of a timer that `collect_due` named; `None` if a peer in the batch removed it (IL20).
    pub(crate) fn take(&mut self, key: TimerKey) -> Option<Action> {
        self.contains(key).then(|| self.slots.remove(key.slot as usize).action)
    }

    /// Takes every action out, for a loop that closes.
    pub(crate) fn drain(&mut self) -> Vec<Action> {
        self.heap.clear();
        self.slots.drain().map(|slot| slot.action).collect()
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn is_alive(slots: &Slab<Slot>, key: TimerKey) -> bool {
    slots.get(key.slot as usize).is_some_and(|slot| slot.seq == key.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Action {
        Action::Call(Box::new(|_| {}))
    }

    fn due(timers: &mut Timers, now: Instant) -> Vec<TimerKey> {
        let mut due = Vec::new();
        timers.collect_due(now, &mut due, |_| {});
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
            assert!(timers.heap.len() <= 2 * SWEEP_AT_LEAST, "tombstones were swept");
        }
        assert_eq!(timers.len(), 1);
        assert!(timers.contains(live), "the sweep keeps what is alive");
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
