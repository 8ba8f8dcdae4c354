//! Who is let in: how many at once, from where, and what becomes of the others.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::backoff::{Episode, Look};
use crate::eviction::Lack;
use crate::log::logged;
use crate::metrics::Tally;
use crate::peer::PeerAddr;
use crate::per_ip::PerIp;

/// What happens to new connections while the server is full: it has
/// [as many connections as it may](crate::TcpServer::max_connections), or the process has no descriptor left.
///
/// Before that, connections [make room](crate::TcpServer::idle_makes_room) that idle, those of HTTP between requests: their handlers wait
/// for the peer to ask for something, nothing is unread or unsent, and that has been so for a second or so. While somebody waits at the
/// listener, those that idle longest end in good order, as for a [drain](crate::TcpServer::drain): an eighth of them at a time, 32 at most,
/// looked for fifty times a second at most among 4,096 connections in turn. No others are told so before one of them has left, or a second
/// has passed. They are counted in [`Shed::idle`](crate::Shed::idle). A client has to expect the end of a connection that idles at any time
/// (RFC 9112 §9.5), and a request that comes in that moment is served. Who has never asked counts as idle from its beginning on. Who idles
/// for less than a second stays, however many wait, so that a crowd that asks again and again is not kept busy with connecting. At the
/// limit of one [listener](crate::ListenOptions::max_connections) its own connections make room, for want of descriptors those of all
/// servers of the loop; at the limit [per address](crate::TcpServer::max_connections_per_ip) none do: a client has its idle connections at
/// its own disposal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// They wait in the listener's queue, which the kernel keeps short (`BindOptions::backlog`), and are served in the order
    /// in which they came. This is the default: most overloads are short, no client is turned away that could have been
    /// served a moment later, and it costs nothing however many come.
    ///
    /// Accepting goes on as soon as a connection of this server ends; within a tenth of a second when it is another part of the process
    /// that gives descriptors back, or a connection has idled for long enough to make room. Before anybody leaves for them newcomers wait
    /// for 20 milliseconds, in which another loop that has room takes them.
    #[default]
    Wait,
    /// They are accepted and closed, so that the clients notice and can go elsewhere. Use it where there is another server to go
    /// to; clients without one come again at once, which keeps a full server busy.
    ///
    /// Where connections make room that idle, newcomers wait for their end, a moment, and are let in; behind a
    /// [dispatcher](crate::AcceptStrategy::Dispatch), which cannot wait for other loops, the next ones find that room.
    ///
    /// For when there are no descriptors, the server keeps one in reserve, an open socket without a use. Then at most 32 are
    /// closed in one go, with a pause of 20 to 100 milliseconds after it.
    Close,
}

/// Connections of all servers in the process that have no limit of their own: they share what the process may open. Each server
/// keeps its part right whenever it has more or fewer, or comes by a limit.
static SHARING_DESCRIPTORS: AtomicUsize = AtomicUsize::new(0);

/// Decides for one server, and counts what it decides.
pub(crate) struct Admission {
    /// `None`: what the limit on descriptors leaves, for all such servers of the process together.
    most: Cell<Option<usize>>,
    /// That limit as it was when it was last reached; it may have been raised since.
    descriptors: Cell<usize>,
    when_full: Cell<WhenFull>,
    idle_makes_room: Cell<bool>,
    per_ip: PerIp,
    open: Cell<usize>,
    /// The tasks of listeners that wait for room.
    waiting: RefCell<Vec<Waker>>,
    reserve: Cell<Option<Socket>>,
    crowded: Episode,
    failing: Episode,
    /// Those on whose behalf this accepts.
    elsewhere: OnceCell<Box<dyn Elsewhere>>,
    /// Who else knows how many are open.
    watcher: OnceCell<Box<dyn Fn(usize)>>,
    tally: Tally,
}

/// Others for whom a server accepts.
pub(crate) trait Elsewhere {
    fn has_room(&self) -> bool;

    /// Has those leave who idle longest there.
    fn make_room(&self, lack: Lack);
}

/// One way in, with a limit of its own beside that of the server.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    most: Option<usize>,
    open: Cell<usize>,
    /// Whether those who accept here have been told to wait.
    full: Cell<bool>,
}

impl Gate {
    pub(crate) fn new(most: Option<usize>) -> Gate {
        Gate { most, ..Gate::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.open.get() >= most)
    }
}

/// What a server allows, to be carried to other loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) most: Option<usize>,
    pub(crate) when_full: WhenFull,
    pub(crate) idle_makes_room: bool,
    pub(crate) most_per_ip: Option<usize>,
}

/// Leave to come in, to be given back with [`Admission::leave`].
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Admitted {
    by_ip: Cell<bool>,
}

impl Admission {
    pub(crate) fn new(tally: Tally) -> Admission {
        Admission {
            most: Cell::default(),
            descriptors: Cell::default(),
            when_full: Cell::default(),
            idle_makes_room: Cell::default(),
            per_ip: PerIp::default(),
            open: Cell::default(),
            waiting: RefCell::default(),
            reserve: Cell::default(),
            crowded: Episode::default(),
            failing: Episode::default(),
            elsewhere: OnceCell::new(),
            watcher: OnceCell::new(),
            tally,
        }
    }

    pub(crate) fn limit(&self, most: usize) {
        self.set_most(Some(most));
        self.wake_waiting();
    }

    fn set_most(&self, most: Option<usize>) {
        let before = self.sharing();
        self.most.set(most);
        self.share(before);
    }

    pub(crate) fn limit_per_ip(&self, most: usize) {
        self.per_ip.limit(most);
    }

    pub(crate) fn set_when_full(&self, when_full: WhenFull) {
        self.when_full.set(when_full);
        self.reserve.set((when_full == WhenFull::Close).then(reserve).flatten());
        self.wake_waiting();
    }

    /// Connections that idle may be closed for newcomers.
    pub(crate) fn let_idle_make_room(&self) {
        self.idle_makes_room.set(true);
    }

    pub(crate) fn idle_makes_room(&self) -> bool {
        self.idle_makes_room.get()
    }

    /// Whether room may come about although no connection of this server ends by itself.
    pub(crate) fn may_find_room(&self) -> bool {
        self.idle_makes_room.get() || self.most.get().is_none()
    }

    /// For who accepts on behalf of others: there is room only while they have some as well. Once only.
    pub(crate) fn accept_for(&self, others: impl Elsewhere + 'static) {
        self.elsewhere.get_or_init(|| Box::new(others));
    }

    /// Has them make room, if there are any.
    pub(crate) fn make_room_elsewhere(&self, lack: Lack) {
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.make_room(lack);
        }
    }

    /// Has `watcher` told how many connections are open, now and whenever that changes. Once only.
    pub(crate) fn watch_open(&self, watcher: impl Fn(usize) + 'static) {
        self.watcher.get_or_init(|| Box::new(watcher))(self.open.get());
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            most: self.most.get(),
            when_full: self.when_full.get(),
            idle_makes_room: self.idle_makes_room.get(),
            most_per_ip: self.per_ip.limit_of(),
        }
    }

    pub(crate) fn apply(&self, settings: &Settings) {
        let Settings { most, when_full, idle_makes_room, most_per_ip } = *settings;
        self.set_most(most);
        self.set_when_full(when_full);
        self.idle_makes_room.set(idle_makes_room);
        most_per_ip.into_iter().for_each(|most| self.limit_per_ip(most));
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether there is room, for a listener's task that is about to accept.
    pub(crate) fn has_room(&self, gate: &Gate, now: Instant) -> bool {
        let has_room = !(self.is_full() || gate.is_full());
        if has_room && gate.full.replace(false) {
            self.crowded.goes_on(now); // it was full until now
        }
        has_room
    }

    /// Whether those for whom there is no room are closed.
    pub(crate) fn turns_away(&self) -> bool {
        self.when_full.get() == WhenFull::Close
    }

    /// Has the task woken when there may be room.
    pub(crate) fn wait_for_room(&self, gate: &Gate, cx: &Context<'_>, now: Instant) {
        if !gate.full.replace(true) {
            self.tally.count(|metrics| metrics.paused += 1);
        }
        self.note_full(now);
        let waits = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.waiting.borrow().iter().any(waits) {
            let waker = cx.waker().clone(); // outside the borrow: it may be foreign code
            self.waiting.borrow_mut().push(waker);
        }
    }

    /// What those lack for whom there is no room.
    pub(crate) fn lack(&self, gate: &Gate) -> Lack {
        match self.most.get() {
            _ if gate.is_full() => Lack::PlacesOfEntrance,
            Some(_) => Lack::Places,
            None => Lack::Descriptors,
        }
    }

    /// Lets one in who has been accepted, or counts why not. `ip` is the client's, if it is known yet.
    pub(crate) fn admit(
        &self,
        gate: &Gate,
        peer: &PeerAddr,
        ip: Option<IpAddr>,
        now: Instant,
    ) -> Option<Admitted> {
        if self.turns_away() && (self.is_full() || gate.is_full()) {
            self.tally.count(|metrics| metrics.shed.max_connections += 1);
            self.note_full(now);
            return None;
        }
        let by_ip = Cell::new(self.enter_by_ip(peer, ip)?);
        self.set_open(self.open.get() + 1);
        gate.open.set(gate.open.get() + 1);
        Some(Admitted { by_ip })
    }

    /// Whether one that was let in may stay now that it is known who its client is.
    pub(crate) fn admit_client(&self, client: &PeerAddr, admitted: &Admitted) -> bool {
        if admitted.by_ip.get() {
            return true;
        }
        let by_ip = self.enter_by_ip(client, client.ip());
        admitted.by_ip.set(by_ip == Some(true));
        by_ip.is_some()
    }

    /// Whether one more connection was counted; nothing if it is one too many.
    fn enter_by_ip(&self, client: &PeerAddr, ip: Option<IpAddr>) -> Option<bool> {
        let by_ip = self.per_ip.enter(ip).ok();
        if by_ip.is_none() {
            self.tally.count(|metrics| metrics.shed.per_ip += 1);
            logged(|| tracing::debug!(%client, "closed: it has as many connections as one address may"));
        }
        by_ip
    }

    /// The connection of `client` has ended.
    pub(crate) fn leave(&self, gate: &Gate, client: &PeerAddr, admitted: &Admitted) {
        if let Some(ip) = client.ip().filter(|_| admitted.by_ip.get()) {
            self.per_ip.leave(ip);
        }
        self.set_open(self.open.get() - 1);
        gate.open.set(gate.open.get() - 1);
        self.wake_waiting();
    }

    /// Has those who wait for room look again.
    pub(crate) fn wake_waiting(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn set_open(&self, open: usize) {
        let before = self.sharing();
        self.open.set(open);
        self.share(before);
        if let Some(watcher) = self.watcher.get() {
            watcher(open);
        }
    }

    /// How many of this server's connections are among those that share the descriptors.
    fn sharing(&self) -> usize {
        if self.most.get().is_none() { self.open.get() } else { 0 }
    }

    /// There are more or fewer of them than `before`.
    fn share(&self, before: usize) {
        SHARING_DESCRIPTORS.fetch_add(self.sharing().wrapping_sub(before), Ordering::Relaxed); // or less
    }

    fn is_full(&self) -> bool {
        if self.elsewhere.get().is_some_and(|elsewhere| !elsewhere.has_room()) {
            return true;
        }
        let Some(most) = self.most.get() else {
            let open = SHARING_DESCRIPTORS.load(Ordering::Relaxed);
            if open >= self.descriptors.get() {
                self.descriptors.set(left_for_connections());
            }
            return open >= self.descriptors.get();
        };
        self.open.get() >= most
    }

    fn note_full(&self, now: Instant) {
        if self.crowded.goes_on(now) {
            let open = self.open.get();
            logged(|| tracing::warn!(open, when_full = ?self.when_full.get(), "the server is full"));
        }
    }

    /// An attempt to accept has failed.
    pub(crate) fn note_failure(&self, error: &io::Error, now: Instant) {
        self.tally.count(|metrics| metrics.accept_failures += 1);
        if self.failing.goes_on(now) {
            logged(|| tracing::error!(%error, "cannot accept connections; trying again until it works"));
        }
    }

    /// Lets `shed` use the descriptor in reserve, if those for whom there is none are to be closed. It gives how many
    /// it has closed.
    pub(crate) fn with_reserve(&self, shed: impl FnOnce() -> u64) {
        if !self.turns_away() {
            return;
        }
        // None if another thread was faster, the last time it was given up.
        let Some(reserved) = self.reserve.take().or_else(reserve) else { return };
        drop(reserved);
        let shed = shed();
        self.reserve.set(reserve());
        self.tally.count(|metrics| metrics.shed.descriptors += shed);
    }

    /// Nobody is left in the queue. Ends the episodes that are over; says when to look again if one is not.
    pub(crate) fn look(&self, now: Instant) -> Option<Instant> {
        let failing = again(self.failing.look(now), "accepting connections again");
        let crowded = match self.is_full() {
            true => None, // who comes next will show
            false => again(self.crowded.look(now), "the server has room again"),
        };
        failing.into_iter().chain(crowded).min()
    }
}

fn again(look: Look, news: &str) -> Option<Instant> {
    match look {
        Look::Well => None,
        Look::Again(at) => Some(at),
        Look::Over => {
            logged(|| tracing::info!("{news}"));
            None
        }
    }
}

fn reserve() -> Option<Socket> {
    let domain = if cfg!(unix) { Domain::UNIX } else { Domain::IPV4 };
    Socket::new(domain, Type::STREAM, None).ok()
}

/// Connections that the process may have, at a descriptor each, so that a sixteenth of all descriptors (16 at least, 1024 at
/// most) is left for what else it opens.
fn left_for_connections() -> usize {
    #[cfg(unix)]
    let soft = netutil::descriptor_limit().soft;
    #[cfg(not(unix))]
    let soft = u64::MAX;
    share_of(soft)
}

fn share_of(descriptors: u64) -> usize {
    let others = (descriptors / 16).clamp(16, 1024);
    usize::try_from(descriptors.saturating_sub(others)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use ioloop::testing::VirtualLoop;
    use iostream::IoStream;
    use std::future::pending;

    use super::*;
    use crate::{ConnectionContext, TcpServer};

    #[test]
    fn ts7_a_listener_that_is_removed_while_the_server_is_full_leaves_no_waker_behind() {
        let test = VirtualLoop::new();
        test.make_current();
        let server = TcpServer::new(|_: IoStream, _: ConnectionContext| pending::<()>()).max_connections(0);
        let admission = &server.handle().state.admission;
        for _ in 0..3 {
            server.listen(0).expect("a port");
            test.run_until_stalled();
            assert!(!admission.waiting.borrow().is_empty());
            server.stop();
            test.run_until_stalled();
            assert!(admission.waiting.borrow().is_empty());
        }
    }

    #[test]
    fn ts7_a_sixteenth_of_the_descriptors_is_not_for_connections() {
        let shares = [
            (0, 1),
            (16, 1),
            (64, 48),
            (256, 240),
            (1024, 960),
            (20_000, 18_976),
            (1 << 20, (1 << 20) - 1024),
        ];
        for (descriptors, share) in shares {
            assert_eq!(share_of(descriptors), share);
        }
        assert_eq!(share_of(u64::MAX), usize::MAX - 1024);
    }
}
