//! The blocks that streams borrow while bytes are in flight: one pool per thread, so one per loop.
//!
//! A block is initialised once, when it is made, and never again: a lease costs a pop, its return a push. What
//! is in a returned block is stale bytes of some connection, which is why nobody is ever shown more of a block
//! than was just read into it.

use std::cell::Cell;

use ioloop::Spares;

use crate::budget::{self, Away};
use crate::write_buffer::WriteBuffer;

/// The size of a pooled block.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

const _: () = assert!(Spares::<Piece>::KEEP * BLOCK_BYTES == 4 << 20, "so much a thread keeps of them");

thread_local! {
    static POOL: Pool = const { Pool::new() };
}

struct Pool {
    free: Spares<Piece>,
    free_writes: Spares<WriteBuffer>,
    leased: Cell<usize>,
}

/// How many pooled blocks this thread's streams hold right now, for reading and for writing.
///
/// An idle stream holds none. What a read has returned does not count: it is the caller's, even where it took a block
/// along.
#[must_use]
pub fn leased_blocks() -> usize {
    POOL.with(|pool| pool.leased.get())
}

/// Whether more blocks are borrowed than a thread keeps for its streams: then a reader that leaves a little unread is not left a
/// whole block for it.
#[inline]
pub(crate) fn lends_many() -> bool {
    leased_blocks() > Spares::<Piece>::KEEP
}

/// Gives the blocks that this thread keeps for the next reads and writes back to the allocator: for after a spike. The next ones
/// make their own.
pub fn release_free_blocks() {
    let _ = POOL.try_with(|pool| {
        pool.free.clear();
        pool.free_writes.clear();
    });
}

/// A line of the caches. Into memory that begins with one a kernel copies large reads faster than to a little behind it.
const LINE_BYTES: usize = 64;

/// Memory from this size on begins with a line; an allocator gives what begins with a quarter of one.
const ALIGNED_BYTES: usize = 4096;

/// What that takes beside the memory itself.
const SLACK_BYTES: usize = LINE_BYTES - 1;

/// The most that one piece may have: places in it are counted in 32 bits.
pub(crate) const MOST_BYTES: usize = u32::MAX as usize - SLACK_BYTES;

/// Memory for reading, and which part of it is filled and not taken.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// With the slack, if there is any.
    bytes: Box<[u8]>,
    /// Of what is filled, in `bytes`.
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Piece {
    fn of(size: usize) -> Box<Piece> {
        let slack = if size >= ALIGNED_BYTES { SLACK_BYTES } else { 0 };
        let mut piece = Box::new(Piece { bytes: vec![0; size + slack].into_boxed_slice(), start: 0, end: 0 });
        piece.fills(0);
        piece
    }

    /// How many bytes it has room for in all.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        let slack = if self.bytes.len() >= ALIGNED_BYTES + SLACK_BYTES { SLACK_BYTES } else { 0 };
        self.bytes.len() - slack
    }

    /// Where in `bytes` the memory begins.
    #[inline]
    fn base(&self) -> usize {
        match self.bytes.len() >= ALIGNED_BYTES + SLACK_BYTES {
            true => self.bytes.as_ptr().align_offset(LINE_BYTES).min(SLACK_BYTES),
            false => 0,
        }
    }

    /// All of the memory.
    fn memory(&self) -> &[u8] {
        &self.bytes[self.base()..][..self.size()]
    }

    pub(crate) fn memory_mut(&mut self) -> &mut [u8] {
        let (base, size) = (self.base(), self.size());
        &mut self.bytes[base..][..size]
    }

    /// Notes that the first `len` bytes are filled, and nothing else.
    pub(crate) fn fills(&mut self, len: usize) {
        let base = self.base();
        (self.start, self.end) = (base as u32, (base + len) as u32);
    }

    /// The memory behind what is filled.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let behind = self.base() + self.size();
        &mut self.bytes[self.end as usize..behind]
    }

    /// How much that is.
    #[inline]
    pub(crate) fn room_behind(&self) -> usize {
        self.base() + self.size() - self.end as usize
    }

    /// Moves what is filled to the beginning.
    pub(crate) fn move_down(&mut self) {
        let len = self.len();
        let base = self.base();
        self.bytes.copy_within(self.start as usize..self.end as usize, base);
        self.fills(len);
    }

    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn is_pooled(&self) -> bool {
        self.size() == BLOCK_BYTES
    }
}

/// A stream's piece, pooled or of another size that the pool does not know; or none, which takes one pointer.
#[derive(Debug, Default)]
pub(crate) struct Block(Option<Box<Piece>>);

impl Block {
    /// A pooled block.
    #[inline]
    pub(crate) fn lease() -> Block {
        // A stream lives and dies on one thread. While that is torn down its pool may be gone.
        let free = POOL.try_with(|pool| {
            pool.leased.set(pool.leased.get() + 1);
            pool.free.take()
        });
        budget::enter(BLOCK_BYTES);
        Block(Some(free.ok().flatten().unwrap_or_else(|| Piece::of(BLOCK_BYTES))))
    }

    /// A block of just this size, unless that is the pool's.
    #[inline]
    pub(crate) fn of(bytes: usize) -> Block {
        match bytes {
            0 => Block(None),
            BLOCK_BYTES => Block::lease(),
            _ => {
                budget::enter(bytes);
                Block(Some(Piece::of(bytes)))
            }
        }
    }

    #[inline]
    pub(crate) fn piece(&self) -> Option<&Piece> {
        self.0.as_deref()
    }

    #[inline]
    pub(crate) fn piece_mut(&mut self) -> Option<&mut Piece> {
        self.0.as_deref_mut()
    }

    /// Ends the lease: the memory is the caller's from here on.
    pub(crate) fn give_away(mut self) -> GivenAway {
        let piece = self.0.take();
        let bytes = piece.as_ref().map_or(0, |piece| piece.size());
        budget::leave(bytes);
        if bytes == BLOCK_BYTES {
            let _ = POOL.try_with(Pool::count_return);
        }
        GivenAway { piece, _away: Away::of(bytes) }
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.piece().map_or(&[], Piece::memory)
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.piece_mut().map_or(&mut [], Piece::memory_mut)
    }
}

impl Drop for Block {
    /// Only this look is made where a block might be dropped: mostly there is none.
    #[inline]
    fn drop(&mut self) {
        if let Some(piece) = self.0.take() {
            give_back(piece);
        }
    }
}

#[inline(never)]
fn give_back(piece: Box<Piece>) {
    budget::leave(piece.size());
    if piece.is_pooled() {
        let _ = POOL.try_with(|pool| {
            pool.count_return();
            pool.keep(piece);
        });
    }
}

/// A block that has left with a result, perhaps to another thread. It is no lease; its memory serves again in the pool of
/// the thread that drops it.
#[derive(Debug)]
pub(crate) struct GivenAway {
    piece: Option<Box<Piece>>,
    _away: Away,
}

impl AsRef<[u8]> for GivenAway {
    fn as_ref(&self) -> &[u8] {
        self.piece.as_ref().map_or(&[], |piece| piece.filled())
    }
}

impl Drop for GivenAway {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take_if(|piece| piece.is_pooled()) {
            let _ = POOL.try_with(|pool| pool.keep(piece));
        }
    }
}

/// An empty write buffer, from the pool if it has one.
#[inline]
pub(crate) fn lease_write_buffer() -> Box<WriteBuffer> {
    let free = POOL.try_with(|pool| {
        pool.leased.set(pool.leased.get() + 1);
        pool.free_writes.take()
    });
    free.ok().flatten().unwrap_or_default()
}

/// Gives a write buffer back, emptied.
#[inline]
pub(crate) fn return_write_buffer(mut buffer: Box<WriteBuffer>) {
    buffer.clear();
    let _ = POOL.try_with(|pool| {
        pool.count_return();
        pool.free_writes.put(buffer);
    });
}

impl Pool {
    const fn new() -> Pool {
        Pool { free: Spares::new(), free_writes: Spares::new(), leased: Cell::new(0) }
    }

    fn count_return(&self) {
        self.leased.set(self.leased.get() - 1);
    }

    fn keep(&self, mut piece: Box<Piece>) {
        piece.fills(0);
        self.free.put(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_small_memory_begins_with_a_line_and_has_the_size_that_was_asked_for() {
        let most = ALIGNED_BYTES + 2 * LINE_BYTES;
        for size in (1..most).chain([BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + SLACK_BYTES, 1 << 20]) {
            let mut block = Block::of(size);
            assert_eq!((block.len(), block.piece().unwrap().size()), (size, size));
            assert!(size < ALIGNED_BYTES || (block.as_ptr() as usize).is_multiple_of(LINE_BYTES), "{size}");
            let piece = block.piece_mut().unwrap();
            assert_eq!((piece.len(), piece.room().len(), piece.room_behind()), (0, size, size));
            piece.room().fill(7);
            piece.end += size as u32;
            piece.start += size as u32 / 3;
            piece.move_down();
            let len = size - size / 3;
            assert_eq!((piece.filled(), piece.room_behind()), (&vec![7; len][..], size - len));
            assert_eq!(piece.memory().as_ptr(), piece.filled().as_ptr());
            assert_eq!(piece.is_pooled(), size == BLOCK_BYTES);
        }
    }

    /// A loop that is its thread's current one closes its streams when the thread ends, and TLS says goodbye then.
    #[test]
    fn what_a_thread_does_last_can_still_have_blocks() {
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                assert!(POOL.try_with(|_| ()).is_err(), "the pool was made later, so it goes first");
                drop((Block::lease(), Block::lease().give_away()));
                return_write_buffer(lease_write_buffer());
            }
        }
        thread_local! {
            static LAST: Last = const { Last };
        }
        // A panic in a destructor of a thread's own ends the process.
        std::thread::spawn(|| {
            LAST.with(|_| ());
            drop(Block::lease());
        })
        .join()
        .expect("nothing panics");
    }
}
