//! Memory that somebody was granted for what its peer is still to send, and whether that peer makes use of it.
//!
//! Nobody knows before how fast a peer will be. So what was granted is had back from who turns out to be slow, as soon as somebody else
//! waits for memory who is not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;

use ioloop::{Notifier, Ready};

use crate::budget;
use crate::held_back::{self, LOOKS};
use crate::stream::IoStream;

/// What a peer that has waited has sent meanwhile, if it has nothing else to wait for: less than the kernel keeps for it.
const SENT_MEANWHILE: usize = 16 * 1024;

thread_local! {
    /// Those whose peers are to be looked at while others wait.
    static GRANTS: RefCell<BTreeMap<u64, Notifier>> = const { RefCell::new(BTreeMap::new()) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Memory that the driver of a stream was granted by [`poll_memory`](IoStream::poll_memory) for bytes that are still to come, as long as
/// its peer keeps pace. For drivers that gather something whole; [`is_due`](MemoryGrant::is_due) says when it is to be given back.
///
/// Pace is only asked for while somebody waits for memory who has not had his turn: all that was granted is to come within little more than the
/// budget's [patience](crate::MemoryBudget::patience), at an even rate. Of that a peer may stay behind by an eighth. One that had to wait
/// for the grant has some of it sent by then: 16 KiB, or all that there is.
#[derive(Debug)]
pub struct MemoryGrant {
    number: u64,
    /// What is to come from one look to the next.
    quota: usize,
    /// By how much it may be less.
    credit: usize,
    /// So much there is to be when the peer is first waited for.
    first: usize,
    /// The last look, and what there was then.
    look: u64,
    seen: usize,
    /// Of this thread's table.
    not_send: PhantomData<*const ()>,
}

/// When somebody began to wait for memory, counted in looks at those who wait.
#[derive(Clone, Copy, Debug)]
pub struct MemoryWait(u64);

impl MemoryWait {
    /// From now on.
    #[must_use]
    pub fn begin() -> MemoryWait {
        MemoryWait(held_back::looks())
    }
}

impl MemoryGrant {
    /// For what `stream` is to receive. Nothing yet: see [`renew`](MemoryGrant::renew).
    #[must_use]
    pub fn new(stream: &IoStream) -> MemoryGrant {
        let number = NUMBER.get();
        NUMBER.set(number + 1);
        let reader = stream.inner.registration.notifier();
        let _ = GRANTS.try_with(|grants| grants.borrow_mut().insert(number, reader));
        let (quota, credit, first, look, seen) = (0, 0, 0, 0, 0);
        MemoryGrant { number, quota, credit, first, look, seen, not_send: PhantomData }
    }

    /// There is memory for `to_come` bytes beside the `have` that are there, for which the driver has waited since `wait`.
    pub fn renew(&mut self, have: usize, to_come: usize, wait: MemoryWait) {
        self.look = held_back::looks();
        self.seen = have;
        self.quota = to_come.div_ceil(LOOKS as usize);
        self.credit = 2 * self.quota;
        let has_waited = self.look > wait.0;
        self.first = if has_waited { have + to_come.min(SENT_MEANWHILE) } else { 0 };
    }

    /// Whether what was granted is to be given back: others wait for memory, and the peer of `stream` does not keep pace. To be asked with all
    /// that there is by now, whenever the peer is waited for; while others wait the reader is woken to do so. What is to be read and
    /// has not been yet is not the peer's fault.
    #[must_use]
    pub fn is_due(&mut self, stream: &IoStream, have: usize) -> bool {
        if !budget::is_watched() || !held_back::is_room_wanted() || stream.inner.may_read() {
            return false;
        }
        if have < self.first {
            return true;
        }
        let look = held_back::looks();
        if std::mem::replace(&mut self.look, look) < look {
            let came = have.saturating_sub(std::mem::replace(&mut self.seen, have));
            let credit = (self.credit + came).min(2 * self.quota);
            let Some(left) = credit.checked_sub(self.quota) else { return true };
            self.credit = left;
        }
        false
    }
}

impl Drop for MemoryGrant {
    fn drop(&mut self) {
        let _ = GRANTS.try_with(|grants| grants.borrow_mut().remove(&self.number));
    }
}

/// Has those look who were granted memory: others wait for it. Runs nobody's code.
pub(crate) fn have_them_look() {
    let _ = GRANTS.try_with(|grants| {
        for reader in grants.borrow().values() {
            reader.set_ready(Ready::READABLE);
        }
    });
}
