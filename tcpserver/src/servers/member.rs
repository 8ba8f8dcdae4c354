//! One loop of a server that stands on several: its life, and how others reach it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ioloop::{IoLoop, Remote, Worker};

use crate::admission::Elsewhere;
use crate::any_server::AnyServer;
use crate::drain::DrainReport;
use crate::entrance::ListenOptions;
use crate::error::ListenError;
use crate::eviction::{self, Lack};
use crate::handle::{ServerHandle, Settings};
use crate::listener::{Connection, Listener};
use crate::metrics::Metrics;
use crate::peer::PeerAddr;
use crate::servers::queue::Queued;
use crate::servers::strategy::AcceptStrategy;

/// How long connections may take to end when the loops end for another reason than a drain: one of them has failed for good.
const GRACE: Duration = Duration::from_secs(10);

/// What the loops of a server share.
pub(crate) struct Group {
    pub(crate) key: Key,
    pub(crate) acceptor: Key,
    pub(crate) strategy: AcceptStrategy,
    /// Empty once the server has been stopped.
    pub(crate) queue: Mutex<Vec<Queued>>,
    /// Whether the loops are to end, by a drain or an abort.
    ending: AtomicBool,
    /// How long a loop that is told to end may take.
    grace: Mutex<Duration>,
    pub(crate) reports: Mutex<Vec<DrainReport>>,
    /// What each loop has counted in lives that are over.
    pub(crate) past: Mutex<Vec<Metrics>>,
    pub(crate) gauges: Vec<Gauge>,
    /// The way to who accepts for all, and whether it waits for one of the loops to have room.
    dispatcher: OnceLock<Remote>,
    awaits_room: AtomicBool,
}

/// Names a member on its thread: several servers may have started there.
pub(crate) type Key = usize;

/// How one loop does, as whoever hands out connections sees it.
#[derive(Default)]
pub(crate) struct Gauge {
    alive: Mutex<Option<Alive>>,
    /// Connections that it has, or that were handed to it and have not arrived. One number, because of two one might be read before
    /// a connection arrives and the other after: it would count in neither, and one too many be let in.
    load: AtomicUsize,
}

/// A loop while it lives, and what its server allows.
struct Alive {
    remote: Remote,
    settings: Settings,
}

impl Gauge {
    pub(crate) fn settings(&self) -> Option<Settings> {
        lock(&self.alive).as_ref().map(|alive| alive.settings)
    }

    pub(crate) fn has_room(&self) -> bool {
        let settings = self.settings();
        settings.is_some_and(|settings| settings.admission.most.is_none_or(|most| self.load() < most))
    }

    fn load(&self) -> usize {
        self.load.load(Ordering::SeqCst)
    }

    fn remote(&self) -> Option<Remote> {
        lock(&self.alive).as_ref().map(|alive| alive.remote.clone())
    }
}

impl Group {
    pub(crate) fn new(strategy: AcceptStrategy, queue: Vec<Queued>, loops: usize) -> Arc<Group> {
        static KEYS: AtomicUsize = AtomicUsize::new(0);
        let key = KEYS.fetch_add(2, Ordering::Relaxed);
        Arc::new(Group {
            key,
            acceptor: key + 1,
            strategy,
            queue: Mutex::new(queue),
            ending: AtomicBool::new(false),
            grace: Mutex::new(GRACE),
            reports: Mutex::default(),
            past: Mutex::new(vec![Metrics::default(); loops]),
            gauges: std::iter::repeat_with(Gauge::default).take(loops).collect(),
            dispatcher: OnceLock::new(),
            awaits_room: AtomicBool::new(false),
        })
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Vec<Queued>> {
        lock(&self.queue)
    }

    /// The loops will be told to end.
    pub(crate) fn end_within(&self, grace: Duration) {
        *lock(&self.grace) = grace;
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Called on the loop that accepts for all.
    pub(crate) fn accept_from_here(&self, io_loop: &IoLoop) {
        self.dispatcher.get_or_init(|| io_loop.remote());
    }

    /// To be called whenever a loop may have come by room.
    fn note_room(&self) {
        if !self.awaits_room.load(Ordering::SeqCst) || !self.awaits_room.swap(false, Ordering::SeqCst) {
            return;
        }
        let (Some(dispatcher), key) = (self.dispatcher.get(), self.acceptor) else { return };
        dispatcher.add_callback(move || {
            if let Some(member) = Member::find(key) {
                member.server.state.admission.wake_waiting();
            }
        });
    }

    /// Lets go of what it has kept of the listeners; those of the loops live on.
    pub(crate) fn close_queue(&self) {
        let closed = std::mem::take(&mut *self.queue());
        drop(closed);
    }
}

impl Elsewhere for Arc<Group> {
    /// Whether one of the loops has room. If not, who accepts for all is woken when that may have changed.
    fn has_room(&self) -> bool {
        let has_room = || self.gauges.iter().any(Gauge::has_room);
        if has_room() {
            return true;
        }
        // First, so that a loop that has room from now on sees it.
        self.awaits_room.store(true, Ordering::SeqCst);
        has_room()
    }

    fn make_room(&self, lack: Lack) {
        for remote in self.gauges.iter().filter_map(Gauge::remote) {
            let key = self.key;
            remote.add_callback(move || {
                if let Some(member) = Member::find(key) {
                    eviction::make_room(&member.server.state, lack, None);
                }
            });
        }
    }
}

/// A server on the loop of this thread that belongs to a group.
pub(crate) struct Member {
    pub(crate) server: ServerHandle,
    /// One for each call that has queued listeners.
    ways: Vec<AnyServer>,
}

thread_local! {
    static MEMBERS: RefCell<HashMap<Key, Rc<Member>>> = RefCell::default();
}

impl Member {
    /// The member of that name on this thread, if it lives.
    pub(crate) fn find(key: Key) -> Option<Rc<Member>> {
        MEMBERS.with_borrow(|members| members.get(&key).map(Rc::clone))
    }

    /// Has `server` found, until what is returned is dropped.
    pub(crate) fn register(key: Key, server: ServerHandle, ways: Vec<AnyServer>) -> Registered {
        let member = Rc::new(Member { server, ways });
        MEMBERS.with_borrow_mut(|members| members.insert(key, Rc::clone(&member)));
        Registered { key, member }
    }

    /// Serves a connection that was accepted elsewhere.
    pub(crate) fn serve(&self, way: usize, connection: Connection, peer: PeerAddr) {
        if let Some(way) = self.ways.get(way) {
            way.serve_accepted_elsewhere(connection, peer);
        }
    }
}

/// A member, for as long as it can be found.
pub(crate) struct Registered {
    key: Key,
    pub(crate) member: Rc<Member>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // It goes with its loop, perhaps at the very end of the thread.
        let _ = MEMBERS.try_with(|members| members.borrow_mut().remove(&self.key));
    }
}

/// How the server of a loop is made.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) make: Arc<dyn Fn(usize) -> AnyServer + Send + Sync>,
    pub(crate) settings: Option<Settings>,
}

impl Plan {
    pub(crate) fn make(&self, index: usize) -> AnyServer {
        let made = (self.make)(index);
        if let Some(settings) = &self.settings {
            made.handle().apply(settings);
        }
        made
    }
}

/// A worker from its start to its end.
pub(crate) async fn live(worker: Worker, plan: Plan, group: Arc<Group>) -> Result<(), ListenError> {
    let index = worker.index();
    let life = Life::begin(&group, &plan, index)?;
    let server = &life.registered.member.server;
    worker.ready();
    worker.stopping().await;
    // Whoever was handed out has been accepted, and comes still.
    while group.gauges[index].load() > server.open_connections() {
        ioloop::yield_now().await;
    }
    let grace = *lock(&group.grace);
    let report = server.drain(grace).await;
    if group.ending.load(Ordering::Relaxed) {
        lock(&group.reports).push(report);
    }
    Ok(())
}

/// One life of a worker's server. However it ends, what it has counted is kept.
struct Life<'a> {
    group: &'a Group,
    index: usize,
    registered: Registered,
}

impl<'a> Life<'a> {
    fn begin(group: &'a Arc<Group>, plan: &Plan, index: usize) -> Result<Life<'a>, ListenError> {
        let made = plan.make(index);
        let server = made.handle().clone();
        let queue = group.queue();
        let with = |options: Option<ListenOptions>| options.map_or_else(|| made.clone(), |it| made.with(it));
        let ways: Vec<_> = queue.iter().map(|queued| with(queued.options.clone())).collect();
        let listeners: Vec<Vec<Listener>> = match group.strategy {
            AcceptStrategy::Dispatch => Vec::new(),
            _ => queue.iter().map(|queued| queued.of_loop(index)).collect::<Result<_, _>>()?,
        };
        drop(queue); // before anything of the server's runs
        for (way, listeners) in ways.iter().zip(listeners) {
            way.add(listeners)?;
        }
        let gauge = &group.gauges[index];
        if group.strategy == AcceptStrategy::Dispatch {
            let alive = Alive { remote: IoLoop::current().remote(), settings: server.settings() };
            *lock(&gauge.alive) = Some(alive);
            let (group, last) = (Arc::clone(group), Cell::new(0));
            server.state.admission.watch_open(move |open| {
                let before = last.replace(open);
                group.gauges[index].load.fetch_add(open.wrapping_sub(before), Ordering::SeqCst); // or less
                if open <= before {
                    group.note_room();
                }
            });
        }
        let registered = Member::register(group.key, server, ways);
        Ok(Life { group, index, registered })
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        let gauge = &self.group.gauges[self.index];
        *lock(&gauge.alive) = None;
        let mut counted = self.registered.member.server.metrics();
        counted.active = 0;
        lock(&self.group.past)[self.index] += counted;
    }
}

/// Hands a connection to the loop of `group` that has the fewest. Gives it back if there is none that lives and has room.
pub(crate) fn hand_over(
    group: &Arc<Group>,
    last: &mut usize,
    way: usize,
    connection: Connection,
    peer: PeerAddr,
) -> Result<(), Connection> {
    let count = group.gauges.len();
    let in_turn = (1..=count).map(|n| (*last + n) % count);
    let fit = in_turn.filter(|index| group.gauges[*index].has_room());
    let Some(index) = fit.min_by_key(|index| group.gauges[*index].load()) else { return Err(connection) };
    *last = index;
    let Some(remote) = group.gauges[index].remote() else { return Err(connection) };
    let on_the_way = OnTheWay::begin(group, index);
    remote.add_callback(move || {
        if let Some(member) = Member::find(on_the_way.group.key) {
            member.serve(way, connection, peer);
        }
        drop(on_the_way); // it counts as open by now
    });
    Ok(())
}

struct OnTheWay {
    group: Arc<Group>,
    index: usize,
}

impl OnTheWay {
    fn begin(group: &Arc<Group>, index: usize) -> OnTheWay {
        group.gauges[index].load.fetch_add(1, Ordering::SeqCst);
        OnTheWay { group: Arc::clone(group), index }
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.group.gauges[self.index].load.fetch_sub(1, Ordering::SeqCst);
        self.group.note_room(); // it may not have been let in
    }
}

/// Nothing that is done under these locks can panic half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ioloop::testing::VirtualLoop;
    use iostream::IoStream;

    use super::*;
    use crate::admission::Gate;
    use crate::any_server::Server;
    use crate::{ConnectionContext, TcpServer};

    #[test]
    fn ts7_who_was_handed_over_counts_from_then_until_it_has_left_also_when_its_loop_begins_anew() {
        let test = VirtualLoop::new();
        test.make_current();
        let make = |_| TcpServer::new(|_: IoStream, _: ConnectionContext| async {}).erased();
        let plan = Plan { make: Arc::new(make), settings: None };
        let group = Group::new(AcceptStrategy::Dispatch, Vec::new(), 1);
        let load = || group.gauges[0].load();
        for _life in 0..2 {
            let life = Life::begin(&group, &plan, 0).expect("it listens nowhere");
            let admission = &life.registered.member.server.state.admission;
            let (gate, peer) = (Gate::default(), PeerAddr::Unix(None));
            let arrives = |on_the_way: OnTheWay| {
                let admitted = admission.admit(&gate, &peer, None, test.now()).expect("there is room");
                drop(on_the_way);
                admitted
            };
            let on_the_way = [(); 3].map(|()| OnTheWay::begin(&group, 0));
            assert_eq!(load(), 3);
            let [first, second, never] = on_the_way;
            let open = [arrives(first), arrives(second)];
            assert_eq!((load(), admission.open()), (3, 2));
            drop(never);
            assert_eq!(load(), 2);
            open.iter().for_each(|admitted| admission.leave(&gate, &peer, admitted));
            assert_eq!(load(), 0);
        }
    }
}
