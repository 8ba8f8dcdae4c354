//! Work to be done once at the end of the turn, however often it was asked for: what streams flush from.

use std::rc::Rc;

use crate::IoLoop;

/// Something that wants a call at the end of the current turn, before the loop polls.
pub trait BeforePoll {
    /// Called once for each [`IoLoop::before_poll`]. What it adds in turn is called in the next one.
    fn before_poll(self: Rc<Self>);
}

impl IoLoop {
    /// Calls `hook` after this turn's callbacks, tasks and timers have run and before the loop sleeps.
    ///
    /// This is what lets sixteen small writes of one turn leave in one syscall. It costs a push onto a list;
    /// the hook itself keeps note of whether it is on it. On a loop that has closed it is dropped.
    pub fn before_poll(&self, hook: Rc<dyn BeforePoll>) {
        self.inner.add_hook(hook);
    }
}
