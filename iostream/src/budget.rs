//! What a thread's streams hold for their peers, in bytes, and how much that may be: one account per thread, so one per loop.
//!
//! Blocks and pieces enter themselves when they are made and leave when they go, so that the sum is right whatever happens
//! to the streams. That costs a few instructions a block: the account is plain numbers.

use std::cell::{Cell, OnceCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::held_back::{self, LITTLE_BYTES};

thread_local! {
    static ACCOUNT: Account = const {
        Account {
            owned: Cell::new(0),
            lent: Cell::new(0),
            budget: Cell::new(MemoryBudget::DEFAULT),
            ample: Cell::new(MemoryBudget::DEFAULT.ample()),
            is_watched: Cell::new(false),
        }
    };
    /// Blocks that have left with a result and are still in use, on whatever thread, in bytes.
    static GIVEN_AWAY: OnceCell<Arc<AtomicUsize>> = const { OnceCell::new() };
}

/// Without a destructor, so that it is there as long as the thread is, and costs no look at whether it is.
struct Account {
    /// Blocks for reading, and output that nobody else holds.
    owned: Cell<usize>,
    /// Output that others hold too.
    lent: Cell<usize>,
    budget: Cell<MemoryBudget>,
    /// Below this there is enough for everybody: what every request asks first, so it is kept.
    ample: Cell<usize>,
    /// Whether somebody waits for memory to be given back.
    is_watched: Cell<bool>,
}

/// How much memory the streams of one thread may hold all together, beside the limits that each of them has. On by default, for
/// each thread by itself; several loops are several threads.
///
/// | limit | default | what happens there |
/// | --- | --- | --- |
/// | `soft` | 256 MiB | who holds most is not read from |
/// | `hard` | 512 MiB | nobody's buffer grows; before that servers close who is idle, and turn requests away |
/// | `patience` | 10 s | a read that is held back for so long fails |
///
/// Above the soft mark a stream's buffer grows only as long as it takes no more than what is left: whoever holds
/// little is read from as ever, whoever holds much waits, and its peer with it. The last eighth below the hard mark is for
/// streams that hold 8 KiB at most: who asks for little must be heard to be answered. Of the rest a single stream can have half; of a
/// thousand that all want more than there is each gets the same. Nothing that is read passes the hard mark.
///
/// When only that eighth is left, memory is [short](MemoryBudget::is_short): whoever can give some back is asked to
/// ([`on_memory_shortage`](crate::on_memory_shortage)). When half of it is gone, the budget is [exhausted](MemoryBudget::is_exhausted), and servers
/// turn new requests away.
///
/// That keeps streams in motion whose bytes are taken as they come. Who gathers something whole asks for all of it at once
/// ([`poll_memory`](crate::IoStream::poll_memory)), so that it never holds a part and waits for the rest, and gives back what its peer does not fill
/// while others wait ([`MemoryGrant`](crate::MemoryGrant)); `httpserver` does so with bodies.
///
/// What is written is its writer's memory first, so nothing keeps it from being queued; but above the soft mark a stream that holds more than what is
/// left has [no room](crate::IoStream::write) for more of it.
///
/// What is held back goes on as soon as memory that it waits for has been given back. Streams could wait for each other's, where
/// no deadline ends them; so of those that have waited for `patience` the one that wants most fails with
/// [`OverBudget`](crate::StreamError::OverBudget), and then the next; those first that had memory before and were slow to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBudget {
    /// Bytes from which on streams are held back that hold more than their share.
    pub soft: usize,
    /// Bytes that are not passed.
    pub hard: usize,
    /// How long a read is held back at most.
    pub patience: Duration,
}

impl MemoryBudget {
    const DEFAULT: MemoryBudget =
        MemoryBudget { soft: 256 << 20, hard: 512 << 20, patience: Duration::from_secs(10) };

    /// The defaults with other marks, in bytes. `usize::MAX` for both is no budget at all.
    ///
    /// # Panics
    ///
    /// When `soft` is above `hard`.
    #[must_use]
    pub fn new(soft: usize, hard: usize) -> MemoryBudget {
        assert!(soft <= hard, "the soft mark is above the hard mark");
        MemoryBudget { soft, hard, ..MemoryBudget::DEFAULT }
    }

    /// Sets [`patience`](MemoryBudget::patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> MemoryBudget {
        self.patience = patience;
        self
    }

    /// Makes this the budget of the streams of this thread, from now on.
    pub fn install(self) {
        ACCOUNT.with(|account| {
            account.budget.set(self);
            account.ample.set(self.ample());
        });
        held_back::wake_who_may_go_on();
    }

    /// The budget of this thread.
    #[must_use]
    pub fn current() -> MemoryBudget {
        ACCOUNT.with(|account| account.budget.get())
    }

    /// Whether the soft mark is not reached even with `more` bytes beside what all hold: nobody is asked how much it holds then.
    #[must_use]
    #[inline]
    pub fn is_ample(more: usize) -> bool {
        ACCOUNT.with(|account| account.total().saturating_add(more) < account.ample.get())
    }

    /// Whether only what is kept for those who hold little is left.
    #[must_use]
    #[inline]
    pub fn is_short() -> bool {
        !MemoryBudget::is_ample(LITTLE_BYTES)
            && MemoryBudget::current().for_many() < buffered_bytes().saturating_add(LITTLE_BYTES)
    }

    /// Whether half of that is gone too: new work is better refused.
    #[must_use]
    pub fn is_exhausted() -> bool {
        let MemoryBudget { hard, .. } = MemoryBudget::current();
        hard - hard / 16 < buffered_bytes().saturating_add(LITTLE_BYTES)
    }

    /// Whether less waits to be sent of data that others hold too than the soft mark, and it cannot all be blocks that reads have given
    /// away and nobody else has. Such data is not counted; but nothing tells whether the others will hold it for as long as it waits,
    /// so there is a bound to how freely it should be queued.
    #[must_use]
    #[inline]
    pub fn lends_freely() -> bool {
        let (lent, given_away) = (ACCOUNT.with(|account| account.lent.get()), given_away());
        lent < MemoryBudget::current().soft && (lent > given_away || given_away == 0)
    }

    /// Bytes that are left to the hard mark.
    #[must_use]
    pub fn left() -> usize {
        MemoryBudget::current().hard.saturating_sub(buffered_bytes())
    }

    /// Whether one stream could hold so many bytes if no other held any. If not, waiting for them has no use.
    #[must_use]
    pub fn is_within_reach(bytes: usize) -> bool {
        bytes <= MemoryBudget::current().for_many()
    }

    /// What streams may hold together that hold more than a little each.
    const fn for_many(&self) -> usize {
        self.hard - self.hard / 8
    }

    /// What streams may hold together before anybody is asked how much it holds.
    const fn ample(&self) -> usize {
        if self.soft < self.for_many() { self.soft } else { self.for_many() }
    }

    /// What one stream may hold beside a total of so much.
    fn share(&self, total: usize) -> usize {
        self.for_many().saturating_sub(total).max(LITTLE_BYTES.min(self.hard.saturating_sub(total)))
    }
}

impl Default for MemoryBudget {
    fn default() -> MemoryBudget {
        MemoryBudget::DEFAULT
    }
}

/// How many bytes of memory this thread's streams hold right now: what has been read and not been taken, by the size of its
/// memory, and what waits to be sent.
///
/// Data that its writer still has, or that is static, takes no memory of the stream's and does not count. A block that a
/// read has given away does not count either, unless it waits to be sent again.
#[must_use]
pub fn buffered_bytes() -> usize {
    ACCOUNT.with(Account::total)
}

impl Account {
    #[inline]
    fn total(&self) -> usize {
        let (owned, lent) = (self.owned.get(), self.lent.get());
        if lent == 0 { owned } else { owned + lent.min(given_away()) }
    }
}

/// What one stream may hold, if the soft mark is passed when `more` bytes are added to what all hold.
#[inline]
pub(crate) fn scarce(more: usize) -> Option<usize> {
    if MemoryBudget::is_ample(more) { None } else { Some(share()) }
}

#[cold]
fn share() -> usize {
    ACCOUNT.with(|account| account.budget.get().share(account.total()))
}

/// Bytes that are left for streams that hold more than a little.
pub(crate) fn left() -> usize {
    ACCOUNT.with(|account| account.budget.get().for_many().saturating_sub(account.total()))
}

/// Says whether somebody waits for memory.
pub(crate) fn watch(is_watched: bool) {
    ACCOUNT.with(|account| account.is_watched.set(is_watched));
}

#[inline]
pub(crate) fn is_watched() -> bool {
    ACCOUNT.with(|account| account.is_watched.get())
}

#[inline]
pub(crate) fn enter(bytes: usize) {
    ACCOUNT.with(|account| account.owned.set(account.owned.get() + bytes));
}

#[inline]
pub(crate) fn leave(bytes: usize) {
    ACCOUNT.with(|account| account.owned.set(account.owned.get() - bytes));
    if is_watched() {
        held_back::wake_who_may_go_on();
    }
}

pub(crate) fn enter_lent(bytes: usize) {
    ACCOUNT.with(|account| account.lent.set(account.lent.get() + bytes));
}

pub(crate) fn leave_lent(bytes: usize) {
    ACCOUNT.with(|account| account.lent.set(account.lent.get() - bytes));
    if is_watched() {
        held_back::wake_who_may_go_on();
    }
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

/// Bytes that a protocol has gathered from a peer outside of its stream: a body that is to be whole before somebody gets
/// it. They are part of [`buffered_bytes`] for as long as this lives.
#[derive(Debug, Default)]
pub struct HeldBytes {
    bytes: usize,
    /// Of this thread's account.
    not_send: PhantomData<*const ()>,
}

impl HeldBytes {
    /// None yet.
    #[must_use]
    pub fn new() -> HeldBytes {
        HeldBytes::default()
    }

    /// How many there are now, by the memory that they take.
    #[must_use]
    pub fn get(&self) -> usize {
        self.bytes
    }

    /// Says how many there are now.
    pub fn set(&mut self, bytes: usize) {
        enter(bytes);
        leave(std::mem::replace(&mut self.bytes, bytes));
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        leave(self.bytes);
    }
}
