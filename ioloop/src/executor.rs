//! Tasks: a table of futures, each lent a waker that knows its place while it is polled, and the run queue's side of waking.
//! Step 4 of path 3 through the house (see ARCHITECTURE.md).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::IoLoop;
use crate::counters::count;
use crate::io_loop::{Inner, Runnable};
use crate::join::{JoinHandle, Joinable};
use crate::origin::{Place, WorkKind};
use crate::table::Table;
use crate::wake::{LentWaker, TaskKey};

/// A task as the table keeps it, and as it travels while it is polled.
pub(crate) struct Body {
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// Of a task that has given clones of its waker away.
    waker: Option<Box<LentWaker>>,
}

/// Wakers that nobody has a clone of: as many as are lent at a time, and some.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "tasks hold the boxes, which travel in and out as they are")]
pub(crate) struct FreeWakers {
    /// Nearly always the only one: each task gives it back before the next is polled.
    next: Cell<Option<Box<LentWaker>>>,
    others: RefCell<Vec<Box<LentWaker>>>,
}

impl FreeWakers {
    #[inline]
    fn take(&self) -> Option<Box<LentWaker>> {
        self.next.take().or_else(|| self.others.borrow_mut().pop())
    }

    #[inline]
    fn put(&self, waker: Box<LentWaker>) {
        if let Some(other) = self.next.replace(Some(waker)) {
            self.keep(other);
        }
    }

    pub(crate) fn clear(&self) {
        drop((self.next.take(), self.others.take()));
    }

    #[cold]
    fn keep(&self, waker: Box<LentWaker>) {
        let mut others = self.others.borrow_mut();
        if others.len() < KEEP_WAKERS {
            others.push(waker);
        }
    }
}

/// So many tasks are no crowd yet, but what is made for the first ones and lives on is there. The fewer they are the fewer pages have
/// been written to before the [reserve](crate::trim::Reserve) is taken: with TLS a connection is 8 KiB.
const A_FEW: u32 = 8;

/// Free wakers that are kept.
const KEEP_WAKERS: usize = 64;

struct Task {
    standing: Standing,
    /// Out of its place while it is polled. `None` in a slot whose future lives elsewhere: see `Inner::reserve`.
    body: Option<Body>,
    place: Place,
}

/// A task's generation, and whether the run queue holds the task, in one word that is never zero: by that a table tells which
/// of its places are free.
struct Standing(NonZeroU32);

impl Standing {
    /// Above all generations.
    const SCHEDULED: u32 = 1 << 31;

    /// Of a task that the run queue does not hold.
    fn waiting(generation: NonZeroU32) -> Standing {
        Standing(generation)
    }

    fn is_of(&self, generation: NonZeroU32) -> bool {
        self.0.get() & !Self::SCHEDULED == generation.get()
    }

    /// Notes that the run queue holds the task; `false` if it did before.
    fn schedule(&mut self) -> bool {
        let before = self.0;
        self.0 |= Self::SCHEDULED;
        before != self.0
    }
}

/// All tasks of one loop.
pub(crate) struct Tasks {
    slots: Table<Task>,
    next_generation: NonZeroU32,
}

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks { slots: Table::new(), next_generation: NonZeroU32::MIN }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }

    fn insert(&mut self, place: Place) -> TaskKey {
        let generation = self.next_generation;
        let next = generation.checked_add(1).filter(|next| next.get() < Standing::SCHEDULED);
        self.next_generation = next.unwrap_or(NonZeroU32::MIN);
        let slot = self.slots.insert(Task { standing: Standing::waiting(generation), body: None, place });
        TaskKey { slot, generation }
    }

    fn get_mut(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slots.get_mut(key.slot).filter(|task| task.standing.is_of(key.generation))
    }

    fn remove(&mut self, key: TaskKey) -> Option<Body> {
        self.get_mut(key)?;
        self.slots.remove(key.slot)?.body
    }

    /// Takes every task out, for a loop that closes.
    pub(crate) fn drain(&mut self) -> Vec<Body> {
        self.slots.drain().filter_map(|task| task.body).collect()
    }
}

/// What became of a task that stood in the run queue.
pub(crate) enum Ran {
    Polled,
    /// Its slot has no future: the caller has it.
    Elsewhere,
    /// It had ended: one that closes its own stream, for instance, has itself told of that.
    Ended,
}

impl IoLoop {
    /// Runs `future` as a task of this loop, beginning with the next turn.
    ///
    /// Dropping the handle lets the task run on by itself; [`JoinHandle::abort`] ends it. A panic ends that
    /// task alone: it is logged with the place of this call, and is a [`JoinError`](crate::JoinError).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let place = Place::of::<F>(WorkKind::Task, Location::caller());
        let (joinable, result) = Joinable::new(future);
        let key = self.inner.spawn_in_place(joinable, place);
        JoinHandle::new(std::rc::Rc::downgrade(&self.inner), key, result)
    }

    /// Runs `future` as a task that nobody waits for: [`spawn`](IoLoop::spawn) without the cost of a handle.
    #[track_caller]
    pub fn spawn_detached<F: Future<Output = ()> + 'static>(&self, future: F) {
        self.inner.spawn_in_place(future, Place::of::<F>(WorkKind::Task, Location::caller()));
    }
}

impl Inner {
    /// Makes `future` a task of this loop, whichever is current.
    pub(crate) fn spawn_in_place(
        &self,
        future: impl Future<Output = ()> + 'static,
        place: Place,
    ) -> Option<TaskKey> {
        if self.closed.get() {
            return None; // the future is dropped: a closed loop runs nothing (IL12)
        }
        let key = self.reserve(place);
        let body = Body { future: Box::pin(future), waker: None };
        if let Some(task) = self.tasks.borrow_mut().get_mut(key) {
            task.body = Some(body);
        }
        self.schedule(key);
        Some(key)
    }

    /// Makes a slot without a future in it. `run_sync` keeps its future on the stack and only the slot here.
    pub(crate) fn reserve(&self, place: Place) -> TaskKey {
        let key = self.tasks.borrow_mut().insert(place);
        if key.slot == A_FEW {
            self.take_memory_reserve();
        }
        key
    }

    /// Where a task that has not ended was spawned.
    #[cfg(feature = "testing")]
    pub(crate) fn place_of(&self, key: TaskKey) -> Place {
        self.tasks.borrow_mut().get_mut(key).map_or(Place::NONE, |task| task.place)
    }

    /// Puts a task onto the run queue unless it stands there already; ignores one that has ended.
    #[inline]
    pub(crate) fn schedule(&self, key: TaskKey) {
        if let Some(task) = self.tasks.borrow_mut().get_mut(key)
            && task.standing.schedule()
        {
            self.ready.borrow_mut().push_back(Runnable::Task(key));
        }
    }

    /// Polls a task of the run queue.
    pub(crate) fn run_task(&self, key: TaskKey) -> Ran {
        let body = match self.tasks.borrow_mut().get_mut(key) {
            Some(task) => {
                task.standing = Standing::waiting(key.generation);
                task.body.take().map(|body| (body, task.place))
            }
            None => return Ran::Ended,
        };
        let Some((mut body, place)) = body else { return Ran::Elsewhere };
        self.dispatch.began(place);
        let lent = body.waker.take().unwrap_or_else(|| self.lend_waker(key));
        let polled = self.poll_task(key, &lent.waker, |cx| body.future.as_mut().poll(cx));
        body.waker = self.take_back(lent);
        match polled {
            Ok(Poll::Pending) => self.put_back(key, body),
            Ok(Poll::Ready(())) => self.end_task(key, body),
            Err(panic) => {
                self.failed(panic);
                self.end_task(key, body);
            }
        }
        Ran::Polled
    }

    /// Polls with the key and waker of the task known, so that what it waits for can keep the key alone.
    pub(crate) fn poll_task<T>(
        &self,
        key: TaskKey,
        waker: &Waker,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Result<Poll<T>, Box<dyn std::any::Any + Send>> {
        count(&self.tally.task_polls);
        let outer = self.polled.replace(Some((key, waker.data())));
        let result = catch_unwind(AssertUnwindSafe(|| poll(&mut Context::from_waker(waker))));
        self.polled.set(outer);
        result
    }

    fn lend_waker(&self, key: TaskKey) -> Box<LentWaker> {
        match self.free_wakers.take() {
            Some(waker) => {
                waker.is_now_for(key);
                waker
            }
            None => LentWaker::new(key, Arc::clone(&self.shared)),
        }
    }

    /// Keeps a waker for the next task that is polled, unless somebody has a clone: then it stays with its own.
    fn take_back(&self, lent: Box<LentWaker>) -> Option<Box<LentWaker>> {
        if !lent.is_free() {
            return Some(lent);
        }
        self.free_wakers.put(lent);
        None
    }

    fn put_back(&self, key: TaskKey, body: Body) {
        let mut tasks = self.tasks.borrow_mut();
        match tasks.get_mut(key) {
            Some(task) => task.body = Some(body),
            None => {
                // Aborted, or the loop was closed, while it was being polled.
                drop(tasks);
                drop_quietly(self, body);
            }
        }
    }

    /// Ends a task wherever it is; one that is being polled right now is dropped when its poll returns.
    pub(crate) fn end_by_key(&self, key: TaskKey) {
        let body = self.tasks.borrow_mut().remove(key);
        if let Some(body) = body {
            drop_quietly(self, body);
        }
    }

    fn end_task(&self, key: TaskKey, body: Body) {
        self.tasks.borrow_mut().remove(key);
        drop_quietly(self, body);
    }
}

/// Drops a task's future; a panic in a destructor costs no more than a panic in the task.
fn drop_quietly(inner: &Inner, body: Body) {
    inner.quietly("destructor of a task", || drop(body));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_task_that_waits_for_the_loop_alone_takes_its_future_and_32_bytes() {
        assert!(size_of::<Option<Task>>() <= 32, "{} bytes", size_of::<Option<Task>>());
        let io_loop = IoLoop::new().unwrap();
        for _ in 0..1_000 {
            io_loop.spawn_detached(async { crate::sleep(std::time::Duration::from_secs(3_600)).await });
        }
        io_loop.run_sync(crate::yield_now()).unwrap();
        let tasks = io_loop.inner.tasks.borrow();
        let waiting = tasks.slots.len();
        assert_eq!(waiting, 1_000);
        let wakers = &io_loop.inner.free_wakers;
        assert!(
            wakers.next.take().is_some() && wakers.others.borrow().is_empty(),
            "one waker serves them all"
        );
    }

    #[test]
    fn a_key_of_a_task_that_has_ended_names_none_after_the_generations_begin_anew() {
        let mut tasks = Tasks::new();
        tasks.next_generation = NonZeroU32::new(Standing::SCHEDULED - 1).unwrap();
        let last = tasks.insert(Place::NONE);
        assert!(tasks.get_mut(last).unwrap().standing.schedule());
        assert!(!tasks.get_mut(last).unwrap().standing.schedule(), "it stands there already");
        tasks.remove(last);
        let first = tasks.insert(Place::NONE);
        assert_eq!((first.slot, first.generation), (last.slot, NonZeroU32::MIN));
        assert!(tasks.get_mut(last).is_none() && tasks.get_mut(TaskKey::NOBODY).is_none());
        assert!(tasks.get_mut(first).unwrap().standing.schedule());
    }

    #[test]
    fn a_clone_of_a_waker_tells_its_own_task_whoever_was_lent_wakers_meanwhile() {
        let io_loop = IoLoop::new().unwrap();
        let kept: Rc<Cell<Option<Waker>>> = Rc::default();
        let polls: [Rc<Cell<u32>>; 2] = Default::default();
        for (count, keeps) in polls.iter().zip([true, false]) {
            let (count, kept) = (Rc::clone(count), Rc::clone(&kept));
            io_loop.spawn_detached(poll_fn(move |cx| {
                count.set(count.get() + 1);
                if keeps {
                    kept.set(Some(cx.waker().clone()));
                }
                Poll::Pending
            }));
        }
        let polled = |expected: [u32; 2]| {
            io_loop.run_sync(async { crate::yield_now().await }).unwrap();
            assert_eq!(polls.each_ref().map(|count| count.get()), expected);
        };
        polled([1, 1]);
        let clone = kept.take().unwrap();
        clone.wake_by_ref();
        polled([2, 1]);
        // From another thread, and that was the last clone there is of the first.
        let newer = kept.take().unwrap();
        assert!(clone.will_wake(&newer), "a task that has given its waker away keeps it");
        drop(newer);
        std::thread::spawn(move || clone.wake()).join().unwrap();
        polled([3, 1]);
    }
}
