//! One server on many loops: Tornado's `bind` and `start(n)`, without the forks.

mod answers;
mod dispatch;
mod handle;
mod member;
mod metrics;
mod queue;
mod start;
mod strategy;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ioloop::{IoLoop, Loops, RestartPolicy, cpu_count};
use netutil::BindOptions;

pub use handle::ServersHandle;
pub use metrics::LoopMetrics;
pub use queue::SharedListener;
pub use strategy::AcceptStrategy;

use crate::any_server::{AnyServer, Server};
use crate::entrance::ListenOptions;
use crate::error::ListenError;
use member::{Group, Member, Plan};
use queue::Queued;

/// A server on each of several loops, all at the same listeners: Tornado's `bind` and `start(n)`.
///
/// Where each loop may have a clone of one handler, [`TcpServer::bind`](crate::TcpServer::bind) and
/// [`start`](crate::TcpServer::start) are shorter. This is for servers that are built anew on each loop, where what they hold is
/// made there and need not be `Send`:
///
/// ```no_run
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// use iostream::{IoStream, StreamError};
/// use tcpserver::{ConnectionContext, Servers, TcpServer};
///
/// let servers = Servers::new(|_index| {
///     let visitors = Rc::new(Cell::new(0)); // of this loop
///     TcpServer::new(move |stream: IoStream, _: ConnectionContext| {
///         visitors.set(visitors.get() + 1);
///         let greeting = format!("you are visitor {}\n", visitors.get());
///         async move { stream.write(greeting).await }
///     })
/// });
/// servers.bind(9999)?;
/// servers.start(0)?.run_until_signal(Duration::from_secs(10))?; // a loop for each CPU
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each loop has a server of its own: limits hold for each ([`max_connections`](crate::TcpServer::max_connections) by default for all
/// together), and what a handler does to [its server](crate::ConnectionContext::server) it does to that of its loop.
#[derive(Clone)]
#[must_use = "nothing is served until `start`"]
pub struct Servers {
    plan: Plan,
    queue: Queue,
    options: Option<ListenOptions>,
    loops: Loops,
}

/// What is bound and not served yet. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    shared: Rc<RefCell<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    strategy: AcceptStrategy,
    queued: Vec<Queued>,
    is_started: bool,
}

impl Servers {
    /// A server for each loop, made there by `make`, which is given the number of the loop, counted from 0.
    pub fn new<S: Server>(make: impl Fn(usize) -> S + Send + Sync + 'static) -> Servers {
        Servers {
            plan: Plan { make: Arc::new(move |index| make(index).erased()), settings: None },
            queue: Queue::default(),
            options: None,
            loops: Loops::new(0).name("server"),
        }
    }

    /// How the loops come by their connections. To be said before anything is bound. Default: [`AcceptStrategy::Shared`].
    pub fn accept_strategy(self, strategy: AcceptStrategy) -> Servers {
        self.queue.set_strategy(strategy);
        self
    }

    /// The name of the loops' threads, which an index follows. Default: `server`.
    pub fn name(mut self, name: impl Into<String>) -> Servers {
        self.loops = self.loops.name(name);
        self
    }

    /// When a loop that has failed is started again. Default: [`RestartPolicy::new`].
    #[doc(alias = "max_restarts")]
    pub fn restart(mut self, policy: RestartPolicy) -> Servers {
        self.loops = self.loops.restart(policy);
        self
    }

    /// The same servers, whose listeners are treated like this where they are queued through what is returned. Without it they are
    /// treated as the servers say that `make` gives.
    pub fn with(&self, options: ListenOptions) -> Servers {
        Servers { options: Some(options), ..self.clone() }
    }

    /// Binds `port` on all interfaces, IPv4 and IPv6, to be served from [`start`](Servers::start) on; until then clients wait. May be
    /// called several times. Port 0 lets the kernel choose one port for all.
    ///
    /// Gives the addresses.
    ///
    /// # Errors
    ///
    /// When nothing can be bound, or the servers were started.
    pub fn bind(&self, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
        self.bind_with(port, &BindOptions::new())
    }

    /// Binds `port` with options: address, family, backlog and the others of `bind_sockets`.
    ///
    /// # Errors
    ///
    /// As for [`bind`](Servers::bind).
    pub fn bind_with(&self, port: u16, bind: &BindOptions) -> Result<Vec<SocketAddr>, ListenError> {
        self.queue.bind(port, bind, self.options.clone())
    }

    /// Queues a listener that was bound elsewhere: a Unix socket, one that a supervisor has passed.
    ///
    /// # Errors
    ///
    /// When the servers were started.
    pub fn bind_socket(&self, listener: impl Into<SharedListener>) -> Result<(), ListenError> {
        self.queue.push(Queued::sockets(vec![listener.into()], self.options.clone()))
    }

    /// Serves what was bound, on so many loops, each in a thread of its own; 0 means one for each CPU that the process may use
    /// ([`cpu_count`]), and 1 means the current loop, without a thread. Once only (TS5).
    ///
    /// A loop that fails is started again, after a while that grows ([`RestartPolicy`]); those who connect meanwhile wait, or are served
    /// by others. Signals are for the thread that has started: see [`ServersHandle::run_until_signal`]. With
    /// [`AcceptStrategy::Dispatch`] its loop also accepts, and must run.
    ///
    /// Dropping what is returned changes nothing; the loops serve on.
    ///
    /// # Errors
    ///
    /// When the servers were started before, listeners cannot be multiplied, or no threads can be had.
    pub fn start(&self, loops: usize) -> Result<ServersHandle, ListenError> {
        let (strategy, mut queued) = self.queue.start()?;
        let count = if loops == 0 { cpu_count() } else { loops };
        if loops == 1 {
            return serve_here(&self.plan.make(0), queued);
        }
        queued.iter_mut().try_for_each(|queued| queued.spread(count))?;
        let group = Group::new(strategy, queued, count);
        let io_loop = IoLoop::current();
        let workers = {
            let (plan, group) = (self.plan.clone(), Arc::clone(&group));
            self.loops
                .clone()
                .count(count)
                .spawn(move |worker| member::live(worker, plan.clone(), Arc::clone(&group)))?
        };
        if strategy == AcceptStrategy::Dispatch {
            io_loop.spawn_detached(dispatch::dispatch(Arc::clone(&group), workers.clone()));
        }
        Ok(ServersHandle::on_loops(group, workers, io_loop.remote()))
    }
}

/// Serves what was queued on the current loop, by a server that is there.
fn serve_here(server: &AnyServer, queued: Vec<Queued>) -> Result<ServersHandle, ListenError> {
    for queued in queued {
        let listeners = queued.of_loop(0)?;
        match queued.options {
            Some(options) => server.with(options).add(listeners)?,
            None => server.add(listeners)?,
        }
    }
    let group = Group::new(AcceptStrategy::Shared, Vec::new(), 1);
    let registered = Member::register(group.key, server.handle().clone(), Vec::new());
    let io_loop = IoLoop::current();
    io_loop.spawn_detached(async move {
        let _registered = registered; // until the loop closes
        std::future::pending::<()>().await;
    });
    Ok(ServersHandle::on_this_loop(group, io_loop.remote()))
}

impl Queue {
    pub(crate) fn set_strategy(&self, strategy: AcceptStrategy) {
        self.shared.borrow_mut().strategy = strategy;
    }

    pub(crate) fn bind(
        &self,
        port: u16,
        bind: &BindOptions,
        options: Option<ListenOptions>,
    ) -> Result<Vec<SocketAddr>, ListenError> {
        let strategy = self.shared.borrow().strategy;
        let queued = Queued::bind(port, bind, options, strategy)?;
        let addresses = queued.addresses();
        self.push(queued)?;
        Ok(addresses)
    }

    pub(crate) fn push(&self, queued: Queued) -> Result<(), ListenError> {
        let mut waiting = self.shared.borrow_mut();
        if waiting.is_started {
            return Err(ListenError::AlreadyStarted);
        }
        waiting.queued.push(queued);
        Ok(())
    }

    fn start(&self) -> Result<(AcceptStrategy, Vec<Queued>), ListenError> {
        let mut waiting = self.shared.borrow_mut();
        if std::mem::replace(&mut waiting.is_started, true) {
            return Err(ListenError::AlreadyStarted);
        }
        Ok((waiting.strategy, std::mem::take(&mut waiting.queued)))
    }

    /// Closes what waits.
    pub(crate) fn clear(&self) {
        let closed = std::mem::take(&mut self.shared.borrow_mut().queued);
        drop(closed);
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers")
            .field("queue", &self.queue)
            .field("loops", &self.loops)
            .finish_non_exhaustive()
    }
}
