//! Who is to be told: a task of this loop by its key, or anybody by a [`Waker`].

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::BeforePoll;
use crate::inbox::Posted;
use crate::io_loop;
use crate::remote::{Message, Shared};

/// Names one task of one loop; stale once the task has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TaskKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
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
    pub(crate) key: TaskKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) posted: Posted,
}

impl TaskWaker {
    pub(crate) fn new(key: TaskKey, shared: Arc<Shared>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { key, shared, posted: Posted::new() })
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
                inner.schedule(self.key);
            }
            ours
        });
        if here != Some(true) {
            self.posted.send(|| self.shared.post(Message::Wake(Arc::clone(self))));
        }
    }
}
