//! The blocks that streams borrow while bytes are in flight: one pool per thread, so one per loop.
//!
//! A block is initialised once, when it is made, and never again: a lease costs a pop, its return a push. What
//! is in a returned block is stale bytes of some connection, which is why nobody is ever shown more of a block
//! than was just read into it.

use std::cell::{Cell, RefCell};

use crate::write_buffer::WriteBuffer;

/// The size of a pooled block.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Free blocks that are kept; more are given back to the allocator. 64 blocks are 4 MiB a thread.
const KEEP_BLOCKS: usize = 64;

thread_local! {
    static POOL: Pool = const { Pool::new() };
}

struct Pool {
    free: RefCell<Vec<Box<[u8]>>>,
    #[expect(clippy::vec_box, reason = "streams hold the boxes, which travel in and out as they are")]
    free_writes: RefCell<Vec<Box<WriteBuffer>>>,
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

/// A piece of memory for reading: a pooled block, or one of another size that the pool does not know.
#[derive(Debug, Default)]
pub(crate) struct Block(Box<[u8]>);

impl Block {
    /// A pooled block.
    pub(crate) fn lease() -> Block {
        // A stream lives and dies on one thread. While that is torn down its pool may be gone.
        let free = POOL.try_with(|pool| {
            pool.leased.set(pool.leased.get() + 1);
            pool.free.borrow_mut().pop()
        });
        Block(free.ok().flatten().unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice()))
    }

    /// A block of just this size, unless that is the pool's.
    pub(crate) fn of(bytes: usize) -> Block {
        if bytes == BLOCK_BYTES { Block::lease() } else { Block(vec![0; bytes].into_boxed_slice()) }
    }

    /// Ends the lease: the memory is the caller's from here on.
    pub(crate) fn give_away(mut self) -> GivenAway {
        let block = std::mem::take(&mut self.0);
        if block.len() == BLOCK_BYTES {
            let _ = POOL.try_with(Pool::count_return);
        }
        GivenAway(block)
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.0.len() == BLOCK_BYTES {
            let _ = POOL.try_with(Pool::count_return);
            keep_block(std::mem::take(&mut self.0));
        }
    }
}

/// A block that has left with a result, perhaps to another thread. It counts nowhere; its memory serves again in the
/// pool of the thread that drops it.
#[derive(Debug)]
pub(crate) struct GivenAway(Box<[u8]>);

impl GivenAway {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for GivenAway {
    fn drop(&mut self) {
        if self.0.len() == BLOCK_BYTES {
            keep_block(std::mem::take(&mut self.0));
        }
    }
}

fn keep_block(block: Box<[u8]>) {
    let _ = POOL.try_with(|pool| {
        let mut free = pool.free.borrow_mut();
        if free.len() < KEEP_BLOCKS {
            free.push(block);
        }
    });
}

/// An empty write buffer, from the pool if it has one.
pub(crate) fn lease_write_buffer() -> Box<WriteBuffer> {
    let free = POOL.try_with(|pool| {
        pool.leased.set(pool.leased.get() + 1);
        pool.free_writes.borrow_mut().pop()
    });
    free.ok().flatten().unwrap_or_default()
}

/// Gives a write buffer back, emptied.
pub(crate) fn return_write_buffer(mut buffer: Box<WriteBuffer>) {
    buffer.clear();
    let _ = POOL.try_with(|pool| {
        pool.count_return();
        let mut free = pool.free_writes.borrow_mut();
        if free.len() < KEEP_BLOCKS {
            free.push(buffer);
        }
    });
}

impl Pool {
    const fn new() -> Pool {
        Pool { free: RefCell::new(Vec::new()), free_writes: RefCell::new(Vec::new()), leased: Cell::new(0) }
    }

    fn count_return(&self) {
        self.leased.set(self.leased.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
