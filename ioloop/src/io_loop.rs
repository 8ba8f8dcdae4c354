//! The loop itself: one handle, one thread, and the state that its parts share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::before_poll::BeforePoll;
use crate::clock::Clock;
use crate::counters::{Counters, Tally};
use crate::executor::Tasks;
use crate::remote::{Message, Remote, Shared};
use crate::sources::{SourceKey, Sources, WAKER};
use crate::timers::{TimerKey, Timers};
use crate::wake::{TaskKey, TaskWaker, WakeTarget};

/// Events taken from the operating system at a time. More wait for the next turn.
const EVENTS_PER_POLL: usize = 1024;

thread_local! {
    static CURRENT: RefCell<Option<IoLoop>> = const { RefCell::new(None) };
}

/// An event loop: Tornado's `IOLoop`.
///
/// This is a handle, cheap to clone and bound to its thread; what crosses threads is [`Remote`]. When the last
/// handle goes, the loop closes: its tasks, handlers, timers and callbacks are dropped. (A handle kept inside
/// a task or a callback of the same loop keeps it alive; [`close`](IoLoop::close) ends that.)
#[doc(alias = "IOLoop")]
pub struct IoLoop {
    pub(crate) inner: Rc<Inner>,
}

/// What is ready to run, in the order in which it became so.
pub(crate) enum Runnable {
    Call(Box<dyn FnOnce()>),
    Task(TaskKey),
}

pub(crate) struct Inner {
    pub(crate) poll: RefCell<mio::Poll>,
    pub(crate) events: RefCell<mio::Events>,
    pub(crate) registry: mio::Registry,
    pub(crate) clock: Clock,
    pub(crate) now: Cell<Instant>,
    pub(crate) ready: RefCell<VecDeque<Runnable>>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) due: RefCell<Vec<TimerKey>>,
    pub(crate) sources: RefCell<Sources>,
    /// Sources made ready from user space since the last poll.
    pub(crate) made_ready: RefCell<Vec<SourceKey>>,
    pub(crate) before_poll: RefCell<Vec<Rc<dyn BeforePoll>>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) received: RefCell<Vec<Message>>,
    pub(crate) running: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    pub(crate) closed: Cell<bool>,
    /// The task that is being polled, with the address of its waker.
    pub(crate) polled: Cell<Option<(TaskKey, *const ())>>,
    pub(crate) tally: Tally,
    /// How many `IoLoop` handles exist. Registrations and timeouts hold the state without counting here, so
    /// that a task which owns a stream does not keep its own loop from closing.
    handles: Cell<usize>,
}

impl IoLoop {
    /// Makes a loop on the operating system's monotonic clock. It is not current before it runs.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for the poller (two are needed on Linux).
    pub fn new() -> io::Result<IoLoop> {
        IoLoop::with_clock(Clock::Real)
    }

    pub(crate) fn with_clock(clock: Clock) -> io::Result<IoLoop> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKER)?;
        let now = clock.now();
        let inner = Inner {
            poll: RefCell::new(poll),
            events: RefCell::new(mio::Events::with_capacity(EVENTS_PER_POLL)),
            registry,
            clock,
            now: Cell::new(now),
            ready: RefCell::default(),
            tasks: RefCell::new(Tasks::new()),
            timers: RefCell::new(Timers::new(now)),
            due: RefCell::default(),
            sources: RefCell::new(Sources::new()),
            made_ready: RefCell::default(),
            before_poll: RefCell::default(),
            shared: Arc::new(Shared::new(waker)),
            received: RefCell::default(),
            running: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            polled: Cell::new(None),
            tally: Tally::default(),
            handles: Cell::new(0),
        };
        Ok(IoLoop::handle(Rc::new(inner)))
    }

    /// The loop of this thread: the one that runs, else the one that was made current, else a new one that
    /// becomes this thread's (IL37, `IOLoop.current()` and `IOLoop.instance()`).
    ///
    /// # Panics
    ///
    /// When a loop must be made and the operating system refuses; [`IoLoop::new`] returns that error instead.
    #[must_use]
    #[doc(alias = "instance")]
    pub fn current() -> IoLoop {
        IoLoop::try_current().unwrap_or_else(|| {
            let fresh = IoLoop::new().expect("the operating system refused a poller");
            fresh.make_current();
            fresh
        })
    }

    /// The loop of this thread, if there is one: `IOLoop.current(instance=False)`.
    #[must_use]
    pub fn try_current() -> Option<IoLoop> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Makes this the loop that [`current`](IoLoop::current) gives on this thread, until another is made so.
    pub fn make_current(&self) {
        let previous = CURRENT.replace(Some(self.clone()));
        drop(previous); // outside the borrow: it may be a last handle, which closes its loop
    }

    /// Leaves the thread without a current loop; harmless where there is none (IL37).
    pub fn clear_current() {
        let previous = CURRENT.take();
        drop(previous);
    }

    /// A way to reach this loop from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { shared: Arc::clone(&self.inner.shared) }
    }

    /// The time, read once a turn; monotonic (`IOLoop.time()`, IL17).
    ///
    /// Code that runs for long within one turn sees this stand still.
    #[must_use]
    #[doc(alias = "time")]
    pub fn now(&self) -> Instant {
        self.inner.now.get()
    }

    /// What the loop has done since it was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters()
    }

    /// Queues `callback` for the next turn; never runs it at once (IL9-IL11).
    ///
    /// Callbacks run in the order they were added, and those added meanwhile wait for the turn after, so a
    /// callback that adds itself again starves nobody. A panic is logged and stops nothing (IL13). On a loop
    /// that has closed the callback is dropped (IL12). From another thread, use [`Remote::add_callback`].
    #[doc(alias = "spawn_callback")]
    pub fn add_callback(&self, callback: impl FnOnce() + 'static) {
        if !self.inner.closed.get() {
            self.inner.ready.borrow_mut().push_back(Runnable::Call(Box::new(callback)));
        }
    }

    /// Closes the loop: every task, handler, timer and callback is dropped, and what is added later is dropped
    /// at once (IL12, IL36). Sources owned by handlers are closed by their drop.
    ///
    /// From inside a running loop it also stops it. Harmless when repeated.
    pub fn close(&self) {
        self.inner.close();
    }

    pub(crate) fn handle(inner: Rc<Inner>) -> IoLoop {
        inner.handles.set(inner.handles.get() + 1);
        IoLoop { inner }
    }
}

impl Clone for IoLoop {
    fn clone(&self) -> IoLoop {
        IoLoop::handle(Rc::clone(&self.inner))
    }
}

impl Drop for IoLoop {
    fn drop(&mut self) {
        let left = self.inner.handles.get() - 1;
        self.inner.handles.set(left);
        if left == 0 {
            self.inner.close();
        }
    }
}

impl std::fmt::Debug for IoLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoLoop").field("running", &self.inner.running.get()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Turns a loop's own waker into the key of its task; keeps any other waker as it is.
    pub(crate) fn wake_target(&self, waker: &std::task::Waker) -> WakeTarget {
        match self.polled.get() {
            Some((key, address)) if waker.data() == address => WakeTarget::Task(key),
            _ => WakeTarget::Waker(waker.clone()),
        }
    }

    pub(crate) fn wake(&self, target: WakeTarget) {
        match target {
            WakeTarget::Task(key) => self.schedule(key),
            WakeTarget::Waker(waker) => waker.wake(),
            WakeTarget::Hook(hook) => self.before_poll.borrow_mut().push(hook),
        }
    }

    /// Takes over what other threads have posted.
    pub(crate) fn receive(&self) {
        let mut received = self.received.take();
        self.shared.swap(&mut received);
        for message in received.drain(..) {
            match message {
                Message::Call(callback) => self.ready.borrow_mut().push_back(Runnable::Call(callback)),
                Message::Wake(waker) => self.receive_wake(&waker),
                Message::Stop => self.stopping.set(true),
            }
        }
        self.received.replace(received);
    }

    fn receive_wake(&self, waker: &TaskWaker) {
        // Before the task is scheduled: a wake that comes after this swap must post again.
        waker.posted.swap(false, std::sync::atomic::Ordering::AcqRel);
        self.schedule(waker.key);
    }

    /// How long the poll may sleep: not at all if something is ready, else to the next deadline.
    pub(crate) fn sleep_at_most(&self) -> Option<Duration> {
        let something_ready = !self.ready.borrow().is_empty()
            || !self.made_ready.borrow().is_empty()
            || !self.before_poll.borrow().is_empty()
            || self.stopping.get();
        if something_ready {
            return Some(Duration::ZERO);
        }
        let deadline = self.timers.borrow_mut().next_deadline()?;
        // A second look at the clock, but only before a sleep: what ran since the first must not make a timer late.
        Some(deadline.saturating_duration_since(self.clock.now()))
    }

    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        self.stopping.set(true);
        self.shared.close();
        // Each table is emptied before what was in it is dropped: a destructor may call the loop, and then
        // finds it closed and empty.
        let calls = self.ready.take();
        drop(calls);
        let tasks = self.tasks.borrow_mut().drain();
        drop(tasks);
        let actions = self.timers.borrow_mut().drain();
        drop(actions);
        let sources = self.sources.borrow_mut().drain();
        drop(sources);
        let hooks = self.before_poll.take();
        drop(hooks);
    }
}

/// Runs `f` with this thread's current loop, if there is one and the thread is not being torn down.
pub(crate) fn with_current<R>(f: impl FnOnce(&Inner) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.try_borrow().ok()?.as_ref().map(|io_loop| f(&io_loop.inner))).ok()?
}

/// Makes a loop current for as long as it lives, then restores the one before (IL37).
pub(crate) struct CurrentGuard {
    previous: Option<IoLoop>,
}

impl CurrentGuard {
    pub(crate) fn enter(io_loop: &IoLoop) -> CurrentGuard {
        CurrentGuard { previous: CURRENT.replace(Some(io_loop.clone())) }
    }
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        let ours = CURRENT.replace(self.previous.take());
        drop(ours);
    }
}
