//! Listeners that are bound and wait for a server to start: Tornado's pending sockets, and who gets which.

use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use netutil::{BindError, BindOptions, bind_sockets};

use crate::entrance::ListenOptions;
use crate::listener::Listener;
use crate::servers::strategy::AcceptStrategy;

/// A listener that several loops may have: TCP or Unix, of the standard library, as `netutil` and supervisors give it.
#[derive(Debug)]
pub struct SharedListener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for SharedListener {
    fn from(listener: TcpListener) -> SharedListener {
        SharedListener(Kind::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<UnixListener> for SharedListener {
    fn from(listener: UnixListener) -> SharedListener {
        SharedListener(Kind::Unix(listener))
    }
}

impl SharedListener {
    /// The same socket, by another descriptor.
    fn another(&self) -> io::Result<Listener> {
        match &self.0 {
            Kind::Tcp(listener) => listener.try_clone()?.try_into(),
            #[cfg(unix)]
            Kind::Unix(listener) => listener.try_clone()?.try_into(),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
    }
}

/// What was queued by one call.
#[derive(Debug)]
pub(crate) struct Queued {
    sockets: Vec<SharedListener>,
    /// Those of the loops beside the first, where each has its own.
    others: Vec<Vec<SharedListener>>,
    /// How they were bound, if there can be more of them.
    bound: Option<(u16, BindOptions)>,
    /// `None`: as the server has it.
    pub(crate) options: Option<ListenOptions>,
}

impl Queued {
    pub(crate) fn sockets(sockets: Vec<SharedListener>, options: Option<ListenOptions>) -> Queued {
        Queued { sockets, others: Vec::new(), bound: None, options }
    }

    pub(crate) fn bind(
        port: u16,
        bind: &BindOptions,
        options: Option<ListenOptions>,
        strategy: AcceptStrategy,
    ) -> Result<Queued, BindError> {
        let own = strategy == AcceptStrategy::ReusePort;
        let bind = if own { bind.clone().reuse_port(true) } else { bind.clone() };
        let mut queued = Queued::sockets(shared(bind_sockets(port, &bind)?), options);
        let port = queued.addresses().first().map(SocketAddr::port);
        queued.bound = port.filter(|_| own).map(|port| (port, bind));
        Ok(queued)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(SharedListener::local_addr).collect()
    }

    /// Binds more, so that each of `loops` has its own, where that is possible.
    pub(crate) fn spread(&mut self, loops: usize) -> Result<(), BindError> {
        let Some((port, bind)) = &self.bound else { return Ok(()) };
        while self.others.len() + 1 < loops {
            self.others.push(shared(bind_sockets(*port, bind)?));
        }
        Ok(())
    }

    /// The listeners of one loop. They stay here too, so that it can be started again and those who queue meanwhile are not lost.
    pub(crate) fn of_loop(&self, index: usize) -> io::Result<Vec<Listener>> {
        let own = index.checked_sub(1).and_then(|other| self.others.get(other));
        own.unwrap_or(&self.sockets).iter().map(SharedListener::another).collect()
    }
}

fn shared(listeners: Vec<TcpListener>) -> Vec<SharedListener> {
    listeners.into_iter().map(SharedListener::from).collect()
}
