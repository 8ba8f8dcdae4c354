//! Tasks: a table of futures, each with a waker that knows its place, and the run queue's side of waking.
//! Step 4 of path 3 through the house (see ARCHITECTURE.md).

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::IoLoop;
use crate::counters::count;
use crate::io_loop::{Inner, Runnable};
use crate::join::{JoinHandle, Joinable};
use crate::origin::{Place, WorkKind};
use crate::wake::{TaskKey, TaskWaker};

/// A task as the table keeps it, and as it travels while it is polled.
pub(crate) struct Body {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

struct Task {
    generation: u32,
    /// Whether the run queue holds this task.
    scheduled: bool,
    /// Out of its place while it is polled. `None` in a slot whose future lives elsewhere: see `Inner::reserve`.
    body: Option<Body>,
    place: Place,
}

/// All tasks of one loop.
pub(crate) struct Tasks {
    slots: Slab<Task>,
    next_generation: u32,
}

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks { slots: Slab::new(), next_generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn insert(&mut self, place: Place) -> TaskKey {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let slot = self.slots.insert(Task { generation, scheduled: false, body: None, place });
        TaskKey { slot: u32::try_from(slot).expect("fewer than 2^32 tasks"), generation }
    }

    fn get_mut(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slots.get_mut(key.slot as usize).filter(|task| task.generation == key.generation)
    }

    fn remove(&mut self, key: TaskKey) -> Option<Body> {
        self.get_mut(key)?;
        self.slots.remove(key.slot as usize).body
    }

    /// Takes every task out, for a loop that closes.
    pub(crate) fn drain(&mut self) -> Vec<Body> {
        self.slots.drain().filter_map(|task| task.body).collect()
    }
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
        let waker = Waker::from(TaskWaker::new(key, Arc::clone(&self.shared)));
        let body = Body { future: Box::pin(future), waker };
        if let Some(task) = self.tasks.borrow_mut().get_mut(key) {
            task.body = Some(body);
        }
        self.schedule(key);
        Some(key)
    }

    /// Makes a slot without a future in it. `run_sync` keeps its future on the stack and only the slot here.
    pub(crate) fn reserve(&self, place: Place) -> TaskKey {
        self.tasks.borrow_mut().insert(place)
    }

    /// Puts a task onto the run queue unless it stands there already; ignores one that has ended.
    pub(crate) fn schedule(&self, key: TaskKey) {
        if let Some(task) = self.tasks.borrow_mut().get_mut(key)
            && !std::mem::replace(&mut task.scheduled, true)
        {
            self.ready.borrow_mut().push_back(Runnable::Task(key));
        }
    }

    /// Polls a task of the run queue. `false` if its slot has no future: the caller has it.
    pub(crate) fn run_task(&self, key: TaskKey) -> bool {
        let body = match self.tasks.borrow_mut().get_mut(key) {
            Some(task) => {
                task.scheduled = false;
                task.body.take().map(|body| (body, task.place))
            }
            None => return true, // it ended while it was queued
        };
        let Some((mut body, place)) = body else { return false };
        self.dispatch.began(place);
        match self.poll_task(key, &body.waker, |cx| body.future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => self.put_back(key, body),
            Ok(Poll::Ready(())) => self.end_task(key, body),
            Err(panic) => {
                self.failed(panic);
                self.end_task(key, body);
            }
        }
        true
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
