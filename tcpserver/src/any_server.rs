//! A server without the type of its handler, that can still listen: what a server on many loops is made of.

use std::rc::Rc;

use crate::accept::{AcceptHandle, accept_admitted};
use crate::entrance::{Entrance, ListenOptions};
use crate::error::ListenError;
use crate::handle::{ServerHandle, remove_all};
use crate::handler::HandleStream;
use crate::listener::{Connection, Listener};
use crate::log::logged;
use crate::peer::PeerAddr;
use crate::server::TcpServer;

/// What can stand on many loops, one on each: a [`TcpServer`], or a server that is built on one and hands this on to it.
pub trait Server: 'static {
    /// The TCP server underneath.
    fn erased(&self) -> AnyServer;
}

/// A [`TcpServer`] without the type of its handler. Clones are the same server.
#[derive(Clone)]
pub struct AnyServer {
    entrance: Rc<Entrance>,
    serve: fn(&Rc<Entrance>, Connection, PeerAddr),
}

impl<H: HandleStream> Server for TcpServer<H> {
    fn erased(&self) -> AnyServer {
        AnyServer {
            entrance: Rc::clone(&self.entrance),
            serve: |entrance, connection, peer| TcpServer::<H>::at(entrance).serve(connection, peer),
        }
    }
}

impl AnyServer {
    /// Its connections, its counters, its end.
    #[must_use]
    pub fn handle(&self) -> &ServerHandle {
        &self.entrance.server
    }

    /// The same server, with other options for its listeners.
    pub(crate) fn with(&self, options: ListenOptions) -> AnyServer {
        AnyServer { entrance: self.entrance.with(options), serve: self.serve }
    }

    /// Begins to accept at these listeners. If one is refused all are closed, and none was served.
    pub(crate) fn add(&self, listeners: Vec<Listener>) -> Result<(), ListenError> {
        let mut added = Vec::new();
        for listener in listeners {
            match self.accept_on(listener) {
                Ok(handle) => added.push(handle),
                Err(error) => {
                    remove_all(added);
                    return Err(error);
                }
            }
        }
        let state = &self.handle().state;
        state.listeners.borrow_mut().extend(added);
        state.drain.begin_anew();
        Ok(())
    }

    /// [`serve`](AnyServer::serve) for a connection that another loop has accepted, which knows nothing of this way in: if it is full,
    /// nobody has waited.
    pub(crate) fn serve_accepted_elsewhere(&self, connection: Connection, peer: PeerAddr) {
        let state = &self.handle().state;
        if self.entrance.gate.is_full() {
            state.tally.count(|metrics| metrics.shed.max_connections += 1);
            let label = self.entrance.label();
            return logged(|| tracing::debug!(%peer, label, "closed: this way in is full"));
        }
        self.serve(connection, peer);
    }

    pub(crate) fn serve(&self, connection: Connection, peer: PeerAddr) {
        (self.serve)(&self.entrance, connection, peer);
    }

    fn accept_on(&self, listener: Listener) -> Result<AcceptHandle, ListenError> {
        listener.set_nodelay()?;
        let server = self.clone();
        accept_admitted(listener, Rc::clone(&self.entrance), move |connection, peer| {
            server.serve(connection, peer);
        })
    }
}

impl std::fmt::Debug for AnyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyServer").field("server", self.handle()).finish_non_exhaustive()
    }
}
