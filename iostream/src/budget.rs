//! What a thread's streams hold for their peers, in bytes: one account per thread, so one per loop.
//!
//! Blocks and pieces enter themselves when they are made and leave when they go, so that the sum is right whatever happens
//! to the streams. That costs a few instructions a block: the account is plain numbers.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static ACCOUNT: Account = const { Account { owned: Cell::new(0), lent: Cell::new(0) } };
    /// Blocks that have left with a result and are still in use, on whatever thread, in bytes.
    static GIVEN_AWAY: OnceCell<Arc<AtomicUsize>> = const { OnceCell::new() };
}

/// Without a destructor, so that it is there as long as the thread is, and costs no look at whether it is.
struct Account {
    /// Blocks for reading, and output that nobody else holds.
    owned: Cell<usize>,
    /// Output that others hold too.
    lent: Cell<usize>,
}

/// How many bytes of memory this thread's streams hold right now: what has been read and not been taken, by the size of its
/// memory, and what waits to be sent.
///
/// Data that its writer still has, or that is static, takes no memory of the stream's and does not count. A block that a
/// read has given away does not count either, unless it waits to be sent again.
#[must_use]
pub fn buffered_bytes() -> usize {
    let (owned, lent) = ACCOUNT.with(|account| (account.owned.get(), account.lent.get()));
    if lent == 0 { owned } else { owned + lent.min(given_away()) }
}

#[inline]
pub(crate) fn enter(bytes: usize) {
    ACCOUNT.with(|account| account.owned.set(account.owned.get() + bytes));
}

#[inline]
pub(crate) fn leave(bytes: usize) {
    ACCOUNT.with(|account| account.owned.set(account.owned.get() - bytes));
}

pub(crate) fn enter_lent(bytes: usize) {
    ACCOUNT.with(|account| account.lent.set(account.lent.get() + bytes));
}

pub(crate) fn leave_lent(bytes: usize) {
    ACCOUNT.with(|account| account.lent.set(account.lent.get() - bytes));
}

/// Once they are `Bytes`, nothing tells blocks of ours from memory of others. But no more of them can wait to be sent than
/// were given away: so the blocks of an echo are counted, and a file that many share is not.
fn given_away() -> usize {
    let count =
        |count: &OnceCell<Arc<AtomicUsize>>| count.get().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
    GIVEN_AWAY.try_with(count).unwrap_or(0)
}

/// A block that has left with a result, for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Away {
    bytes: usize,
    /// `None` if the thread that it comes from was being torn down.
    count: Option<Arc<AtomicUsize>>,
}

impl Away {
    pub(crate) fn of(bytes: usize) -> Away {
        let count = GIVEN_AWAY.try_with(|count| Arc::clone(count.get_or_init(Arc::default))).ok();
        if let Some(count) = &count {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
        Away { bytes, count }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(count) = &self.count {
            count.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
