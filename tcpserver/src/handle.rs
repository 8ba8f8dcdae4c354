//! A server as its connections see it: what all of them share, whatever the type of its handler.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use iostream::{IoStream, StreamOptions};

use crate::accept::AcceptHandle;

/// How long a connection may take to end after its handler has, unless `TcpServer::linger` says otherwise.
const LINGER: Duration = Duration::from_secs(5);

/// A server without the type of its handler, so that a handler can hold it: see
/// [`ConnectionContext::server`](crate::ConnectionContext::server). Clones share one server; dropping them changes
/// nothing.
#[derive(Clone)]
pub struct ServerHandle {
    pub(crate) state: Rc<State>,
}

pub(crate) struct State {
    pub(crate) options: RefCell<Rc<StreamOptions>>,
    /// How long a connection may take to end in good order after its handler has.
    pub(crate) linger: Cell<Duration>,
    pub(crate) listeners: RefCell<Vec<AcceptHandle>>,
    accepted: Cell<u64>,
    open: Cell<usize>,
}

impl ServerHandle {
    pub(crate) fn new() -> ServerHandle {
        let state = State {
            options: RefCell::default(),
            linger: Cell::new(LINGER),
            listeners: RefCell::default(),
            accepted: Cell::new(0),
            open: Cell::new(0),
        };
        ServerHandle { state: Rc::new(state) }
    }

    /// [`TcpServer::stop`](crate::TcpServer::stop), also from inside a handler.
    pub fn stop(&self) {
        let listeners = self.state.listeners.take();
        remove_all(listeners);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.state.open.get()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.state.accepted.get()
    }

    /// Counts a connection; gives its number too.
    pub(crate) fn open(&self, stream: IoStream) -> (OpenConnection, u64) {
        let id = self.state.accepted.get() + 1;
        self.state.accepted.set(id);
        self.state.open.set(self.state.open.get() + 1);
        (OpenConnection { stream, server: self.clone() }, id)
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
    pub(crate) stream: IoStream,
    pub(crate) server: ServerHandle,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let open = &self.server.state.open;
        open.set(open.get() - 1);
        self.stream.close();
    }
}
