//! A body that is gathered whole: what it takes is asked for before it is taken.
//!
//! Bodies that each hold a part and wait for each other's memory come to no end. So where memory is scarce a body gets all that it
//! needs at once, or waits for that; then it waits for its peer alone. A peer that is slow does not keep what others wait for: what it has not
//! filled is given back, and waited for again behind them. And memory that is moved while it grows leaves holes in the
//! allocator's heap. So unless there is plenty, what a body takes lies apart from that.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use iostream::{MemoryBudget, MemoryGrant, MemoryWait};

use crate::active::Active;
use crate::error::HttpError;
use crate::http1::RemoteError;

/// What is worth reading.
const GROWTH_BYTES: usize = 4096;

/// Where memory is not scarce, a body of known length takes at most so many times what has come of it.
const GROWTH: usize = 8;

/// The part of the soft mark up to which there is plenty.
const PLENTY: usize = 2;

/// The part of the budget that a body of unknown length is taken to need.
const PART: usize = 4;

/// Smaller bodies stay in the heap: the holes that they leave serve others.
const LEAST_APART: usize = 128 * 1024;

/// More than glibc's allocator keeps for itself in any case: what is as large it has from the operating system, to which it goes back
/// when it is freed. What is not written to takes no memory.
const APART: usize = 33 << 20;

/// Pieces of a body, put together. What they take is part of what the request [holds](Active::hold).
pub(crate) struct Gathering<'a> {
    active: &'a Active<'a>,
    /// The only piece, as long as it is that.
    first: Bytes,
    whole: Vec<u8>,
    /// What `whole` may grow to; it has memory for it.
    room: usize,
    /// The next piece, as long as it waits for memory.
    next: Bytes,
    counted: usize,
    /// For `room`, while the peer is waited for.
    grant: Option<MemoryGrant>,
    /// It had to give back room that it did not fill.
    was_slow: bool,
    /// There may be so many bytes, beside the limit on bodies.
    limit: u64,
    /// Whether this is the body itself and on its way in: what there is goes back to the request when this is dropped.
    is_body: bool,
}

impl<'a> Gathering<'a> {
    /// For a part of a body, of which there may be so many bytes.
    pub(crate) fn of_part(active: &'a Active<'a>, limit: u64) -> Gathering<'a> {
        Gathering {
            active,
            first: Bytes::new(),
            whole: Vec::new(),
            room: 0,
            next: Bytes::new(),
            counted: 0,
            grant: None,
            was_slow: false,
            limit,
            is_body: false,
        }
    }

    /// Gathers all that is left of the body. Given up while it waits, or failed, it gives back what it has: nothing is lost.
    pub(crate) async fn of_body(active: &'a Active<'a>) -> Result<Gathering<'a>, HttpError> {
        let mut all = Gathering::of_part(active, u64::MAX);
        all.is_body = true;
        all.check_reach(all.length().unwrap_or(0))?;
        all.read_body().await?;
        all.is_body = false;
        Ok(all)
    }

    async fn read_body(&mut self) -> Result<(), HttpError> {
        let active = self.active;
        while let Some(chunk) = self.read(async || active.chunk().await).await? {
            self.add(chunk).await?;
            self.make_room().await?;
        }
        Ok(())
    }

    /// Reads the next piece by `read`, which may be given up while it waits. Is slow to come what others could have had the room of, they
    /// get it first.
    pub(crate) async fn read(
        &mut self,
        mut read: impl AsyncFnMut() -> Result<Option<Bytes>, HttpError>,
    ) -> Result<Option<Bytes>, HttpError> {
        loop {
            let came = {
                let mut piece = pin!(read());
                poll_fn(|cx| match piece.as_mut().poll(cx) {
                    Poll::Pending if self.is_due() => Poll::Ready(None),
                    polled => polled.map(Some),
                })
                .await
            };
            match came {
                Some(piece) => return piece,
                None => Box::pin(self.give_way()).await?,
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.whole.len()
    }

    /// Adds a piece, when there is memory for it.
    pub(crate) async fn add(&mut self, piece: Bytes) -> Result<(), HttpError> {
        // It is there already, whatever happens to it.
        self.count(self.first.len() + self.room + piece.len());
        if self.len() == 0 {
            self.first = piece;
            return Ok(());
        }
        let wanted = self.len() + piece.len();
        self.next = piece;
        if wanted > self.room {
            return self.grow(wanted).await;
        }
        self.join();
        Ok(())
    }

    /// Waits until there is memory for more, if memory is scarce: before more is read.
    pub(crate) async fn make_room(&mut self) -> Result<(), HttpError> {
        if self.len() == 0 || !self.active.has_more_body() {
            return Ok(());
        }
        let more = self.missing().unwrap_or(usize::MAX).min(GROWTH_BYTES);
        if self.room - self.whole.len() < more && is_scarce(more) {
            return self.grow(self.len() + more).await;
        }
        if self.grant.is_none() {
            self.note_grant(self.step(self.len() + more), MemoryWait::begin());
        }
        Ok(())
    }

    /// Whether others wait for memory that this body does not make use of. Asked when it waits for its peer.
    fn is_due(&mut self) -> bool {
        let (stream, have) = (&self.active.session.stream, self.len());
        self.grant.as_mut().is_some_and(|grant| grant.is_due(stream, have))
    }

    /// Keeps no more than what has come, and waits behind the others for the rest.
    async fn give_way(&mut self) -> Result<(), HttpError> {
        self.was_slow = true;
        if self.whole.capacity() < APART {
            self.whole.shrink_to_fit();
        }
        self.room = self.whole.len();
        self.count(self.len());
        let more = self.missing().unwrap_or(usize::MAX).min(GROWTH_BYTES);
        self.grow(self.len() + more).await
    }

    /// Waits until there is memory for so many bytes at least, and has it.
    async fn grow(&mut self, wanted: usize) -> Result<(), HttpError> {
        let wait = MemoryWait::begin();
        let others = self.active.held.borrow().get() - self.counted;
        let mut room = self.step(wanted);
        if self.was_slow || is_scarce(others + room) || !self.could_move(others + room) {
            room = self.all(wanted);
            if self.length().is_none() && self.check_reach(self.needs(room)).is_err() {
                room = wanted; // the last of it comes bit by bit
            }
            self.check_reach(self.needs(room))?;
            let more = room - self.there(room);
            self.active.memory_for_body(others + more, self.was_slow).await?;
        }
        let soft = MemoryBudget::current().soft;
        match MemoryBudget::is_ample((others + room).saturating_add(soft - soft / PLENTY)) {
            true => self.whole.reserve_exact(room - self.whole.len()),
            false => {
                let most = self.length().unwrap_or_else(|| self.limit().min(MemoryBudget::current().hard));
                move_apart(&mut self.whole, room, most);
            }
        }
        self.room = room;
        self.join();
        self.note_grant(self.room, wait);
        Ok(())
    }

    /// Has it noticed if what it may grow to, having waited for that, does not come.
    fn note_grant(&mut self, room: usize, wait: MemoryWait) {
        if room < GROWTH_BYTES {
            return;
        }
        let have = self.len();
        let grant = self.grant.get_or_insert_with(|| MemoryGrant::new(&self.active.session.stream));
        grant.renew(have, room.saturating_sub(have), wait);
    }

    /// How much of so much room there is: nothing of it where all has to be moved.
    fn there(&self, room: usize) -> usize {
        if self.whole.capacity() < room { 0 } else { self.room }
    }

    /// What is held once there is so much room, before what was there has gone.
    fn needs(&self, room: usize) -> usize {
        self.active.held.borrow().get() + room - self.there(room)
    }

    /// What will never be there is not waited for: to this server the body is too large.
    fn check_reach(&self, bytes: usize) -> Result<(), HttpError> {
        match MemoryBudget::is_within_reach(bytes.saturating_add(self.active.session.stream.held_bytes())) {
            true => Ok(()),
            false => Err(RemoteError::BodyTooLarge.into()),
        }
    }

    /// Whether so much, once it is there, leaves room beside it for all of a body whose length is known: what is moved takes both.
    fn could_move(&self, from: usize) -> bool {
        let all = self.length().filter(|length| *length > from).unwrap_or(0);
        all == 0 || MemoryBudget::is_within_reach(all.saturating_add(from + LEAST_APART))
    }

    /// What is asked for where memory is not scarce: so much that copies stay few.
    fn step(&self, wanted: usize) -> usize {
        match self.length() {
            Some(length) => length.min(wanted * GROWTH),
            None => self.limit().min(self.room * 2),
        }
        .max(wanted)
    }

    /// All that will be needed. Of unknown length a small body is taken to need an eighth more, and so is what has turned out to be
    /// larger than any was taken to be; one that was slow as much again as has come.
    fn all(&self, wanted: usize) -> usize {
        let part = match MemoryBudget::current().hard / PART {
            _ if wanted < LEAST_APART => 0,
            part if self.was_slow => part.min(2 * wanted),
            part => part,
        };
        let unknown = || self.limit().min(part.max(wanted + self.room / 8));
        self.length().unwrap_or_else(unknown).max(wanted)
    }

    /// How long the body is, if that is known.
    fn length(&self) -> Option<usize> {
        Some(self.missing()?.saturating_add(self.len() + self.next.len()))
    }

    /// How much is still to come, if that is known.
    fn missing(&self) -> Option<usize> {
        if self.is_body { self.active.missing_body() } else { None }
    }

    fn limit(&self) -> usize {
        let limit = self.limit.min(self.active.protocol.borrow().max_body_size());
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Puts together what lies apart.
    fn join(&mut self) {
        for piece in [std::mem::take(&mut self.first), std::mem::take(&mut self.next)] {
            self.whole.extend_from_slice(&piece);
        }
        self.room = self.room.max(self.whole.len());
        self.count(self.room);
    }

    /// All of it, which is its owner's from here on.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        self.take()
    }

    /// All of it, which still counts as long as the request lasts.
    pub(crate) fn into_kept_bytes(mut self) -> Bytes {
        let all = self.take();
        self.counted = 0;
        all
    }

    fn take(&mut self) -> Bytes {
        if self.whole.is_empty() {
            return std::mem::take(&mut self.first);
        }
        let mut whole = std::mem::take(&mut self.whole);
        // What is given back counts by its length. In the heap a body keeps its room: the end of it would be trimmed, to be had anew.
        if self.is_body || whole.capacity() >= APART {
            whole.shrink_to_fit(); // in its place
        }
        self.count(whole.capacity());
        whole.into()
    }

    fn count(&mut self, bytes: usize) {
        let mut held = self.active.held.borrow_mut();
        let others = held.get() - self.counted;
        held.set(others + bytes);
        self.counted = bytes;
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        if !self.next.is_empty() {
            self.join();
        }
        let all = if self.is_body { self.take() } else { Bytes::new() };
        if self.counted > 0 {
            self.count(0);
        }
        if !all.is_empty() {
            self.active.put_back(all);
        }
    }
}

/// Whether bodies are no longer to take memory bit by bit: when so many bytes more pass the soft mark, or half of the budget, lest those who
/// have begun, and need the other half to come to their end, leave none of it.
fn is_scarce(more: usize) -> bool {
    let MemoryBudget { soft, hard, .. } = MemoryBudget::current();
    !MemoryBudget::is_ample(more.saturating_add(soft.saturating_sub(hard / 2)))
}

/// Has `list` have `room` in memory that leaves no hole in the heap, neither while it grows nor when it is freed, and from which it need not
/// move again before it has grown to `most` bytes.
fn move_apart(list: &mut Vec<u8>, room: usize, most: usize) {
    if list.capacity() >= room {
        return; // it lies apart
    }
    let mut apart = Vec::new();
    let mut reserve = |bytes: usize| apart.try_reserve_exact(bytes.max(APART)).is_ok();
    // Where not even addresses are to be had for nothing, there is the heap.
    if room < LEAST_APART || !(reserve(most) || reserve(room)) {
        return list.reserve_exact(room - list.len());
    }
    apart.extend_from_slice(list);
    *list = apart;
}
