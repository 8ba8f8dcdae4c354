//! How much one stream may do in one turn of the loop, so that a firehose does not starve its neighbours.

use std::cell::Cell;

/// What a call costs at least, in bytes, so that a thousand calls for a byte each are bounded too.
const CALL_BYTES: usize = 4096;

/// Shares are counted in pieces of so many bytes.
const UNIT_BYTES: usize = 64;

/// What a call costs at most: a share has so many units.
const MOST_BYTES: usize = u16::MAX as usize * UNIT_BYTES;

/// A reader takes nothing more when this much is used: a read's whole share, and as many things as it has units.
const MOST_UNITS_TAKEN: u16 = 8192;

/// What each direction of a stream has used, in units, in the latest turn in which it did anything: up to 4 MiB.
#[derive(Default)]
pub(crate) struct TurnShares {
    /// Shortened: two turns that are told apart lie close together. Who finds his share used up in another gives way once.
    turn: Cell<u16>,
    read: Cell<u16>,
    written: Cell<u16>,
}

impl TurnShares {
    /// How many of `most` bytes may still be read in `turn`.
    pub(crate) fn left_to_read(&self, turn: u64, most: usize) -> usize {
        self.left(&self.read, turn, most)
    }

    /// How many of `most` bytes may still be written in `turn`.
    pub(crate) fn left_to_write(&self, turn: u64, most: usize) -> usize {
        self.left(&self.written, turn, most)
    }

    /// Notes that a reader takes something of what has been read, for one unit: a block may hold a line for each of its bytes. `false` if
    /// it is to [give way](TurnShares::gives_way) first. Does not look which turn it is, which each line would pay for; so what a
    /// reader takes in turns without a read adds up.
    #[inline]
    pub(crate) fn may_take(&self) -> bool {
        let used = self.read.get();
        let may = used < MOST_UNITS_TAKEN;
        if may {
            self.read.set(used + 1);
        }
        may
    }

    /// Notes that a reader gives way to the others.
    pub(crate) fn gives_way(&self) {
        self.read.set(0);
    }

    /// Notes a read of `bytes`.
    pub(crate) fn count_read(&self, turn: u64, bytes: usize) {
        self.count(&self.read, turn, bytes);
    }

    /// Notes a write of `bytes`.
    pub(crate) fn count_written(&self, turn: u64, bytes: usize) {
        self.count(&self.written, turn, bytes);
    }

    #[inline]
    fn left(&self, used: &Cell<u16>, turn: u64, most: usize) -> usize {
        if self.turn.get() != turn as u16 {
            return most;
        }
        most.saturating_sub(usize::from(used.get()) * UNIT_BYTES)
    }

    #[inline]
    fn count(&self, used: &Cell<u16>, turn: u64, bytes: usize) {
        if self.turn.get() != turn as u16 {
            self.turn.set(turn as u16);
            self.read.set(0);
            self.written.set(0);
        }
        let cost = bytes.clamp(CALL_BYTES, MOST_BYTES).div_ceil(UNIT_BYTES) as u16;
        used.set(used.get().saturating_add(cost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_used_up_by_bytes_or_by_calls_and_is_whole_again_in_the_next_turn() {
        let share = TurnShares::default();
        assert_eq!(share.left_to_read(0, 10_000), 10_000);
        share.count_read(7, 9_000);
        assert_eq!(share.left_to_read(7, 10_000), 10_000 - 141 * UNIT_BYTES);
        share.count_read(7, 1);
        assert_eq!(share.left_to_read(7, 10_000), 0);
        assert_eq!(share.left_to_write(7, 10_000), 10_000, "each direction has its own");
        assert_eq!(share.left_to_read(8, 10_000), 10_000);
        share.count_written(8, 1);
        assert_eq!(share.left_to_write(8, 10_000), 10_000 - CALL_BYTES);
        assert_eq!(share.left_to_read(8, 10_000), 10_000);
        assert_eq!((0..10_000).filter(|_| share.may_take()).count(), usize::from(MOST_UNITS_TAKEN));
        share.gives_way();
        assert!(share.may_take());
        share.count_written(8, usize::MAX);
        assert_eq!(
            share.left_to_write(8, usize::MAX - 1),
            usize::MAX - 1 - usize::from(u16::MAX) * UNIT_BYTES
        );
    }
}
