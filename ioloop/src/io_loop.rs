//! The loop itself: one handle, one thread, and the state that its parts share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::alarm::Alarm;
use crate::before_poll::BeforePoll;
use crate::clock::Clock;
use crate::counters::{Counters, Tally, count};
use crate::executor::{FreeWakers, Tasks};
use crate::measurements::Gauge;
use crate::order::Order;
use crate::origin::{Place, WorkKind};
use crate::panics::ErrorHook;
use crate::random::Random;
use crate::remote::{Message, Remote, Shared};
use crate::running::Dispatch;
use crate::sources::{SourceKey, Sources, WAKER};
use crate::thread_pool::Lanes;
use crate::timers::{Nanos, TimerKey, Timers};
use crate::trim::{Reserve, merge_free_memory, move_to_fit};
use crate::wake::{TaskKey, WakeTarget};

/// Events taken from the operating system at a time. More wait for the next turn.
const EVENTS_PER_POLL: usize = 1024;

/// The longest sleep of a poll (IL23): some pollers count milliseconds in 32 bits.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

/// A queue that was longer than this once gives its memory back when it is empty.
pub(crate) const KEPT_CAPACITY: usize = 4_096;

/// After so many polls of tasks the turn in which they were asks the operating system again, though more are ready. It
/// spreads the cost of that over them.
pub(crate) const RUNS_PER_POLL: usize = 61;

/// Things of one kind that a turn runs at most; others that are ready, or due, have the next one. As many as a poll has events, so
/// that the queue does not grow while a server is merely busy: it is for a crowd that is told something all at once.
pub(crate) const RUNS_PER_TURN: usize = EVENTS_PER_POLL;

/// After so long the same is done: tasks that are not quick do not keep events waiting. Against this the poll costs little.
pub(crate) const NANOS_PER_POLL: u64 = 100_000;

/// How many tasks are polled between two looks at the clock that find out.
pub(crate) const RUNS_PER_LOOK: usize = 8;

static LOOPS_MADE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: RefCell<Option<IoLoop>> = const { RefCell::new(None) };
}

/// An event loop: Tornado's `IOLoop`.
///
/// This is a handle, cheap to clone and bound to its thread; what crosses threads is [`Remote`]. When the last
/// handle goes, the loop closes: its tasks, handlers, timers and callbacks are dropped. (A handle kept inside
/// a task or a callback of the same loop keeps it alive, and so does an `IoLoop::current()` in an expression that ends in `.await`, for
/// as long as that waits; [`close`](IoLoop::close) ends that.)
#[doc(alias = "IOLoop")]
pub struct IoLoop {
    pub(crate) inner: Rc<Inner>,
}

/// Handles of one loop are equal.
impl PartialEq for IoLoop {
    fn eq(&self, other: &IoLoop) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for IoLoop {}

/// A callback that says first, in the loop it runs on, where it came from.
pub(crate) type Callback = Box<dyn FnOnce(&Inner)>;

/// What is ready to run, in the order in which it became so.
pub(crate) enum Runnable {
    Call(Callback),
    Task(TaskKey),
}

pub(crate) struct Inner {
    /// Which of the process's loops this is, so that an id of another one is not mistaken for one of ours.
    pub(crate) number: usize,
    pub(crate) poll: RefCell<mio::Poll>,
    /// Out of its place while the events of a poll are handed out.
    pub(crate) events: Cell<Option<mio::Events>>,
    pub(crate) registry: mio::Registry,
    alarm: Alarm,
    pub(crate) clock: Clock,
    now_in_nanos: Cell<Nanos>,
    /// The time that was last asked for as an `Instant`: often, but not in every turn.
    now: Cell<(Nanos, Instant)>,
    /// When the loop was made, from which its timers count.
    pub(crate) epoch: Instant,
    pub(crate) random: Random,
    pub(crate) order: Order,
    pub(crate) ready: RefCell<VecDeque<Runnable>>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) due: RefCell<Vec<TimerKey>>,
    pub(crate) sources: RefCell<Sources>,
    /// Sources made ready from user space since the last poll.
    pub(crate) made_ready: RefCell<Vec<SourceKey>>,
    pub(crate) before_poll: RefCell<Vec<Rc<dyn BeforePoll>>>,
    /// For work that blocks, by name.
    pub(crate) lanes: RefCell<Lanes>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) received: RefCell<Vec<Message>>,
    pub(crate) running: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// Whether the turn ends with [`shrink_to_fit`](IoLoop::shrink_to_fit).
    pub(crate) is_to_shrink: Cell<bool>,
    memory_reserve: RefCell<Option<Reserve>>,
    pub(crate) closed: Cell<bool>,
    pub(crate) free_wakers: FreeWakers,
    /// The task that is being polled, with the address of its waker.
    pub(crate) polled: Cell<Option<(TaskKey, *const ())>>,
    /// How many callbacks and tasks have run since the last poll; [`RUNS_PER_POLL`] once one of them gives way to it.
    pub(crate) ran_since_poll: Cell<usize>,
    /// What that was when the clock was last looked at.
    pub(crate) ran_at_last_look: Cell<usize>,
    pub(crate) tally: Tally,
    pub(crate) dispatch: Dispatch,
    pub(crate) gauge: Gauge,
    pub(crate) error_hook: RefCell<Option<ErrorHook>>,
    /// How many `IoLoop` handles exist. Registrations and timeouts hold the state without counting here, so
    /// that a task which owns a stream does not keep its own loop from closing.
    handles: Cell<usize>,
}

impl IoLoop {
    /// Makes a loop on the operating system's monotonic clock. It is not current before it runs.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for the poller (four are needed on Linux).
    pub fn new() -> io::Result<IoLoop> {
        let clock = Clock::real();
        let random = Random::new(&clock);
        IoLoop::with_clock(clock, random, Order::AsPromised)
    }

    pub(crate) fn with_clock(clock: Clock, random: Random, order: Order) -> io::Result<IoLoop> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKER)?;
        let alarm = Alarm::new(&registry)?;
        let epoch = clock.epoch();
        let now = Nanos::between(epoch, epoch);
        let inner = Inner {
            number: LOOPS_MADE.fetch_add(1, Ordering::Relaxed),
            poll: RefCell::new(poll),
            events: Cell::new(None),
            registry,
            alarm,
            random,
            order,
            clock,
            now: Cell::new((now, epoch)),
            now_in_nanos: Cell::new(now),
            epoch,
            ready: RefCell::default(),
            tasks: RefCell::new(Tasks::new()),
            free_wakers: FreeWakers::default(),
            timers: RefCell::new(Timers::new(epoch)),
            due: RefCell::default(),
            sources: RefCell::new(Sources::new()),
            made_ready: RefCell::default(),
            before_poll: RefCell::default(),
            lanes: RefCell::default(),
            shared: Arc::new(Shared::new(waker)),
            received: RefCell::default(),
            running: Cell::new(false),
            stopping: Cell::new(false),
            is_to_shrink: Cell::new(false),
            memory_reserve: RefCell::default(),
            closed: Cell::new(false),
            polled: Cell::new(None),
            ran_since_poll: Cell::new(0),
            ran_at_last_look: Cell::new(0),
            tally: Tally::default(),
            dispatch: Dispatch::new(),
            gauge: Gauge::new(now),
            error_hook: RefCell::default(),
            handles: Cell::new(0),
        };
        Ok(IoLoop::handle(Rc::new(inner)))
    }

    /// The loop of this thread: the one that runs or was made current, whichever came last, else a new one that
    /// becomes this thread's and closes with it (IL37, `IOLoop.current()` and `IOLoop.instance()`).
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
        // In the destructors of a thread that ends there is no current loop any more, and that is no reason to panic.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Makes this the loop that [`current`](IoLoop::current) gives on this thread, until another is made so.
    pub fn make_current(&self) {
        drop(replace_current(Some(self.clone())));
    }

    /// Leaves the thread without a current loop; harmless where there is none (IL37).
    pub fn clear_current() {
        drop(replace_current(None));
    }

    /// A way to reach this loop from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { shared: Arc::clone(&self.inner.shared) }
    }

    /// The time; monotonic (`IOLoop.time()`, IL17). While the loop runs it is read once a turn, when it polls.
    ///
    /// Code that runs for long within one turn sees this stand still, and a delay counted from it is that much
    /// shorter.
    #[must_use]
    #[doc(alias = "time")]
    pub fn now(&self) -> Instant {
        self.inner.now()
    }

    /// The time as it is at this moment, for measuring what takes part of a turn: each call reads the clock. On virtual time it is
    /// what [`now`](IoLoop::now) says.
    #[must_use]
    pub fn precise_now(&self) -> Instant {
        self.inner.clock.now()
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
    #[track_caller]
    pub fn add_callback(&self, callback: impl FnOnce() + 'static) {
        if !self.inner.closed.get() {
            let callback = announced(WorkKind::Callback, Location::caller(), callback);
            self.inner.ready.borrow_mut().push_back(Runnable::Call(callback));
        }
    }

    /// Gives back to the allocator what the loop's queues and tables have room for and do not need now. They keep some, so that a burst
    /// allocates nothing; this is for after a crowd of tasks, sources and timers that will not soon be back. What comes next makes room
    /// anew. A loop that runs does it at the end of the turn, when what the turn has used is free too.
    ///
    /// It also has the allocator find that the end of its heap is free, as far as it is. glibc's gives that back to the operating system,
    /// where it would keep all that is before a few small blocks; to others it is some thousand blocks that come and go.
    pub fn shrink_to_fit(&self) {
        match self.inner.running.get() {
            true => self.inner.is_to_shrink.set(true),
            false => self.inner.shrink_to_fit(),
        }
    }

    /// Closes the loop: every task, handler, timer and callback is dropped, and what is added later is dropped
    /// at once (IL12, IL36). Sources owned by handlers are closed by their drop. A panic in one of these drops is
    /// logged and keeps nothing else open.
    ///
    /// From inside a running loop it also stops it, and the task that called it is dropped when its poll returns.
    /// Harmless when repeated. The poller's own descriptors go with the last handle, registration, [`Deadline`](crate::Deadline) and [`Remote`].
    ///
    /// If it is the thread's [current](IoLoop::current) loop it stays that, and cannot run any more:
    /// [`clear_current`](IoLoop::clear_current) makes room for a new one.
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
    /// The time of the turn. Between runs nothing else reads the clock, and a stale time would make timers early.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        let nanos = self.now_in_nanos();
        let (then, known) = self.now.get();
        if then == nanos {
            return known;
        }
        let now = nanos.after(self.epoch);
        self.now.set((nanos, now));
        now
    }

    /// The same as the loop's timers count.
    #[inline]
    pub(crate) fn now_in_nanos(&self) -> Nanos {
        match self.running.get() {
            true => self.now_in_nanos.get(),
            false => self.look_from_outside(),
        }
    }

    #[cold]
    fn look_from_outside(&self) -> Nanos {
        self.look_at_clock()
    }

    /// Makes it the time of the turn, and gives that.
    #[inline]
    pub(crate) fn look_at_clock(&self) -> Nanos {
        let now = self.clock.now_in_nanos(self.epoch);
        self.now_in_nanos.set(now);
        now
    }

    /// The task that `waker` wakes, if it is the one that the loop is polling.
    #[inline]
    pub(crate) fn own_task(&self, waker: &std::task::Waker) -> Option<TaskKey> {
        self.polled.get().filter(|(_, address)| waker.data() == *address).map(|(key, _)| key)
    }

    /// Turns a loop's own waker into the key of its task; keeps any other waker as it is.
    #[inline]
    pub(crate) fn wake_target(&self, waker: &std::task::Waker) -> WakeTarget {
        match self.own_task(waker) {
            Some(key) => WakeTarget::Task(key),
            None => WakeTarget::Waker(waker.clone()),
        }
    }

    /// Tells `target`. A foreign waker is foreign code: its panic must not cost the others their wake.
    pub(crate) fn wake(&self, target: WakeTarget) {
        match target {
            WakeTarget::Task(key) => self.schedule(key),
            WakeTarget::Hook(hook) => self.add_hook(hook),
            WakeTarget::Waker(waker) => {
                self.quietly("waker", || waker.wake());
            }
        }
    }

    /// Queues a hook; a loop that has closed drops it, or the two would keep each other alive.
    pub(crate) fn add_hook(&self, hook: Rc<dyn BeforePoll>) {
        if !self.closed.get() {
            self.before_poll.borrow_mut().push(hook);
        }
    }

    /// Takes a hook back, if it was queued last; `false` if it is to be called as ever.
    pub(crate) fn take_back_hook(&self, hook: *const ()) -> bool {
        let last = self.before_poll.borrow_mut().pop_if(|last| Rc::as_ptr(last).cast() == hook);
        last.is_some()
    }

    /// Takes over what other threads have posted.
    pub(crate) fn receive(&self) {
        let mut received = self.received.take();
        if let Some(posted) = self.shared.inbox.swap(&mut received) {
            self.gauge.inbox_emptied(posted.elapsed());
        }
        for message in received.drain(..) {
            count(&self.tally.messages);
            match message {
                Message::Call(callback) => self.ready.borrow_mut().push_back(Runnable::Call(callback)),
                Message::Wake(waker) => waker.posted.receive(|| self.schedule(waker.key())),
                Message::Stop => self.stopping.set(true),
            }
        }
        received.shrink_to(KEPT_CAPACITY);
        self.received.replace(received);
    }

    /// How long the poll may sleep: not at all if something is ready, else to the next deadline. And from when it sleeps,
    /// if it may.
    pub(crate) fn sleep_at_most(&self) -> (Option<Duration>, Option<Nanos>) {
        let something_ready = !self.ready.borrow().is_empty()
            || !self.made_ready.borrow().is_empty()
            || !self.before_poll.borrow().is_empty()
            || self.stopping.get();
        if something_ready {
            return (Some(Duration::ZERO), None);
        }
        // A second look at the clock, but only before a sleep: what ran since the first must not make a timer late.
        let now = self.clock.now_in_nanos(self.epoch);
        let deadline = self.timers.borrow_mut().next_deadline();
        let needs_timeout = |deadline: &Nanos| !self.alarm.ends_sleep_by(*deadline, now);
        let at_most =
            deadline.filter(needs_timeout).map(|deadline| Duration::from_nanos(deadline.since(now)));
        (at_most.map(|at_most| at_most.min(LONGEST_SLEEP)), Some(now))
    }

    pub(crate) fn shrink_to_fit(&self) {
        // Twice: first into whatever hole there is, and when all are one, to its beginning.
        for _ in 0..2 {
            merge_free_memory();
            self.give_memory_reserve_back();
            self.move_to_fit();
            self.take_memory_reserve();
        }
        merge_free_memory();
        self.give_memory_reserve_back();
        self.take_memory_reserve();
    }

    /// Takes the reserve, if there is none.
    pub(crate) fn take_memory_reserve(&self) {
        self.memory_reserve.borrow_mut().get_or_insert_with(Reserve::new);
    }

    fn give_memory_reserve_back(&self) {
        self.memory_reserve.take();
    }

    fn move_to_fit(&self) {
        self.free_wakers.clear();
        let mut ready = self.ready.take().into();
        move_to_fit(&mut ready);
        self.ready.replace(ready.into());
        self.timers.borrow_mut().shrink_to_fit();
        self.tasks.borrow_mut().shrink_to_fit();
        self.sources.borrow_mut().shrink_to_fit();
        move_to_fit(&mut self.due.borrow_mut());
        move_to_fit(&mut self.before_poll.borrow_mut());
        move_to_fit(&mut self.made_ready.borrow_mut());
        move_to_fit(&mut self.received.borrow_mut());
    }

    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        self.stopping.set(true);
        // Each table is emptied before what was in it is dropped: a destructor may call the loop, and then
        // finds it closed and empty.
        self.drop_each(self.shared.inbox.close());
        self.drop_each(self.ready.take());
        let tasks = self.tasks.borrow_mut().drain();
        self.drop_each(tasks);
        let callbacks = self.timers.borrow_mut().drain();
        self.drop_each(callbacks);
        let sources = self.sources.borrow_mut().drain();
        self.drop_each(sources);
        self.drop_each(self.before_poll.take());
        self.drop_each(self.error_hook.take());
        self.drop_each(self.gauge.turn_hook.take());
        self.made_ready.take();
        self.close_lanes();
    }

    /// Drops what a closing loop held, one by one: a destructor that panics keeps nothing else alive.
    fn drop_each<T>(&self, items: impl IntoIterator<Item = T>) {
        for item in items {
            self.quietly("destructor", || drop(item));
        }
    }

    /// The buffer for the events of one poll.
    pub(crate) fn take_events(&self) -> mio::Events {
        self.events.take().unwrap_or_else(|| mio::Events::with_capacity(EVENTS_PER_POLL))
    }
}

/// Has `callback` say where it came from before it runs.
pub(crate) fn announced<F: FnOnce() + 'static>(
    kind: WorkKind,
    at: &'static Location<'static>,
    callback: F,
) -> Callback {
    let place = Place::of::<F>(kind, at);
    Box::new(move |inner| {
        inner.dispatch.began(place);
        callback();
    })
}

/// Puts a loop in the place of this thread's. The caller drops the one before, outside the borrow: a last handle
/// closes its loop.
fn replace_current(io_loop: Option<IoLoop>) -> Option<IoLoop> {
    CURRENT.try_with(|current| current.replace(io_loop)).ok().flatten()
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
        CurrentGuard { previous: replace_current(Some(io_loop.clone())) }
    }
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        drop(replace_current(self.previous.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crowd_has_left_room_for_is_given_back_when_asked_for() {
        let io_loop = IoLoop::new().expect("a loop");
        for _ in 0..1_000 {
            io_loop.spawn_detached(crate::yield_now());
            drop(io_loop.call_later(std::time::Duration::ZERO, || {}));
        }
        io_loop.call_later(std::time::Duration::from_millis(1), || IoLoop::current().stop());
        io_loop.start().expect("it runs");
        let room = |io_loop: &IoLoop| {
            [io_loop.inner.ready.borrow().capacity(), io_loop.inner.timers.borrow().room()]
        };
        assert!(room(&io_loop).iter().all(|room| *room >= 1_000));
        io_loop.shrink_to_fit();
        assert_eq!(room(&io_loop), [0, 0]);
    }
}
