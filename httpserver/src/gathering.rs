//! A body that is gathered whole: what it takes is asked for before it is taken.

use std::future::poll_fn;

use bytes::Bytes;

use crate::active::Active;
use crate::error::HttpError;

/// What is worth reading.
const GROWTH_BYTES: usize = 4096;

/// Pieces of a body, put together. What they take is part of what the request [holds](Active::hold).
pub(crate) struct Gathering<'a> {
    active: &'a Active<'a>,
    /// The only piece, as long as it is that.
    first: Bytes,
    whole: Vec<u8>,
    /// The next piece, as long as it waits for memory.
    next: Bytes,
    counted: usize,
    /// Whether what there is goes back to the request when this is dropped.
    goes_back: bool,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(active: &'a Active<'a>) -> Gathering<'a> {
        let (first, next) = (Bytes::new(), Bytes::new());
        Gathering { active, first, whole: Vec::new(), next, counted: 0, goes_back: false }
    }

    /// Gathers all that is left of the body. Given up while it waits, it gives back what it has: nothing is lost.
    pub(crate) async fn of_body(active: &'a Active<'a>) -> Result<Gathering<'a>, HttpError> {
        let mut all = Gathering::new(active);
        all.goes_back = true;
        let read = all.read_body().await;
        all.goes_back = false;
        read.map(|()| all)
    }

    async fn read_body(&mut self) -> Result<(), HttpError> {
        while let Some(chunk) = self.active.chunk().await? {
            self.add(chunk).await?;
            self.room().await?;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.whole.len()
    }

    /// Waits until there is memory for more, if memory is scarce: before more is read.
    pub(crate) async fn room(&self) -> Result<(), HttpError> {
        let (active, room) = (self.active, self.whole.capacity() - self.whole.len());
        if self.len() == 0 || room >= GROWTH_BYTES || !active.has_more_body() {
            return Ok(());
        }
        let stream = &active.session.stream;
        let bytes = active.held.borrow().get() + GROWTH_BYTES.max(self.len() / 8);
        if stream.has_memory(bytes) {
            return Ok(());
        }
        Ok(poll_fn(|cx| stream.poll_memory(cx, bytes)).await?)
    }

    /// Adds a piece, when there is memory for it.
    pub(crate) async fn add(&mut self, piece: Bytes) -> Result<(), HttpError> {
        // It is there already, whatever happens to it.
        self.count(self.first.len() + self.whole.capacity() + piece.len());
        if self.len() == 0 {
            self.first = piece;
            return Ok(());
        }
        let wanted = self.len() + piece.len();
        self.next = piece;
        if wanted > self.whole.capacity() {
            let capacity = self.memory_for(wanted).await?;
            self.whole.reserve_exact(capacity - self.whole.len());
        }
        self.join();
        self.count(self.whole.capacity());
        Ok(())
    }

    /// Puts together what lies apart.
    fn join(&mut self) {
        for piece in [std::mem::take(&mut self.first), std::mem::take(&mut self.next)] {
            self.whole.extend_from_slice(&piece);
        }
    }

    /// All of it, which is its owner's from here on.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        self.take()
    }

    /// All of it, which still counts as long as the request lasts.
    pub(crate) fn into_kept_bytes(mut self) -> Bytes {
        self.counted = 0;
        self.take()
    }

    fn take(&mut self) -> Bytes {
        match self.whole.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.whole).into(),
        }
    }

    /// Waits until there is memory for so many bytes in one piece: twice what there was, so that copies stay few, or, where
    /// memory is scarce, an eighth more.
    async fn memory_for(&self, wanted: usize) -> Result<usize, HttpError> {
        let (active, capacity) = (self.active, self.whole.capacity());
        let stream = &active.session.stream;
        let others = active.held.borrow().get() - self.counted;
        let most = usize::try_from(active.protocol.borrow().max_body_size()).unwrap_or(usize::MAX);
        let double = capacity.saturating_mul(2).min(most).max(wanted);
        let capacity = match stream.has_memory(others + double) {
            true => double,
            false => wanted + capacity / 8,
        };
        poll_fn(|cx| stream.poll_memory(cx, others + capacity)).await?;
        Ok(capacity)
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
        if self.counted > 0 {
            self.count(0);
        }
        if self.goes_back && self.len() > 0 {
            if !self.next.is_empty() {
                self.join();
            }
            self.whole.shrink_to_fit(); // it counts by its length from here on
            self.active.put_back(self.take());
        }
    }
}
