//! A server as its connections see it: what all of them share, whatever the type of its handler.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ioloop::IoLoop;
use iostream::{IoStream, MemoryBudget};

use crate::accept::AcceptHandle;
use crate::admission::{self, Admission, Admitted};
use crate::connections::{ConnectionInfo, Connections, Facts};
use crate::drain::Draining;
use crate::entrance::Entrance;
use crate::eviction::{self, Eviction, Lack};
use crate::handler::AnyHandler;
#[cfg(feature = "tls")]
use crate::handshakes::Handshakes;
use crate::metrics::{Metrics, Tally};
use crate::peer::PeerAddr;
use crate::quiet::Quiet;
use crate::servers::Queue;

/// A server without the type of its handler, so that a handler can hold it: see
/// [`ConnectionContext::server`](crate::ConnectionContext::server). Clones share one server; dropping them changes
/// nothing.
#[derive(Clone)]
pub struct ServerHandle {
    pub(crate) state: Rc<State>,
}

/// What a server allows, to be carried to other loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) admission: admission::Settings,
    /// Of the loop, not of the server.
    memory: MemoryBudget,
    #[cfg(feature = "tls")]
    most_handshakes: usize,
}

pub(crate) struct State {
    pub(crate) listeners: RefCell<Vec<AcceptHandle>>,
    pub(crate) admission: Admission,
    pub(crate) tally: Tally,
    pub(crate) connections: Connections,
    pub(crate) drain: Draining,
    pub(crate) eviction: Eviction,
    pub(crate) proxy_failures: Quiet,
    /// Listeners that wait for the server to be started.
    pub(crate) queue: Queue,
    /// Of a server that has one.
    handler: OnceCell<Weak<dyn AnyHandler>>,
    #[cfg(feature = "tls")]
    pub(crate) handshakes: Handshakes,
}

impl ServerHandle {
    pub(crate) fn new() -> ServerHandle {
        let tally = Tally::default();
        let state = State {
            listeners: RefCell::default(),
            admission: Admission::new(tally.clone()),
            tally,
            connections: Connections::default(),
            drain: Draining::default(),
            eviction: Eviction::default(),
            proxy_failures: Quiet::default(),
            queue: Queue::default(),
            handler: OnceCell::new(),
            #[cfg(feature = "tls")]
            handshakes: Handshakes::default(),
        };
        ServerHandle { state: Rc::new(state) }
    }

    /// Called once.
    pub(crate) fn has_handler(&self, handler: &Rc<dyn AnyHandler>) {
        self.state.handler.get_or_init(|| Rc::downgrade(handler));
    }

    /// Gives back what is kept for the next connections, by the server, its handler and its loop.
    fn clear_up(&self) {
        self.state.connections.clear_up();
        if let Some(handler) = self.state.handler.get().and_then(Weak::upgrade) {
            handler.release();
        }
        iostream::release_free_blocks();
        IoLoop::current().shrink_to_fit();
    }

    /// [`TcpServer::stop`](crate::TcpServer::stop), also from inside a handler.
    pub fn stop(&self) {
        self.state.queue.clear();
        let listeners = self.state.listeners.take();
        remove_all(listeners);
    }

    /// Accepting has ended there: a loop that closes leaves nothing of its servers behind.
    pub(crate) fn forget(&self, handle: &AcceptHandle) {
        let ended: Vec<_> = self.state.listeners.borrow_mut().extract_if(.., |it| it.is(handle)).collect();
        drop(ended); // outside the borrow
    }

    /// What it allows, to be carried to other loops.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            admission: self.state.admission.settings(),
            memory: MemoryBudget::current(),
            #[cfg(feature = "tls")]
            most_handshakes: self.state.handshakes.most(),
        }
    }

    pub(crate) fn apply(&self, settings: &Settings) {
        self.state.admission.apply(&settings.admission);
        settings.memory.install();
        #[cfg(feature = "tls")]
        self.state.handshakes.limit(settings.most_handshakes);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.state.admission.open()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.state.tally.metrics().accepted
    }

    /// [`TcpServer::metrics`](crate::TcpServer::metrics), also from inside a handler.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (received, sent) = self.state.connections.bytes();
        let mut metrics = self.state.tally.metrics();
        metrics.active = self.state.admission.open() as u64;
        metrics.bytes_received += received;
        metrics.bytes_sent += sent;
        metrics
    }

    /// [`TcpServer::connections`](crate::TcpServer::connections), also from inside a handler.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.state.connections.list()
    }
}

impl Entrance {
    /// Lets one in who has been accepted, or counts why not.
    pub(crate) fn admit(&self, peer: &PeerAddr, now: Instant) -> Option<Admitted> {
        self.server.state.admission.admit(&self.gate, peer, self.ip_at_the_door(peer), now)
    }

    /// Has others leave for those who find no room here: how many are about to.
    pub(crate) fn make_room(&self, lack: Lack) -> usize {
        let state = &self.server.state;
        state.admission.make_room_elsewhere(lack);
        eviction::make_room(state, lack, (lack == Lack::PlacesOfEntrance).then_some(self))
    }

    pub(crate) fn leave(&self, client: &PeerAddr, admitted: &Admitted) {
        self.server.state.admission.leave(&self.gate, client, admitted);
    }

    /// Counts a connection that was let in, and gives it its number and its place in the table.
    pub(crate) fn open(
        self: &Rc<Self>,
        stream: IoStream,
        peer: PeerAddr,
        admitted: Admitted,
    ) -> OpenConnection {
        let state = &self.server.state;
        let id = state.tally.count(|metrics| {
            metrics.accepted += 1;
            metrics.accepted
        });
        let now = stream.now();
        let facts = Facts::new(id, Some(stream), peer, Rc::clone(self), now, admitted);
        state.connections.insert(&facts);
        state.eviction.begin(&self.server);
        OpenConnection { facts }
    }
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle")
            .field("listeners", &self.state.listeners.borrow().len())
            .field("open", &self.open_connections())
            .finish_non_exhaustive()
    }
}

/// Ends accepting on each of `handles` and closes their listeners.
pub(crate) fn remove_all(handles: Vec<AcceptHandle>) {
    for handle in handles {
        drop(handle.remove());
    }
}

/// A connection for as long as the server serves it. However that ends, the stream is closed: when its handler is
/// done, when its task is dropped with the loop, and also where a handler left a clone of the stream behind (TS9).
pub(crate) struct OpenConnection {
    pub(crate) facts: Rc<Facts>,
}

impl OpenConnection {
    pub(crate) fn stream(&self) -> &IoStream {
        self.facts.stream().expect("a connection that was accepted has one")
    }

    /// Whether bytes are unsent, or unread: here, or in the kernel behind something that was said to the peer.
    pub(crate) fn has_something_left(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.stream();
        if stream.is_closed() || stream.pending() > 0 || stream.buffered() > 0 {
            return !stream.is_closed();
        }
        if stream.is_end_of_stream() || stream.bytes_sent() == 0 || stream.is_reading() {
            return false;
        }
        if !stream.has_input() {
            if stream.bytes_sent() <= UNDER_WAY_AT_ONCE {
                return false;
            }
            stream.wake_reader(); // that nothing was announced may mean that nobody has waited for it
        }
        match stream.poll_fill(cx) {
            Poll::Ready(Ok(bytes)) => bytes > 0,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => stream.has_input(), // its share of the turn may have been used up, or memory is short
        }
    }
}

/// What leaves without waiting for the peer to acknowledge any of it, so that no reset overtakes it: ten segments (RFC 6928).
const UNDER_WAY_AT_ONCE: u64 = 14_600;

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let Facts { entrance, admitted, .. } = &*self.facts;
        let (state, stream) = (&entrance.server.state, self.stream());
        stream.close(); // which sends, perhaps, so the bytes are counted after it
        state.connections.remove(&self.facts);
        if state.connections.crowd_leaves() {
            clear_up_later(ClearingUp(entrance.server.clone()), &stream.io_loop());
        }
        state.tally.count(|metrics| {
            metrics.bytes_received += stream.bytes_received();
            metrics.bytes_sent += stream.bytes_sent();
        });
        entrance.leave(&self.facts.client(), admitted);
        state.drain.note_end();
    }
}

/// When a crowd has left, what it used is given back as soon as nobody has left for so long.
const QUIET: Duration = Duration::from_millis(500);

/// That this will be done. Ends with it, and with a loop that closes before.
struct ClearingUp(ServerHandle);

impl Drop for ClearingUp {
    fn drop(&mut self) {
        self.0.state.connections.is_cleared_up_later.set(false);
    }
}

fn clear_up_later(plan: ClearingUp, io_loop: &IoLoop) {
    let open = plan.0.state.connections.len();
    io_loop.call_later(QUIET, move || match plan.0.state.connections.len() < open {
        true => clear_up_later(plan, &IoLoop::current()),
        false => plan.0.clear_up(),
    });
}
