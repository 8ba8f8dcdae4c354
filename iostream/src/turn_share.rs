//! How much one stream may do in one turn of the loop, so that a firehose does not starve its neighbours.

use std::cell::Cell;

/// What a call costs at least, in bytes, so that a thousand calls for a byte each are bounded too.
const CALL_BYTES: usize = 4096;

/// What one direction of a stream has used in the latest turn in which it did anything.
#[derive(Default)]
pub(crate) struct TurnShare {
    /// Shortened: two turns that are told apart lie close together.
    turn: Cell<u32>,
    used: Cell<u32>,
}

impl TurnShare {
    /// How many of `most` bytes are left in `turn`.
    pub(crate) fn left(&self, turn: u64, most: usize) -> usize {
        if self.turn.get() == turn as u32 { most.saturating_sub(self.used.get() as usize) } else { most }
    }

    /// Notes a call that moved `bytes`.
    pub(crate) fn count(&self, turn: u64, bytes: usize) {
        let before = if self.turn.replace(turn as u32) == turn as u32 { self.used.get() } else { 0 };
        let cost = u32::try_from(bytes.max(CALL_BYTES)).unwrap_or(u32::MAX);
        self.used.set(before.saturating_add(cost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_used_up_by_bytes_or_by_calls_and_is_whole_again_in_the_next_turn() {
        let share = TurnShare::default();
        assert_eq!(share.left(0, 10_000), 10_000);
        share.count(7, 9_000);
        assert_eq!(share.left(7, 10_000), 1_000);
        share.count(7, 1);
        assert_eq!(share.left(7, 10_000), 0);
        assert_eq!(share.left(8, 10_000), 10_000);
        share.count(8, 1);
        assert_eq!(share.left(8, 10_000), 10_000 - CALL_BYTES);
        share.count(8, usize::MAX);
        assert_eq!(share.left(8, usize::MAX - 1), usize::MAX - 1 - u32::MAX as usize);
    }
}
