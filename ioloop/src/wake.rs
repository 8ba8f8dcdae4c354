//! Who is to be told: a task of this loop by its key, or anybody by a [`Waker`].

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};

use crate::BeforePoll;
use crate::inbox::Posted;
use crate::io_loop;
use crate::remote::{Message, Shared};

/// Names one task of one loop; stale once the task has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TaskKey {
    pub(crate) slot: u32,
    pub(crate) generation: NonZeroU32,
}

impl TaskKey {
    /// Names no task: no table has so many places.
    pub(crate) const NOBODY: TaskKey = TaskKey { slot: u32::MAX, generation: NonZeroU32::MAX };

    fn to_bits(self) -> u64 {
        (u64::from(self.generation.get()) << 32) | u64::from(self.slot)
    }

    fn from_bits(bits: u64) -> TaskKey {
        let generation = NonZeroU32::new((bits >> 32) as u32);
        generation.map_or(TaskKey::NOBODY, |generation| TaskKey { slot: bits as u32, generation })
    }
}

/// Where a readiness event or a timer goes.
///
/// A task that waits with its own waker is kept as its key: no reference count is touched to wait, and
/// waking it is a push onto the run queue.
pub(crate) enum WakeTarget {
    Task(TaskKey),
    Waker(Waker),
    /// Not a task: a stream that has bytes to send as soon as there is room.
    Hook(Rc<dyn BeforePoll>),
}

/// The waker of one task. On the loop's own thread it takes no lock and makes no syscall.
pub(crate) struct TaskWaker {
    /// The task's key; changes only while the loop is the one owner.
    key: AtomicU64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) posted: Posted,
}

impl TaskWaker {
    pub(crate) fn new(key: TaskKey, shared: Arc<Shared>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { key: AtomicU64::new(key.to_bits()), shared, posted: Posted::new() })
    }

    pub(crate) fn key(&self) -> TaskKey {
        TaskKey::from_bits(self.key.load(Ordering::Relaxed))
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let here = io_loop::with_current(|inner| {
            let ours = Arc::ptr_eq(&inner.shared, &self.shared);
            if ours {
                inner.schedule(self.key());
            }
            ours
        });
        if here != Some(true) {
            self.posted.send(|| self.shared.post(Message::Wake(Arc::clone(self))));
        }
    }
}

/// A waker that a task has while it is polled, and afterwards only if somebody has kept a clone. What waits on the loop itself
/// keeps the task's key, so a task that waits for a socket and a deadline owns no waker.
pub(crate) struct LentWaker {
    pub(crate) waker: Waker,
    target: Arc<TaskWaker>,
}

impl LentWaker {
    pub(crate) fn new(key: TaskKey, shared: Arc<Shared>) -> Box<LentWaker> {
        let target = TaskWaker::new(key, shared);
        Box::new(LentWaker { waker: Waker::from(Arc::clone(&target)), target })
    }

    /// Whether nobody else has a clone, here or in another thread, and no wake is on its way: it may serve another task.
    pub(crate) fn is_free(&self) -> bool {
        let is_free = Arc::strong_count(&self.target) == 2; // this one's two
        if is_free {
            fence(Ordering::Acquire); // whoever gave back the last clone has read the key before
        }
        is_free
    }

    pub(crate) fn is_now_for(&self, key: TaskKey) {
        self.target.key.store(key.to_bits(), Ordering::Relaxed);
    }
}
