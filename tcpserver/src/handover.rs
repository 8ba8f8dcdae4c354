//! A server whose process is replaced while it serves: its listeners go to a successor, and it drains when that one serves.

use std::io;
use std::pin::pin;
use std::process::Child;
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, Signal, SignalKind, signal};
use netutil::{ActivatedSockets, Handover, HandoverError};

use crate::drain::DrainReport;
use crate::ending::{any_of, ended_unless, ends, unless};
use crate::handle::ServerHandle;
use crate::handler::HandleStream;
use crate::log::logged;
use crate::server::TcpServer;

/// How long a successor that a signal has called for may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

impl<H: HandleStream> TcpServer<H> {
    /// Passes the listeners on by `name`, those that were added through this (TS4): see [`with`](TcpServer::with). A server on several
    /// loops has them on each; then pass on what they were made from, by [`Handover::pass`].
    ///
    /// # Errors
    ///
    /// When there is no descriptor for one.
    pub fn pass_on(&self, mut handover: Handover, name: &str) -> io::Result<Handover> {
        for listener in &*self.handle().state.listeners.borrow() {
            if let Some(duplicate) = listener.duplicate(|entrance| Rc::ptr_eq(entrance, self.entrance())) {
                handover = handover.pass(name, duplicate?)?;
            }
        }
        Ok(handover)
    }

    /// Tells the process before this one, if `sockets` came from one, that this one is [ready](ActivatedSockets::ready); waits
    /// for a successor of its own, or for SIGTERM or SIGINT, and drains. SIGHUP calls for a successor: this program is started anew
    /// and finds the listeners by `name`, by [`netutil::activated_sockets`]. If it is not ready within 30 seconds, that is
    /// logged, and all stays as it was.
    ///
    /// When a successor has the listeners, nobody is closed for `lame_duck`, and clients are told to leave, as far as their protocol can
    /// say so. Another signal cuts the end short, as in [`drained_by_signal`](TcpServer::drained_by_signal), and all are heard from the
    /// call on, as there.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for.
    pub fn drained_when_replaced(
        &self,
        name: &str,
        mut sockets: ActivatedSockets,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = io::Result<DrainReport>> {
        let signals = ends().and_then(|signals| Ok((signals, signal(SignalKind::Hangup)?)));
        async move {
            let (mut signals, mut hangup) = signals?;
            if let Err(error) = sockets.ready() {
                logged(
                    || tracing::warn!(%error, "the process before this one cannot be told; serving all the same"),
                );
            }
            drop(sockets);
            let successor = self.replaced_by_signal(name, &mut hangup);
            let replaced = unless(pin!(any_of(&mut signals)), successor).await;
            let lame_duck = match replaced {
                Some(successor) => {
                    logged(|| tracing::info!(successor = successor.id(), "another process has taken over"));
                    lame_duck
                }
                None => Duration::ZERO,
            };
            Ok(ended_unless(self.handle(), &mut signals, lame_duck, grace).await)
        }
    }

    /// Runs the current loop until SIGTERM or SIGINT, or until SIGHUP has called for a successor that is ready, and until the server
    /// has drained since, at most `grace`: the last line of the `main` of a server that is replaced while it serves. See
    /// [`drained_when_replaced`](TcpServer::drained_when_replaced).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iostream::{IoStream, StreamError};
    /// use netutil::{BindOptions, activated_sockets, bind_sockets};
    /// use tcpserver::{ConnectionContext, TcpServer};
    ///
    /// # async fn serve(_: IoStream, _: ConnectionContext) -> Result<(), StreamError> { Ok(()) }
    /// let mut sockets = activated_sockets()?;
    /// let mut listeners = sockets.take_tcp("lines")?;
    /// if listeners.is_empty() {
    ///     listeners = bind_sockets(9996, &BindOptions::new())?; // the first of its line
    /// }
    /// let server = TcpServer::new(serve);
    /// server.add_sockets(listeners)?;
    /// server.run_until_replaced("lines", sockets, Duration::from_secs(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for, or the loop cannot run.
    pub fn run_until_replaced(
        &self,
        name: &str,
        sockets: ActivatedSockets,
        grace: Duration,
    ) -> io::Result<DrainReport> {
        let drained = self.drained_when_replaced(name, sockets, Duration::ZERO, grace);
        IoLoop::current().run_sync(drained).map_err(io::Error::other)?
    }

    /// Waits for SIGHUP until it brings a successor.
    async fn replaced_by_signal(&self, name: &str, hangup: &mut Signal) -> Child {
        loop {
            hangup.recv().await;
            logged(|| tracing::info!("asked for a successor"));
            let handover = Handover::of_this_program().and_then(|handover| self.pass_on(handover, name));
            let successor = match handover {
                Ok(handover) => self.handle().hand_over(handover, READY_WITHIN).await,
                Err(error) => Err(HandoverError::Send(error)),
            };
            match successor {
                Ok(successor) => return successor,
                Err(error) => logged(|| tracing::error!(%error, "nobody has taken over; serving on")),
            }
        }
    }
}

impl ServerHandle {
    /// Starts the successor that `handover` calls for, while the server serves, and stops accepting when it is ready: then
    /// [`drain`](ServerHandle::drain). Connections that have not asked for anything yet may still ask once in that drain, for they
    /// may just have come.
    ///
    /// # Errors
    ///
    /// See [`HandoverError`]: nobody has taken over, and the server serves on.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves a successor that has begun to start alone, and the server serving: then both do.
    pub async fn hand_over(&self, handover: Handover, within: Duration) -> Result<Child, HandoverError> {
        let started = IoLoop::current().run_in_executor(move || handover.start(within));
        let successor = started.await.map_err(|error| HandoverError::Spawn(io::Error::other(error)))??;
        self.stop();
        self.state.drain.is_replaced.set(true);
        Ok(successor)
    }
}
