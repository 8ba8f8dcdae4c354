//! Who has to go for others. When the memory of a loop is used up: whoever is idle and yet holds some, having not taken what was sent. When
//! newcomers find no place, or no descriptor: whoever idles longest.

use std::cell::{OnceCell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};

use ioloop::IoLoop;
use iostream::MemoryBudget;

use crate::entrance::Entrance;
use crate::handle::{ServerHandle, State};
use crate::log::logged;
use crate::quiet::Quiet;
use crate::reset::reset;

thread_local! {
    /// The servers of this loop that have had connections.
    static SERVERS: RefCell<Vec<Weak<State>>> = const { RefCell::new(Vec::new()) };
}

/// A server's part in it.
#[derive(Default)]
pub(crate) struct Eviction {
    /// What is called when memory is short.
    callback: OnceCell<Rc<dyn Fn()>>,
    memory_lines: Quiet,
    room_lines: Quiet,
}

/// What newcomers lack, and so who can give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// A place: the connections of the server.
    Places,
    /// A place of those that their entrance has: the connections that came by it.
    PlacesOfEntrance,
    /// A descriptor: those of any server of the loop.
    Descriptors,
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
            SERVERS.with_borrow_mut(|servers| {
                servers.retain(|server| server.strong_count() > 0);
                servers.push(Rc::downgrade(&server.state));
            });
            callback
        });
    }
}

/// Has some of those leave that idle longest, if any has for long enough; of those who came by `entrance`, if one is given. Gives how many
/// were told so. A request that comes in that moment is still served, and who has asked stays.
pub(crate) fn make_room(state: &State, lack: Lack, entrance: Option<&Entrance>) -> usize {
    let told = dismiss(state, entrance);
    if told > 0 || lack != Lack::Descriptors {
        return told;
    }
    let servers = SERVERS.with_borrow(Clone::clone);
    let others = servers.iter().filter_map(Weak::upgrade).filter(|other| !ptr::eq(&**other, state));
    others.map(|other| dismiss(&other, None)).find(|told| *told > 0).unwrap_or(0)
}

fn dismiss(state: &State, entrance: Option<&Entrance>) -> usize {
    if !state.admission.idle_makes_room() {
        return 0;
    }
    let may_leave = |by: &Entrance| entrance.is_none_or(|entrance| ptr::eq(entrance, by));
    let told = state.connections.dismiss_idle(|facts| may_leave(&facts.entrance));
    if told == 0 {
        return 0;
    }
    state.tally.count(|metrics| metrics.shed.idle += told as u64);
    if let Some(left_out) = state.eviction.room_lines.line(IoLoop::current().now()) {
        logged(|| {
            tracing::warn!(
                told,
                left_out,
                "newcomers find no room: connections that idle longest are closed"
            );
        });
    }
    told
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
    if let Some(left_out) = state.eviction.memory_lines.line(IoLoop::current().now()) {
        logged(|| {
            tracing::warn!(evicted, left_out, "memory is used up: connections that take nothing are reset");
        });
    }
}
