//! What has been read and not been taken: one piece of memory, borrowed while it holds bytes.
//!
//! ```text
//!   ┌──────────┬───────────────────┬──────────────────┐
//!   │ taken    │ buffered          │ room to read into│      empty: no block at all
//!   └──────────┴───────────────────┴──────────────────┘
//!            start                end
//! ```

use std::cell::Cell;
use std::io;

use bytes::Bytes;

use crate::budget::MemoryBudget;
use crate::pool::{BLOCK_BYTES, Block, Piece};

/// Below this a result is copied out; from here on, if it is most of its block, the block itself is given away.
pub(crate) const GIVE_AWAY_BYTES: usize = BLOCK_BYTES / 2;

/// A remainder up to this size is moved to memory of its own while the stream waits for more, so that a peer
/// that sends a little and stops does not keep a block.
const PARK_BYTES: usize = BLOCK_BYTES / 4;

/// While memory is scarce a buffer grows by so much at least.
pub(crate) const GROWTH_BYTES: usize = 4 * 1024;

/// The bytes between transport and reader. A pointer is all that an idle stream pays.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    /// None while nothing is buffered.
    block: Block,
}

/// Where a stream has its buffer: a cell and no `RefCell`, which would double what an idle stream pays. While somebody works on
/// the buffer it seems empty to everybody else.
#[derive(Default)]
pub(crate) struct ReadSide(Cell<ReadBuffer>);

impl ReadSide {
    /// Lets `work` use the buffer. It must not read meanwhile; what may is given it by [`take`](ReadSide::take).
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut ReadBuffer) -> R) -> R {
        let mut buffer = self.0.take();
        let result = work(&mut buffer);
        self.0.set(buffer);
        result
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.with(|buffer| buffer.len())
    }

    /// Takes the buffer out, to be [put back](ReadSide::put_back).
    #[inline]
    pub(crate) fn take(&self) -> ReadBuffer {
        self.0.take()
    }

    /// Puts a buffer that was out of its place in front of what was read meanwhile.
    #[inline]
    pub(crate) fn put_back(&self, buffer: ReadBuffer) {
        if buffer.is_empty() {
            return;
        }
        let meanwhile = self.0.replace(buffer);
        if !meanwhile.is_empty() {
            self.put_behind(&meanwhile);
        }
    }

    #[cold]
    fn put_behind(&self, meanwhile: &ReadBuffer) {
        self.with(|buffer| buffer.append(meanwhile.filled()));
    }
}

impl ReadBuffer {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.block.piece().map_or(0, Piece::len)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.block.piece().map_or(&[], Piece::filled)
    }

    /// Shows what is buffered, if anything is, to `take`, which may make something of its beginning: that is taken off.
    #[inline]
    pub(crate) fn take_with<R>(&mut self, take: impl FnOnce(&[u8]) -> Option<(R, usize)>) -> Option<R> {
        let piece = self.block.piece_mut()?;
        let (taken, n) = take(piece.filled())?;
        piece.start += n as u32;
        if piece.start == piece.end {
            self.release();
        }
        Some(taken)
    }

    /// Takes `n` bytes off the front. The block goes back to the pool with the last of them.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        let Some(piece) = self.block.piece_mut() else { return };
        piece.start += n as u32;
        if piece.start == piece.end {
            self.release();
        }
    }

    fn release(&mut self) {
        *self = ReadBuffer::default();
    }

    /// Takes the first `n` bytes out. A small result is copied; one that is most of a block takes the block
    /// along if nothing else is in it.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        if n == self.len() && n >= GIVE_AWAY_BYTES && n >= self.size() / 2 {
            return Bytes::from_owner(std::mem::take(&mut self.block).give_away());
        }
        let taken = Bytes::copy_from_slice(&self.filled()[..n]);
        self.consume(n);
        taken
    }

    /// Copies as much as fits into `target` and takes it.
    pub(crate) fn copy_to(&mut self, target: &mut [u8]) -> usize {
        let n = target.len().min(self.len());
        target[..n].copy_from_slice(&self.filled()[..n]);
        self.consume(n);
        n
    }

    /// Reads once through `read`, at most `chunk` bytes, into room that is made if there is none.
    /// Gives what `read` gave, and how much room it had.
    pub(crate) fn fill(
        &mut self,
        chunk: usize,
        limit: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> (io::Result<usize>, usize) {
        self.make_room(chunk, limit);
        let Some(piece) = self.block.piece_mut() else { return (Ok(0), 0) }; // nobody asks for nothing
        let free = piece.room();
        let room = chunk.min(free.len());
        let result = read(&mut free[..room]);
        if let Ok(n) = result {
            // A transport of the user's own that claims more than it was given must not show stale bytes.
            piece.end += n.min(room) as u32;
        }
        if piece.start == piece.end {
            self.release(); // nothing has come, or the end of the stream
        }
        (result, room)
    }

    /// Puts `later` behind what is there.
    pub(crate) fn append(&mut self, later: &[u8]) {
        let (len, end) = (self.len(), self.len() + later.len());
        self.move_to(Block::of(end));
        if let Some(piece) = self.block.piece_mut() {
            piece.memory_mut()[len..end].copy_from_slice(later);
            piece.fills(end);
        }
    }

    /// Gives back the block if what is left in it is small, alone or beside the block: called before the stream waits.
    /// A block that a read of `chunk` bytes would make again is kept, so that a trickle does not copy at every drop.
    pub(crate) fn park(&mut self, chunk: usize) {
        if self.is_empty() {
            return; // without a block
        }
        let (len, size) = (self.len(), self.size());
        if (len <= PARK_BYTES && size >= BLOCK_BYTES) || size / 2 > len.saturating_add(chunk) {
            self.move_to(Block::of(len));
        }
    }

    /// The memory that it holds.
    pub(crate) fn size(&self) -> usize {
        self.block.piece().map_or(0, Piece::size)
    }

    /// Bytes that can be read without more memory, where that is worth it: room behind what is buffered, and what moving that
    /// down would make.
    pub(crate) fn room(&self) -> usize {
        let Some(piece) = self.block.piece() else { return 0 };
        let (len, size) = (piece.len(), piece.size());
        if len <= size / 2 { size - len } else { piece.room_behind() }
    }

    /// Makes room for half a chunk at least, so that reads stay large; never for more than `limit` bytes in all. There
    /// is room for a byte as long as the limit is not reached.
    fn make_room(&mut self, chunk: usize, limit: usize) {
        let Some(piece) = self.block.piece_mut() else {
            self.block = Block::of(chunk.min(limit));
            return;
        };
        let (len, size) = (piece.len(), piece.size());
        let enough = chunk.min(limit - len).div_ceil(2);
        if piece.room_behind() >= enough {
            return;
        }
        if size - len >= enough && (len <= size / 2 || size >= limit) {
            // Moving down costs no more than what was taken off the front since the last time.
            piece.move_down();
        } else if size < BLOCK_BYTES && len <= BLOCK_BYTES / 2 && chunk == BLOCK_BYTES && limit >= BLOCK_BYTES
        {
            self.move_to(Block::lease()); // a parked remainder comes back into a block
        } else {
            // Doubling keeps the sum of copies linear. Where it would pass the budget's hard mark, what is left has to do.
            let most = size.saturating_add(MemoryBudget::left().max(GROWTH_BYTES));
            self.move_to(Block::of((2 * size).max(len.saturating_add(chunk)).min(limit).min(most)));
        }
    }

    fn move_to(&mut self, mut block: Block) {
        if let Some(piece) = block.piece_mut() {
            let filled = self.filled();
            piece.memory_mut()[..filled.len()].copy_from_slice(filled);
            piece.fills(filled.len());
        }
        self.block = block;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leased_blocks;

    const LIMIT: usize = 1 << 20;

    fn feed(buffer: &mut ReadBuffer, data: &[u8], chunk: usize) -> usize {
        let (result, _) = buffer.fill(chunk, LIMIT, |room| {
            let n = room.len().min(data.len());
            room[..n].copy_from_slice(&data[..n]);
            Ok(n)
        });
        result.unwrap()
    }

    #[test]
    fn bytes_come_out_as_they_went_in_against_a_naive_model() {
        let mut model = std::collections::VecDeque::new();
        let mut buffer = ReadBuffer::default();
        let mut state = 7_u32;
        let mut next = 0_u8;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = (state >> 16) as usize % 9_000;
            if (state >> 8) & 1 == 0 && model.len() < LIMIT / 2 {
                let data: Vec<u8> = (0..size.max(1))
                    .map(|_| {
                        next = next.wrapping_add(1);
                        next
                    })
                    .collect();
                let n = feed(&mut buffer, &data, BLOCK_BYTES);
                next = next.wrapping_sub((data.len() - n) as u8);
                model.extend(&data[..n]);
            } else {
                let n = size.min(model.len());
                let expected: Vec<u8> = model.drain(..n).collect();
                assert_eq!(buffer.take(n), expected);
            }
            if (state >> 24).is_multiple_of(5) {
                buffer.park(BLOCK_BYTES);
            }
            assert_eq!(buffer.len(), model.len());
        }
    }

    #[test]
    fn an_empty_buffer_holds_no_block() {
        let before = leased_blocks();
        let mut buffer = ReadBuffer::default();
        feed(&mut buffer, b"hello", BLOCK_BYTES);
        assert_eq!(leased_blocks(), before + 1);
        buffer.consume(5);
        assert_eq!(leased_blocks(), before);
    }

    #[test]
    fn a_small_remainder_is_parked_outside_the_pool() {
        let before = leased_blocks();
        let mut buffer = ReadBuffer::default();
        feed(&mut buffer, b"a line\npart of", BLOCK_BYTES);
        buffer.consume(7);
        buffer.park(BLOCK_BYTES);
        assert_eq!(leased_blocks(), before);
        assert_eq!(buffer.size(), 7);
        feed(&mut buffer, b" the next", BLOCK_BYTES);
        assert_eq!(buffer.take(16), "part of the next");
    }

    #[test]
    fn a_large_result_takes_its_block_along_and_is_no_lease_of_the_stream() {
        let before = leased_blocks();
        let mut buffer = ReadBuffer::default();
        feed(&mut buffer, &vec![7; BLOCK_BYTES], BLOCK_BYTES);
        let at = buffer.filled().as_ptr();
        let taken = buffer.take(BLOCK_BYTES);
        assert_eq!(taken.as_ptr(), at, "not copied");
        assert!(buffer.is_empty());
        assert_eq!(leased_blocks(), before);
        drop(taken);
        assert_eq!(Block::lease().as_ptr(), at, "the block serves again");
    }

    #[test]
    fn a_result_that_is_dropped_in_another_thread_leaves_both_counts_right() {
        let before = leased_blocks();
        let mut buffer = ReadBuffer::default();
        feed(&mut buffer, &vec![7; BLOCK_BYTES], BLOCK_BYTES);
        let taken = buffer.take(BLOCK_BYTES);
        std::thread::spawn(move || {
            let held = Block::lease();
            drop(taken);
            assert_eq!(leased_blocks(), 1);
            drop(held);
            assert_eq!(leased_blocks(), 0);
        })
        .join()
        .unwrap();
        assert_eq!(leased_blocks(), before);
    }

    #[test]
    fn a_small_remainder_does_not_keep_a_large_block() {
        let mut buffer = ReadBuffer::default();
        while buffer.len() < LIMIT {
            feed(&mut buffer, &[1; BLOCK_BYTES], BLOCK_BYTES);
        }
        for left in [LIMIT / 2, 100_000, 20_000, 100] {
            buffer.consume(buffer.len() - left);
            buffer.park(BLOCK_BYTES);
            assert!(buffer.size() <= 2 * (left + BLOCK_BYTES), "{left} bytes in {}", buffer.size());
        }
        assert_eq!(buffer.size(), 100);
    }

    #[test]
    fn parking_a_large_remainder_between_two_trickles_does_not_copy_it_every_time() {
        let mut buffer = ReadBuffer::default();
        while buffer.len() < LIMIT / 2 {
            feed(&mut buffer, &[1; BLOCK_BYTES], BLOCK_BYTES);
        }
        buffer.consume(buffer.len() - 100_000);
        let mut moves = 0;
        for _ in 0..1_000 {
            let before = buffer.filled().as_ptr();
            buffer.park(BLOCK_BYTES);
            feed(&mut buffer, b"x", BLOCK_BYTES);
            moves += usize::from(buffer.filled().as_ptr() != before);
        }
        assert!(moves <= 2, "{moves} moves");
    }

    #[test]
    fn what_was_read_meanwhile_comes_behind() {
        let mut buffer = ReadBuffer::default();
        feed(&mut buffer, b"-before", BLOCK_BYTES);
        buffer.consume(1);
        buffer.append(b" after");
        assert_eq!(buffer.take(12), "before after");
        buffer.append(b"alone");
        assert_eq!(buffer.take(5), "alone");
    }

    #[test]
    fn a_read_that_fails_leaves_an_empty_buffer_without_a_block() {
        let before = leased_blocks();
        let mut buffer = ReadBuffer::default();
        let (result, _) = buffer.fill(BLOCK_BYTES, LIMIT, |_| Err(io::ErrorKind::WouldBlock.into()));
        assert!(result.is_err());
        assert_eq!(leased_blocks(), before);
    }

    #[test]
    fn growth_copies_each_byte_a_bounded_number_of_times() {
        let mut buffer = ReadBuffer::default();
        let mut sizes = Vec::new();
        while buffer.len() < LIMIT {
            feed(&mut buffer, &[1; 4096], BLOCK_BYTES);
            if sizes.last() != Some(&buffer.size()) {
                sizes.push(buffer.size());
            }
        }
        assert!(sizes.len() <= 8, "grew {} times: {sizes:?}", sizes.len());
        assert!(buffer.size() <= LIMIT);
    }
}
