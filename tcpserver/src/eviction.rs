//! Who has to go when the memory of a loop is used up: whoever is idle and yet holds some, having not taken what was sent.

use std::cell::OnceCell;
use std::rc::Rc;

use ioloop::IoLoop;
use iostream::MemoryBudget;

use crate::handle::{ServerHandle, State};
use crate::log::logged;
use crate::quiet::Quiet;
use crate::reset::reset;

/// A server's part in giving memory back.
#[derive(Default)]
pub(crate) struct Eviction {
    /// What is called when memory is short.
    callback: OnceCell<Rc<dyn Fn()>>,
    lines: Quiet,
}

impl Eviction {
    /// Has the server asked when memory is short, from its first connection on.
    pub(crate) fn begin(&self, server: &ServerHandle) {
        self.callback.get_or_init(|| {
            let state = Rc::downgrade(&server.state);
            let callback: Rc<dyn Fn()> = Rc::new(move || {
                if let Some(state) = state.upgrade() {
                    evict(&state);
                }
            });
            iostream::on_memory_shortage(&callback);
            callback
        });
    }
}

/// Resets idle connections, those that hold most first, until there is memory again.
fn evict(state: &State) {
    let mut evicted = 0_u64;
    for stream in state.connections.idle_by_memory() {
        if !MemoryBudget::is_short() {
            break;
        }
        reset(&stream);
        evicted += 1;
    }
    if evicted == 0 {
        return;
    }
    state.tally.count(|metrics| metrics.shed.memory += evicted);
    if let Some(left_out) = state.eviction.lines.line(IoLoop::current().now()) {
        logged(|| {
            tracing::warn!(evicted, left_out, "memory is used up: connections that take nothing are reset");
        });
    }
}
