//! The table of what the loop watches: one slot per source, reached by a token that carries a generation.
//!
//! An event may arrive for a slot that has been given up and taken again since the poll collected it. The
//! generation in the token tells the two apart, so a removed handler is never called (IL4).

use std::num::NonZeroU32;

use crate::io_loop::Inner;
use crate::ready::{Interest, Ready};
use crate::table::Table;
use crate::wake::{TaskKey, WakeTarget};
use mio::Token;

/// Half of the token is the slot, half the generation.
const HALF: u32 = usize::BITS / 2;
const SLOT_MASK: usize = (1 << HALF) - 1;

/// The token of the waker through which other threads reach the loop.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Names one registration of one loop; stale once it is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SourceKey {
    slot: u32,
    generation: u32,
}

impl SourceKey {
    /// Names nothing: no generation reaches this one.
    pub(crate) const NOTHING: SourceKey = SourceKey { slot: u32::MAX, generation: u32::MAX };

    pub(crate) fn token(self) -> Token {
        Token(((self.generation as usize) << HALF) | self.slot as usize)
    }

    pub(crate) fn from_token(token: Token) -> SourceKey {
        SourceKey { slot: (token.0 & SLOT_MASK) as u32, generation: (token.0 >> HALF) as u32 }
    }
}

/// One watched thing: 24 bytes.
pub(crate) struct Source {
    /// Never zero, by which a table tells which of its places are free.
    generation: NonZeroU32,
    /// What was seen and not yet used up. Only readiness futures look at it.
    pub(crate) ready: Ready,
    /// What user space has reported since the last poll. The slot stands in the queue while this is not empty.
    pub(crate) made_ready: Ready,
    pub(crate) listener: Listener,
}

/// Who listens to a source: nearly always one of the loop's own tasks that reads, so that the others have no room here while
/// nobody waits there.
pub(crate) struct Listener {
    reader: TaskKey,
    rare: Option<Box<Rare>>,
}

/// Who else may listen.
enum Rare {
    Others(Others),
    /// A callback with its source inside, and nobody but that.
    Handler(HandlerSlot),
}

/// The rarer waits: a foreign waker that waits to read, for room, and for the end of the connection.
#[derive(Default)]
pub(crate) struct Others {
    read: Option<WakeTarget>,
    write: Option<WakeTarget>,
    closed: Option<WakeTarget>,
}

/// What a task waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Read,
    Write,
    Closed,
}

/// The place of a handler.
pub(crate) struct HandlerSlot {
    pub(crate) interest: Interest,
    /// Whether the interest was changed from inside the callback; the poller hears of it when that returns.
    pub(crate) changed: bool,
    /// Out of its place while it runs.
    pub(crate) handler: Option<Box<dyn Handler>>,
}

/// A handler with the source it owns, its type forgotten.
pub(crate) trait Handler: std::any::Any {
    fn run(&mut self, inner: &Inner, ready: Ready);
    fn source(&mut self) -> &mut dyn mio::event::Source;
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any>;
}

/// All sources of one loop.
pub(crate) struct Sources {
    slots: Table<Source>,
    next_generation: NonZeroU32,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources { slots: Table::new(), next_generation: NonZeroU32::MIN }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }

    pub(crate) fn insert(&mut self, listener: Listener) -> SourceKey {
        // The generation must fit into its half of the token, and must not make the waker's token.
        let generation = self.next_generation;
        self.next_generation =
            NonZeroU32::new((generation.get() + 1) % (SLOT_MASK as u32)).unwrap_or(NonZeroU32::MIN);
        let slot =
            self.slots.insert(Source { generation, ready: Ready::EMPTY, made_ready: Ready::EMPTY, listener });
        assert!((slot as usize) < SLOT_MASK, "more sources than a token can name");
        SourceKey { slot, generation: generation.get() }
    }

    pub(crate) fn get_mut(&mut self, key: SourceKey) -> Option<&mut Source> {
        self.slots.get_mut(key.slot).filter(|source| source.generation.get() == key.generation)
    }

    pub(crate) fn remove(&mut self, key: SourceKey) -> Option<Source> {
        self.get_mut(key)?;
        self.slots.remove(key.slot)
    }

    pub(crate) fn handler_mut(&mut self, key: SourceKey) -> Option<&mut HandlerSlot> {
        match self.get_mut(key)?.listener.rare.as_deref_mut()? {
            Rare::Handler(slot) => Some(slot),
            Rare::Others(_) => None,
        }
    }

    /// Takes everything out, for a loop that closes.
    pub(crate) fn drain(&mut self) -> Vec<Source> {
        self.slots.drain().collect()
    }
}

impl Listener {
    pub(crate) fn tasks() -> Listener {
        Listener { reader: TaskKey::NOBODY, rare: None }
    }

    /// Has a task of the loop wait for input, in the place of one that did before. `false` where others wait too, or have waited:
    /// see [`wait`].
    #[inline]
    pub(crate) fn wait_to_read(&mut self, task: TaskKey) -> bool {
        let is_alone = self.rare.is_none();
        if is_alone {
            self.reader = task;
        }
        is_alone
    }

    pub(crate) fn handler(interest: Interest) -> Listener {
        let slot = HandlerSlot { interest, changed: false, handler: None };
        Listener { reader: TaskKey::NOBODY, rare: Some(Box::new(Rare::Handler(slot))) }
    }

    /// Takes out the task that is to be told of `ready`, where nobody else listens; `Err` where others do: see [`concerned`].
    #[inline]
    pub(crate) fn take_lone_reader(&mut self, ready: Ready) -> Result<Option<TaskKey>, ()> {
        if self.rare.is_some() {
            return Err(());
        }
        Ok(self.take_reader(ready))
    }

    #[inline]
    fn take_reader(&mut self, ready: Ready) -> Option<TaskKey> {
        if self.reader == TaskKey::NOBODY || !ready.is_readable() {
            return None;
        }
        Some(std::mem::replace(&mut self.reader, TaskKey::NOBODY))
    }

    #[inline]
    pub(crate) fn is_handler(&self) -> bool {
        matches!(self.rare.as_deref(), Some(Rare::Handler(_)))
    }

    pub(crate) fn into_handler(self) -> Option<HandlerSlot> {
        match *self.rare? {
            Rare::Handler(slot) => Some(slot),
            Rare::Others(_) => None,
        }
    }

    /// Those who wait beside the reader; `None` for a handler's source.
    fn others(&mut self) -> Option<&mut Others> {
        match &mut **self.rare.get_or_insert_with(|| Box::new(Rare::Others(Others::default()))) {
            Rare::Others(others) => Some(others),
            Rare::Handler(_) => None,
        }
    }
}

/// Takes out of `listener` the targets that `ready` concerns: nearly always a task that reads, or nobody.
pub(crate) fn concerned(listener: &mut Listener, ready: Ready) -> (Option<TaskKey>, Option<Others>) {
    let task = listener.take_reader(ready);
    match &mut listener.rare {
        None => (task, None),
        rare => (task, concerned_others(rare, ready)),
    }
}

#[cold]
fn concerned_others(rare: &mut Option<Box<Rare>>, ready: Ready) -> Option<Others> {
    let Rare::Others(waits) = rare.as_deref_mut()? else { return None };
    let gone = ready.intersects(Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR);
    let concerned = Others {
        read: waits.read.take_if(|_| ready.is_readable()),
        write: waits.write.take_if(|_| ready.is_writable()),
        closed: waits.closed.take_if(|_| gone),
    };
    if waits.is_empty() {
        *rare = None;
    }
    Some(concerned)
}

impl Others {
    fn is_empty(&self) -> bool {
        self.read.is_none() && self.write.is_none() && self.closed.is_none()
    }

    pub(crate) fn into_targets(self) -> impl Iterator<Item = WakeTarget> {
        [self.read, self.write, self.closed].into_iter().flatten()
    }
}

/// Has `target` wait, in the place of who waited there before; gives back what is not needed any more: a foreign waker's drop
/// is foreign code.
pub(crate) fn wait(listener: &mut Listener, wait: Wait, target: WakeTarget) -> Option<WakeTarget> {
    match (wait, target) {
        (Wait::Read, WakeTarget::Task(task)) => {
            listener.reader = task;
            if listener.rare.is_none() { None } else { listener.others()?.read.take() }
        }
        (Wait::Read, target) => {
            listener.reader = TaskKey::NOBODY;
            listener.others()?.read.replace(target)
        }
        (Wait::Write, target) => listener.others()?.write.replace(target),
        (Wait::Closed, target) => listener.others()?.closed.replace(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn il4_a_token_of_a_removed_source_does_not_reach_the_one_that_took_its_slot() {
        let mut sources = Sources::new();
        let old = sources.insert(Listener::tasks());
        let token = old.token();
        sources.remove(old);
        let new = sources.insert(Listener::tasks());
        assert_eq!(old.slot, new.slot, "the slot is used again");
        assert!(sources.get_mut(SourceKey::from_token(token)).is_none());
        assert!(sources.get_mut(SourceKey::from_token(new.token())).is_some());
    }

    #[test]
    fn no_generation_makes_the_token_of_the_waker() {
        let mut sources = Sources::new();
        sources.next_generation = NonZeroU32::new(SLOT_MASK as u32 - 1).unwrap();
        let last = sources.insert(Listener::tasks());
        let first = sources.insert(Listener::tasks());
        assert_eq!(last.generation, SLOT_MASK as u32 - 1);
        assert_eq!(first.generation, 1);
        assert_ne!(last.token(), WAKER);
        assert!(sources.get_mut(SourceKey::NOTHING).is_none());
    }

    #[test]
    fn a_source_is_small() {
        assert!(size_of::<Option<Source>>() <= 24, "{} bytes", size_of::<Option<Source>>());
    }
}
