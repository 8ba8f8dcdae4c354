//! The table of a server's open connections, and what is known of each.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::rc::Rc;
use std::time::{Duration, Instant};

use iostream::IoStream;

use crate::admission::Admitted;
use crate::entrance::Entrance;
use crate::handle::ServerHandle;
use crate::peer::{PeerAddr, ShortAddr};
use crate::proxy_protocol::ProxyHeader;

/// One open connection, as it was when [`TcpServer::connections`](crate::TcpServer::connections) was called (TS12).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its number, as in [`ConnectionContext::id`](crate::ConnectionContext::id) and in the log.
    pub id: u64,
    /// Who is at the other end.
    pub peer: PeerAddr,
    /// Who the client is: the peer, unless that is a proxy that says otherwise.
    pub client: PeerAddr,
    /// How long it has been open, by the time of its loop.
    pub age: Duration,
    /// What it is about.
    pub state: ConnectionState,
    /// Bytes received; with TLS those of the conversation.
    pub bytes_received: u64,
    /// Bytes sent, likewise.
    pub bytes_sent: u64,
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It is not the handler's yet: its PROXY protocol header is awaited, or the TLS handshake goes on.
    Opening,
    /// Its handler waits for the peer to ask for something, and the peer has not begun to: see
    /// [`until_drained`](crate::ConnectionContext::until_drained).
    Idle,
    /// Its handler runs.
    Serving,
    /// Its handler has been told to end, or has ended: what is unsent is being sent, and the peer heard out.
    Closing,
}

/// What the connection's task, its handler and the table know of one connection: kept once, shared by the three.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: u64,
    /// None of a connection that no server has accepted.
    stream: Option<IoStream>,
    peer: ShortAddr,
    /// Through which it came.
    pub(crate) entrance: Rc<Entrance>,
    /// Nanoseconds after the first of the server's connections: half of what an `Instant` takes.
    opened: u64,
    /// Its index in the table.
    place: Cell<u32>,
    pub(crate) state: Cell<ConnectionState>,
    /// Since when it waits for its peer, if it does. Who does so for more than five hours passes for less.
    idle_since: Cell<u16>,
    /// Whether the peer has asked for something yet.
    asked: Cell<Asked>,
    pub(crate) admitted: Admitted,
    rare: OnceCell<Box<Rare>>,
}

/// Whether a peer has asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    NotYet,
    Yes,
    /// For something that goes on: it may say nothing more, and is not idle for that.
    ForGood,
}

/// What is known of few connections.
#[derive(Debug, Default)]
struct Rare {
    /// A peer whose address is not short: IPv6, mostly.
    peer: Option<PeerAddr>,
    /// What a proxy has said.
    proxied: OnceCell<Box<ProxyHeader>>,
}

impl Facts {
    pub(crate) fn new(
        id: u64,
        stream: Option<IoStream>,
        peer: PeerAddr,
        entrance: Rc<Entrance>,
        opened: Instant,
        admitted: Admitted,
    ) -> Rc<Facts> {
        let (short, rare) = (ShortAddr::of(&peer), OnceCell::new());
        if short.whole().is_none() {
            rare.get_or_init(|| Box::new(Rare { peer: Some(peer), ..Rare::default() }));
        }
        let state = Cell::new(ConnectionState::Serving);
        let opened = entrance.server.state.connections.nanos_since_first(opened);
        let (place, asked, idle_since) = (Cell::new(0), Cell::new(Asked::NotYet), Cell::new(0));
        Rc::new(Facts {
            id,
            stream,
            peer: short,
            entrance,
            opened,
            place,
            state,
            idle_since,
            asked,
            admitted,
            rare,
        })
    }

    pub(crate) fn stream(&self) -> Option<&IoStream> {
        self.stream.as_ref()
    }

    pub(crate) fn peer(&self) -> PeerAddr {
        let long = || self.rare.get().and_then(|rare| rare.peer.clone());
        self.peer.whole().or_else(long).expect("an address is kept here or there")
    }

    /// Whether nothing is unread or unsent. What waits for memory to be read into is with the kernel.
    fn holds_nothing(&self) -> bool {
        let is_empty = |stream: &IoStream| stream.buffered() == 0 && stream.pending() == 0;
        self.stream.as_ref().is_some_and(|stream| is_empty(stream) && !stream.is_held_back())
    }

    /// Whether bytes have come that nobody has taken yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.buffered() > 0)
    }

    pub(crate) fn opened(&self) -> Instant {
        let first = self.server().state.connections.first.get().copied();
        // It was set when this was made.
        first.unwrap_or_else(Instant::now) + Duration::from_nanos(self.opened)
    }

    /// It waits for its peer, from now on if it did not before. Whoever has been told to leave stays told.
    #[inline]
    pub(crate) fn idle(&self) {
        if matches!(self.state.get(), ConnectionState::Idle | ConnectionState::Closing) {
            return;
        }
        self.state.set(ConnectionState::Idle);
        if let Some(stream) = &self.stream {
            self.idle_since.set(stream.coarse_now());
        }
    }

    /// The peer asks for something.
    #[inline]
    pub(crate) fn note_asked(&self) {
        if self.asked.get() == Asked::NotYet {
            self.asked.set(Asked::Yes);
        }
    }

    pub(crate) fn has_asked(&self) -> bool {
        self.asked.get() != Asked::NotYet
    }

    pub(crate) fn keep_place(&self) {
        self.asked.set(Asked::ForGood);
    }

    /// Whether it idles, and is not one that keeps its place.
    fn could_leave(&self) -> bool {
        self.state.get() == ConnectionState::Idle && self.asked.get() != Asked::ForGood
    }

    /// How long it has waited for its peer, if it does.
    fn idle_for(&self) -> Option<u16> {
        Some(self.stream.as_ref()?.coarse_now().wrapping_sub(self.idle_since.get()))
    }

    /// Called once.
    pub(crate) fn set_proxied(&self, header: ProxyHeader) {
        self.rare.get_or_init(Box::default).proxied.get_or_init(|| Box::new(header));
    }

    pub(crate) fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.rare.get()?.proxied.get().map(|header| &**header)
    }

    /// The client, if a proxy has said who that is.
    pub(crate) fn proxied(&self) -> Option<&PeerAddr> {
        self.proxy_header().and_then(ProxyHeader::source)
    }

    pub(crate) fn client(&self) -> PeerAddr {
        self.proxied().cloned().unwrap_or_else(|| self.peer())
    }

    pub(crate) fn server(&self) -> &ServerHandle {
        &self.entrance.server
    }

    fn info(&self, stream: &IoStream) -> ConnectionInfo {
        ConnectionInfo {
            id: self.id,
            peer: self.peer(),
            client: self.client(),
            age: stream.now().saturating_duration_since(self.opened()),
            state: self.state.get(),
            bytes_received: stream.bytes_received(),
            bytes_sent: stream.bytes_sent(),
        }
    }
}

/// Connections that are told of a drain at a time: as many as a turn of the loop then has tasks to poll.
const WAKES_PER_TURN: usize = 1_024;

/// Places that are looked at in one go for those who idle longest: they may lie anywhere, and each is a look at memory of its own.
const PLACES_PER_LOOK: usize = 4_096;

/// Who has idled for less than a second or so, as [`IoStream::coarse_now`] counts, is not told to leave: it may be about to ask again, and
/// a crowd that does would otherwise spend its time on connecting.
const LEAST_IDLE: u16 = 4;

/// So many leave at a time, and one in so many of those who could: there are often more newcomers than one, and each look costs, but
/// few are to leave for whom nobody comes. Both numbers are those of nginx.
const MOST_LEAVING: usize = 32;
const ONE_IN: usize = 8;

/// The open connections, close together and in no order: one that leaves is replaced by the last.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Facts>>>,
    /// When the first was opened.
    first: OnceCell<Instant>,
    /// The place at which the next look for idle ones begins.
    hand: Cell<usize>,
    /// Whether most of a crowd has left, and nobody has cleared up behind it.
    crowd_leaves: Cell<bool>,
    /// Whether somebody is about to.
    pub(crate) is_cleared_up_later: Cell<bool>,
}

impl Connections {
    fn nanos_since_first(&self, now: Instant) -> u64 {
        let first = *self.first.get_or_init(|| now);
        u64::try_from(now.saturating_duration_since(first).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn insert(&self, facts: &Rc<Facts>) {
        let mut open = self.open.borrow_mut();
        facts.place.set(open.len() as u32); // descriptors are fewer than that
        open.push(Rc::clone(facts));
    }

    pub(crate) fn remove(&self, facts: &Facts) {
        let removed = {
            let mut open = self.open.borrow_mut();
            let place = facts.place.get();
            let removed = open.swap_remove(place as usize);
            if let Some(moved) = open.get(place as usize) {
                moved.place.set(place);
            }
            // Rarely, and by half at least: the cost is shared by as many that have left.
            if open.capacity() > 64 && open.len() < open.capacity() / 4 {
                let twice = 2 * open.len();
                open.shrink_to(twice);
                self.crowd_leaves.set(true);
            }
            removed
        };
        drop(removed); // outside the borrow
    }

    /// Whether most of a crowd has left, and nobody is about to clear up behind it. Whoever asks does: it
    /// [clears up](Self::clear_up), or takes back that it will.
    pub(crate) fn crowd_leaves(&self) -> bool {
        self.crowd_leaves.get() && !self.is_cleared_up_later.replace(true)
    }

    /// Gives back the last of the table's memory, which lies where the crowd's was, if nobody is left.
    pub(crate) fn clear_up(&self) {
        self.crowd_leaves.set(false);
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            *open = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Bytes received and sent on those that are open.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let open = self.open.borrow();
        open.iter().filter_map(|facts| facts.stream()).fold((0, 0), |(received, sent), stream| {
            (received + stream.bytes_received(), sent + stream.bytes_sent())
        })
    }

    /// Has those look up who wait for their peers, of the connections in the last places below this one. Gives below
    /// which place the others are.
    ///
    /// Places that are passed stay so, whoever leaves meanwhile: a place that becomes free is taken by the last, who was passed before.
    pub(crate) fn wake_idle_below(&self, place: usize) -> usize {
        let open = self.open.borrow();
        let below = place.min(open.len());
        let from = below.saturating_sub(WAKES_PER_TURN);
        let idle = open[from..below].iter().filter(|facts| facts.state.get() == ConnectionState::Idle);
        let idle: Vec<_> = idle.filter_map(|facts| facts.stream().cloned()).collect();
        drop(open); // a waker may be foreign code
        idle.iter().for_each(IoStream::wake_reader);
        from
    }

    /// Tells those to leave that idle longest, of as many as are looked at in one go and may leave, as
    /// [`ends_when_idle`](Facts::ends_when_idle) then says. Gives how many.
    pub(crate) fn dismiss_idle(&self, may_leave: impl Fn(&Facts) -> bool) -> usize {
        let open = self.open.borrow();
        let from = if self.hand.get() < open.len() { self.hand.get() } else { 0 };
        let looked_at = open.len().min(PLACES_PER_LOOK);
        self.hand.set(from + looked_at); // which may be past the end, and is brought back above
        let in_turn = open[from..].iter().chain(&open[..from]).take(looked_at);
        let idle = in_turn.filter(|facts| facts.could_leave() && may_leave(facts));
        let ages = idle.filter_map(|facts| Some((facts.idle_for()?, facts)));
        let mut idle: Vec<_> =
            ages.filter(|(age, facts)| *age >= LEAST_IDLE && facts.holds_nothing()).collect();
        let leaving = idle.len().div_ceil(ONE_IN).min(MOST_LEAVING);
        idle.sort_by_key(|(age, _)| Reverse(*age));
        let told = idle[..leaving].iter().inspect(|(_, facts)| facts.state.set(ConnectionState::Closing));
        let told: Vec<_> = told.filter_map(|(_, facts)| facts.stream().cloned()).collect();
        drop(open); // a waker may be foreign code
        told.iter().for_each(IoStream::wake_reader);
        told.len()
    }

    /// The streams of those who wait for their peers and hold memory all the same; who holds most first.
    pub(crate) fn idle_by_memory(&self) -> Vec<IoStream> {
        let open = self.open.borrow();
        let idle = open.iter().filter(|facts| facts.state.get() == ConnectionState::Idle);
        let streams = idle.filter_map(|facts| facts.stream());
        let held = streams.map(|stream| (stream.held_bytes(), stream)).filter(|(held, _)| *held > 0);
        let mut held: Vec<_> = held.map(|(held, stream)| (held, stream.clone())).collect();
        held.sort_unstable_by_key(|(held, _)| Reverse(*held));
        held.into_iter().map(|(_, stream)| stream).collect()
    }

    /// Whether one is about to end, because the server drains and it was idle.
    pub(crate) fn any_leaves(&self) -> bool {
        self.open.borrow().iter().any(|facts| match facts.state.get() {
            ConnectionState::Idle => facts.ends_when_idle(),
            ConnectionState::Opening | ConnectionState::Serving => false,
            ConnectionState::Closing => true,
        })
    }

    /// Closes the streams of all; gives how many that were.
    pub(crate) fn close_all(&self) -> usize {
        // Outside the borrow: closing tells whoever waits for it.
        let streams: Vec<_> = self.open.borrow().iter().filter_map(|facts| facts.stream().cloned()).collect();
        let open: Vec<_> = streams.into_iter().filter(|stream| !stream.is_closed()).collect();
        open.iter().for_each(IoStream::close);
        open.len()
    }

    /// Whether one is open whose number is not above this.
    pub(crate) fn any_up_to(&self, newest: u64) -> bool {
        self.open.borrow().iter().any(|facts| facts.id <= newest)
    }

    /// How many wait for their peers, and when the oldest of all was opened.
    pub(crate) fn idle_and_oldest(&self) -> (usize, Option<Instant>) {
        let open = self.open.borrow();
        let idle = open.iter().filter(|facts| facts.state.get() == ConnectionState::Idle).count();
        (idle, open.iter().map(|facts| facts.opened()).min())
    }

    /// The oldest first.
    pub(crate) fn list(&self) -> Vec<ConnectionInfo> {
        let open = self.open.borrow();
        let infos = open.iter().filter_map(|facts| Some(facts.info(facts.stream()?)));
        let mut list: Vec<_> = infos.collect();
        list.sort_unstable_by_key(|connection| connection.id);
        list
    }
}

#[cfg(test)]
mod tests {
    use iostream::testing;

    use super::*;
    use crate::entrance::ListenOptions;

    fn stream() -> IoStream {
        IoStream::new(testing::scripted().0).expect("a stream")
    }

    fn facts_of(id: u64, stream: IoStream, peer: PeerAddr) -> Rc<Facts> {
        let entrance = Entrance::new(ServerHandle::new(), ListenOptions::new());
        Facts::new(id, Some(stream), peer, entrance, Instant::now(), Admitted::default())
    }

    fn facts(id: u64) -> Rc<Facts> {
        facts_of(id, stream(), PeerAddr::Unix(None))
    }

    fn ids(table: &Connections) -> Vec<u64> {
        table.list().iter().map(|connection| connection.id).collect()
    }

    #[test]
    fn ts12_who_leaves_the_table_is_gone_and_the_others_stay_in_whatever_order_they_leave() {
        let table = Connections::default();
        let all: Vec<_> = (0..8).map(facts).collect();
        for facts in &all {
            table.insert(facts);
        }
        let mut left: Vec<u64> = (0..8).collect();
        for leaves in [0, 7, 3, 4, 1, 6, 2, 5] {
            table.remove(&all[leaves as usize]);
            left.retain(|id| *id != leaves);
            assert_eq!(ids(&table), left);
        }
    }

    #[test]
    fn ts12_the_table_gives_its_memory_back() {
        let table = Connections::default();
        let stream = stream();
        let all: Vec<_> = (0..1000).map(|id| facts_of(id, stream.clone(), PeerAddr::Unix(None))).collect();
        for facts in &all {
            table.insert(facts);
        }
        for facts in &all {
            table.remove(facts);
        }
        let open = table.open.borrow();
        assert!(open.is_empty() && open.capacity() <= 64, "{}", open.capacity());
    }

    /// Has the connection idle for so long.
    fn idles(facts: &Facts, age: u16) {
        facts.state.set(ConnectionState::Idle);
        let now = facts.stream().expect("it has one").coarse_now();
        facts.idle_since.set(now.wrapping_sub(age));
    }

    #[test]
    fn ts7_those_leave_first_that_idle_longest_and_nobody_who_does_so_for_a_moment_only() {
        let table = Connections::default();
        let all: Vec<_> = (0..5).map(facts).collect();
        for (facts, age) in all.iter().zip([3, 9, 4, u16::MAX / 2, 30]) {
            table.insert(facts);
            idles(facts, age);
        }
        for leaves in [3, 4, 1] {
            assert_eq!(table.dismiss_idle(|facts| facts.id != 2), 1);
            assert_eq!(all.iter().position(|facts| facts.ends_when_idle()), Some(leaves));
            all[leaves].state.set(ConnectionState::Serving);
        }
        assert_eq!(table.dismiss_idle(|facts| facts.id != 2), 0);
    }

    #[test]
    fn ts7_of_a_great_many_some_are_looked_at_in_one_go_and_all_in_turn() {
        let table = Connections::default();
        let stream = stream();
        let all: Vec<_> = (0..10_000).map(|id| facts_of(id, stream.clone(), PeerAddr::Unix(None))).collect();
        all.iter().for_each(|facts| table.insert(facts));
        idles(&all[9_999], 100);
        for round in 0..10 {
            let told: Vec<_> = (0..3).map(|_| table.dismiss_idle(|_| true)).collect();
            assert_eq!(told.iter().sum::<usize>(), 1, "round {round}: {told:?}");
            assert!(all[9_999].ends_when_idle());
            idles(&all[9_999], 100);
        }
    }

    /// What the crate's documentation says a connection costs; the counters of an `Rc` are two words.
    #[test]
    fn ts12_a_connection_costs_72_bytes_of_facts_and_8_in_the_table() {
        let facts = size_of::<Facts>() + 2 * size_of::<usize>();
        println!("facts {facts} bytes");
        assert!(facts <= 72, "{facts} bytes");
    }

    #[test]
    fn ts11_the_peer_is_told_whole_however_it_is_kept() {
        let tcp = |addr: &str| PeerAddr::Tcp(addr.parse().expect("an address"));
        let path = std::path::Path::new("/run/client");
        let peers = [
            tcp("192.0.2.1:7"),
            tcp("[2001:db8::1%3]:7"),
            PeerAddr::Unix(None),
            PeerAddr::from_unix(Some(path)),
        ];
        for peer in peers {
            assert_eq!(facts_of(1, stream(), peer.clone()).peer(), peer);
        }
    }
}
