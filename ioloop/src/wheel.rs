//! Where timers wait that are not due soon: buckets of list heads, coarse far away and fine near by.
//!
//! ```text
//!   level 2   │64│  │  │ ··                each bucket as wide as all of level 1
//!   level 1   │  │64│  │  │ ··             each bucket as wide as all of level 0
//!   level 0   │  │  │▒▒│  │  │ ··          each bucket one tick wide
//!                     ▲
//!                    now: what is in this tick or before it is not in the wheel
//! ```
//!
//! A timer's level is that of the highest digit (of six bits) in which its tick differs from now's, its bucket that
//! digit. So whatever is in a level comes before whatever is in the next, and the buckets of a level are in order. When
//! time reaches a bucket its timers move to finer ones, at most once a level. Putting in and taking out is O(1).

use crate::table::Table;
use crate::timers::Slot;

/// A tick is 2¹⁶ ns, some 66 µs. It is not the precision of timers: they are put in order exactly when their tick has come.
const TICK_BITS: u32 = 16;
const DIGIT_BITS: u32 = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// Enough digits for all ticks that 64 bits of nanoseconds have.
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(DIGIT_BITS) as usize;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A timer's place in the list of its bucket; it lives in the timer's slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    before: u32,
    after: u32,
    place: Place,
}

/// An enum and not a number, because a table tells by its unused values which of its places are free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Near,
    Due,
    Bucket(u16),
}

impl Link {
    /// Of a timer that has left the wheel, or never was in it.
    pub(crate) const NEAR: Link = Link { before: NONE, after: NONE, place: Place::Near };
    /// Of a timer that is about to run.
    pub(crate) const DUE: Link = Link { before: NONE, after: NONE, place: Place::Due };
}

#[derive(Clone, Copy)]
struct Bucket {
    first: u32,
    /// No timer in it is due before this. Exact until the earliest is removed: that is not worth a search.
    earliest: u64,
}

const EMPTY: Bucket = Bucket { first: NONE, earliest: u64::MAX };

pub(crate) struct Wheel {
    now: u64,
    /// A bit for each bucket of a level that has timers.
    occupied: [u64; LEVELS],
    buckets: Box<[Bucket]>,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel { now: 0, occupied: [0; LEVELS], buckets: vec![EMPTY; LEVELS * BUCKETS].into_boxed_slice() }
    }

    /// Whether a deadline is too near for the wheel: its tick has begun.
    pub(crate) fn has_reached(&self, deadline: u64) -> bool {
        deadline >> TICK_BITS <= self.now
    }

    /// Puts a timer in whose deadline the wheel has not reached.
    pub(crate) fn insert(&mut self, slots: &mut Table<Slot>, slot: u32, deadline: u64) {
        let tick = deadline >> TICK_BITS;
        let level = (tick ^ self.now).ilog2() / DIGIT_BITS;
        let digit = digit(tick, level);
        let number = level as usize * BUCKETS + digit as usize;
        self.occupied[level as usize] |= 1 << digit;
        let bucket = &mut self.buckets[number];
        let after = std::mem::replace(&mut bucket.first, slot);
        bucket.earliest = bucket.earliest.min(deadline);
        slots[slot].link = Link { before: NONE, after, place: Place::Bucket(number as u16) };
        if after != NONE {
            slots[after].link.before = slot;
        }
    }

    /// Takes the timer that had this link out; its slot may be gone.
    pub(crate) fn remove(&mut self, slots: &mut Table<Slot>, link: Link) {
        if link.after != NONE {
            slots[link.after].link.before = link.before;
        }
        if link.before != NONE {
            slots[link.before].link.after = link.after;
            return;
        }
        let Place::Bucket(number) = link.place else { return };
        let number = usize::from(number);
        self.buckets[number].first = link.after;
        if link.after == NONE {
            self.buckets[number] = EMPTY;
            self.occupied[number / BUCKETS] &= !(1 << (number % BUCKETS));
        }
    }

    /// No timer in the wheel is due before this; `None` if there is none.
    pub(crate) fn earliest(&self) -> Option<u64> {
        let level = self.occupied.iter().position(|occupied| *occupied != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        Some(self.buckets[level * BUCKETS + digit].earliest)
    }

    /// Moves on to `now`, and gives the slots of all timers whose tick has begun to `reached`, in no order.
    pub(crate) fn advance(
        &mut self,
        now: u64,
        slots: &mut Table<Slot>,
        mut reached: impl FnMut(&mut Slot, u32),
    ) {
        let tick = now >> TICK_BITS;
        if tick <= self.now {
            return;
        }
        let changed = self.now ^ tick;
        self.now = tick;
        // From the finest level up: what moves down from a bucket goes to buckets after now, never to one that is
        // still to be emptied here.
        for level in 0..=changed.ilog2() / DIGIT_BITS {
            // Where a coarser digit has changed too, all buckets of this level have passed.
            let all_passed = (changed >> (DIGIT_BITS * (level + 1))) != 0;
            let last = if all_passed { BUCKETS as u32 - 1 } else { digit(tick, level) };
            let mut passed = self.occupied[level as usize] & (u64::MAX >> (BUCKETS as u32 - 1 - last));
            self.occupied[level as usize] ^= passed;
            while passed != 0 {
                let number = level as usize * BUCKETS + passed.trailing_zeros() as usize;
                passed &= passed - 1;
                self.empty(number, slots, &mut reached);
            }
        }
    }

    fn empty(&mut self, number: usize, slots: &mut Table<Slot>, reached: &mut impl FnMut(&mut Slot, u32)) {
        let mut next = std::mem::replace(&mut self.buckets[number], EMPTY).first;
        while next != NONE {
            let slot = next;
            let timer = &mut slots[slot];
            next = timer.link.after;
            let deadline = timer.deadline;
            if self.has_reached(deadline) {
                timer.link = Link::NEAR;
                reached(timer, slot);
            } else {
                self.insert(slots, slot, deadline);
            }
        }
    }
}

/// The digit of a tick that says which bucket of a level.
fn digit(tick: u64, level: u32) -> u32 {
    (tick >> (DIGIT_BITS * level)) as u32 & (BUCKETS as u32 - 1)
}
