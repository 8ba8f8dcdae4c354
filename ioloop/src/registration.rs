//! Readiness for tasks: a slot in the loop's table that futures wait on, with or without a descriptor behind it.
//! Step 6 of path 2 and step 3 of path 3 through the house (see ARCHITECTURE.md).

use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use mio::event::Source;

use crate::counters::count;
use crate::error::RunError;
use crate::io_loop::{Inner, KEPT_CAPACITY};
use crate::ready::{Interest, Ready};
use crate::sources::{Listener, Others, SourceKey, Wait, concerned, wait};
use crate::wake::{TaskKey, WakeTarget};
use crate::{BeforePoll, IoLoop};

/// A place where readiness is kept and tasks wait for it: what streams stand on.
///
/// A source is [`attach`](Registration::attach)ed at most once, for both directions, edge-triggered; after that
/// its waits cost no syscall. Readiness stays until it is [`clear`](Registration::clear)ed, which is to be done
/// after the operation said `WouldBlock` (or after a short read or write, where that means the same).
/// A registration without a source is made ready from user space with [`set_ready`](Registration::set_ready):
/// that is how scripted transports work.
///
/// Dropping it frees the slot. It does not deregister the source: closing the descriptor does, and events that
/// still come carry a generation that no longer fits. A source that lives on must be
/// [`detach`](Registration::detach)ed first.
///
/// On a loop that has closed nothing is ever ready and no wait ends. The loop's own tasks do not see this: they are
/// dropped with it.
pub struct Registration {
    inner: Rc<Inner>,
    key: SourceKey,
}

impl Registration {
    /// Takes a slot in `io_loop`, if that has not closed. Costs no syscall. Nothing is ready at first.
    #[must_use]
    pub fn new(io_loop: &IoLoop) -> Registration {
        let inner = Rc::clone(&io_loop.inner);
        let key = if inner.closed.get() {
            SourceKey::NOTHING
        } else {
            inner.sources.borrow_mut().insert(Listener::tasks())
        };
        Registration { inner, key }
    }

    /// Has the operating system report `source` here: one `epoll_ctl`, both directions, edge-triggered.
    ///
    /// # Errors
    ///
    /// What the operating system says, for instance that the source is of a kind that cannot be polled; and for a
    /// loop that has closed.
    pub fn attach(&self, source: &mut (impl Source + ?Sized)) -> io::Result<()> {
        if self.inner.closed.get() {
            return Err(io::Error::other(RunError::Closed));
        }
        source.register(&self.inner.registry, self.key.token(), Interest::READ_WRITE.to_mio())?;
        count(&self.inner.tally.registrations);
        Ok(())
    }

    /// Ends what [`attach`](Registration::attach) began, for a source that outlives this registration.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn detach(&self, source: &mut (impl Source + ?Sized)) -> io::Result<()> {
        source.deregister(&self.inner.registry)
    }

    /// What has been seen and not been cleared. `READ_CLOSED`, `WRITE_CLOSED` and `ERROR` stay for ever.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.inner.sources.borrow_mut().get_mut(self.key).map_or(Ready::EMPTY, |source| source.ready)
    }

    /// Forgets `READABLE` or `WRITABLE`, so that the next wait waits for a new event. The flags that say that
    /// a side is closed cannot be cleared: they come once.
    #[inline]
    pub fn clear(&self, ready: Ready) {
        let sticky = Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR;
        if let Some(source) = self.inner.sources.borrow_mut().get_mut(self.key) {
            source.ready = source.ready.without(ready.without(sticky));
        }
    }

    /// Waits until `interest` is ready, closed or failed. The latest task to ask in a direction is the one told.
    ///
    /// Asking for both directions takes the place of who waits in either; use two tasks for two waits.
    #[inline]
    pub fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<Ready> {
        {
            let mut sources = self.inner.sources.borrow_mut();
            let Some(source) = sources.get_mut(self.key) else { return Poll::Pending }; // the loop has closed
            if source.ready.intersects(interest.answered_by()) {
                return Poll::Ready(source.ready);
            }
            // Nearly every wait is that of a task of this loop for input, and needs no more than this one look.
            if interest == Interest::READ
                && let Some(task) = self.inner.own_task(cx.waker())
                && source.listener.wait_to_read(task)
            {
                return Poll::Pending;
            }
        }
        self.wait_for_event(cx, interest);
        Poll::Pending
    }

    /// Waits until there is something to read, the end of the stream or an error included, and forgets `READABLE` at once, as
    /// [`clear`](Registration::clear) would after a read that comes up short: nearly every read does. After one that does not, the
    /// caller is to remember that something is left.
    #[inline]
    pub fn poll_take_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut sources = self.inner.sources.borrow_mut();
            let Some(source) = sources.get_mut(self.key) else { return Poll::Pending }; // the loop has closed
            if source.ready.is_readable() {
                source.ready = source.ready.without(Ready::READABLE);
                return Poll::Ready(());
            }
            if let Some(task) = self.inner.own_task(cx.waker())
                && source.listener.wait_to_read(task)
            {
                return Poll::Pending;
            }
        }
        self.wait_for_event(cx, Interest::READ);
        Poll::Pending
    }

    /// Leaves `target` with the source. Made before and dropped after the borrow: a foreign waker's clone and drop
    /// are foreign code.
    fn wait(&self, direction: Wait, target: WakeTarget) {
        let mut sources = self.inner.sources.borrow_mut();
        let unused = match sources.get_mut(self.key) {
            Some(source) => wait(&mut source.listener, direction, target),
            None => Some(target), // the loop has closed
        };
        drop(sources);
        drop(unused);
    }

    /// Waits until the source shows that either side is closed, or an error: also while others read and write.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Ready> {
        let ready = self.ready();
        if ready.intersects(Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR) {
            return Poll::Ready(ready);
        }
        self.wait(Wait::Closed, self.inner.wake_target(cx.waker()));
        Poll::Pending
    }

    /// Has the task told of the next event that answers `interest`, whatever has been seen before: for an operation
    /// that said `WouldBlock` although a side is reported closed or failed, which would otherwise be tried for ever.
    pub fn wait_for_event(&self, cx: &mut Context<'_>, interest: Interest) {
        for (direction, wait) in [(Interest::READ, Wait::Read), (Interest::WRITE, Wait::Write)] {
            if interest.intersects(direction) {
                self.wait(wait, self.inner.wake_target(cx.waker()));
            }
        }
    }

    /// Has `hook` called before the next poll once an event shows that a side is closed or failed, in place of a task
    /// that waits in [`poll_closed`](Registration::poll_closed). What has been seen before does not count: look at
    /// [`ready`](Registration::ready) first.
    pub fn call_when_closed(&self, hook: Rc<dyn BeforePoll>) {
        self.wait(Wait::Closed, WakeTarget::Hook(hook));
    }

    /// Has `hook` called before the next poll once writing is possible again, in place of a task that waits to
    /// write. Right away if it is possible now; a failure that was reported earlier does not count as that.
    pub fn call_when_writable(&self, hook: Rc<dyn BeforePoll>) {
        let mut sources = self.inner.sources.borrow_mut();
        let Some(source) = sources.get_mut(self.key) else { return };
        if source.ready.contains(Ready::WRITABLE) {
            drop(sources);
            return self.before_poll(hook);
        }
        drop(sources);
        self.wait(Wait::Write, WakeTarget::Hook(hook));
    }

    /// Marks both sides closed for good and tells everybody who waits: what a stream does when it closes itself.
    pub fn close(&self) {
        let gone = Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR;
        let mut sources = self.inner.sources.borrow_mut();
        let Some(source) = sources.get_mut(self.key) else { return };
        source.ready |= gone;
        let concerned = concerned(&mut source.listener, gone);
        drop(sources);
        self.inner.wake_all(concerned);
    }

    /// Lets somebody else make this ready, for as long as it lives.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier { inner: Rc::downgrade(&self.inner), key: self.key }
    }

    /// The number of the loop's current turn, for what is to happen at most so often in one turn.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.inner.tally.turns.get()
    }

    /// Makes this ready from user space. Like any event it shows, and whoever waits is told, after the next poll; so a
    /// report that is made while the source is read outlives the `clear` that follows the read.
    pub fn set_ready(&self, ready: Ready) {
        self.inner.set_ready(self.key, ready);
    }

    /// The loop that this belongs to.
    #[must_use]
    pub fn io_loop(&self) -> IoLoop {
        IoLoop::handle(Rc::clone(&self.inner))
    }

    /// Whether the loop has closed, so that nothing will be reported here any more.
    #[must_use]
    #[inline]
    pub fn is_on_closed_loop(&self) -> bool {
        self.inner.closed.get()
    }

    /// The loop's time, as [`IoLoop::now`], without making a handle.
    #[must_use]
    #[inline]
    pub fn now(&self) -> std::time::Instant {
        self.inner.now()
    }

    /// The same in units of 2²⁸ nanoseconds, a good quarter of a second, for what is noted often and need not be exact. It wraps in five hours.
    #[must_use]
    #[inline]
    pub fn coarse_now(&self) -> u16 {
        self.inner.now_in_nanos().coarse()
    }

    /// [`IoLoop::before_poll`], without making a handle.
    pub fn before_poll(&self, hook: Rc<dyn BeforePoll>) {
        self.inner.add_hook(hook);
    }

    /// Takes back a hook that has nothing left to do. Only the last that was queued is looked at: `false` if that is another,
    /// and this one is called as ever.
    pub fn take_back_before_poll(&self, hook: &Rc<impl BeforePoll>) -> bool {
        self.inner.take_back_hook(Rc::as_ptr(hook).cast())
    }
}

/// Makes a [`Registration`] ready from elsewhere in the same thread: the far end of a scripted transport.
/// Made by [`Registration::notifier`]; does nothing once the registration is gone.
#[derive(Clone)]
pub struct Notifier {
    inner: Weak<Inner>,
    key: SourceKey,
}

impl Notifier {
    /// [`Registration::set_ready`].
    pub fn set_ready(&self, ready: Ready) {
        if let Some(inner) = self.inner.upgrade() {
            inner.set_ready(self.key, ready);
        }
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let source = self.inner.sources.borrow_mut().remove(self.key);
        drop(source); // outside the borrow: it may hold foreign wakers
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Tells whoever is concerned that the source named by `key` is ready.
    pub(crate) fn tell(&self, key: SourceKey, ready: Ready) {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key) else {
            return; // an event for a source that has been removed
        };
        match source.listener.take_lone_reader(ready) {
            Ok(reader) => {
                source.ready |= ready;
                drop(sources);
                if let Some(task) = reader {
                    self.schedule(task);
                }
            }
            Err(()) => {
                drop(sources);
                self.tell_many(key, ready);
            }
        }
    }

    #[inline(never)]
    fn tell_many(&self, key: SourceKey, ready: Ready) {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key) else { return };
        if source.listener.is_handler() {
            drop(sources);
            return self.run_handler(key, ready);
        }
        source.ready |= ready;
        let concerned = concerned(&mut source.listener, ready);
        drop(sources);
        self.wake_all(concerned);
    }

    fn set_ready(&self, key: SourceKey, ready: Ready) {
        if let Some(source) = self.sources.borrow_mut().get_mut(key) {
            if source.made_ready.is_empty() && !ready.is_empty() {
                self.made_ready.borrow_mut().push(key);
            }
            source.made_ready |= ready;
        }
    }

    /// Tells whoever is concerned by sources that user code has made ready.
    pub(crate) fn tell_made_ready(&self) -> bool {
        if self.made_ready.borrow().is_empty() {
            return false;
        }
        let mut keys = self.made_ready.take();
        for key in keys.drain(..) {
            let mut sources = self.sources.borrow_mut();
            let Some(source) = sources.get_mut(key) else { continue };
            let ready = std::mem::take(&mut source.made_ready);
            source.ready |= ready;
            let concerned = concerned(&mut source.listener, ready);
            drop(sources);
            self.wake_all(concerned);
        }
        let mut list = self.made_ready.borrow_mut();
        if list.is_empty() {
            *list = keys; // its memory serves again
            list.shrink_to(KEPT_CAPACITY);
        }
        true
    }

    fn wake_all(&self, (reader, others): (Option<TaskKey>, Option<Others>)) {
        if let Some(task) = reader {
            self.schedule(task);
        }
        if let Some(others) = others {
            self.wake_others(others);
        }
    }

    #[cold]
    fn wake_others(&self, others: Others) {
        for target in others.into_targets() {
            self.wake(target);
        }
    }
}
