//! How a server ends in good order: who is idle is closed, who is served is served to the end, and a deadline is over all.
//!
//! ```text
//!   Serving ──lame_duck()──▶ LameDuck ──drain(grace)──▶ Draining ──all closed, or the grace is over──▶ Drained
//!      ▲  clients are told     new ones are still         │  no new ones; abort() cuts it short          │
//!      │  to leave             accepted                   │                                              │
//!      └──────────────────────────── listen, add_sockets ◀┴──────────────────────────────────────────────┘
//! ```

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ioloop::{Deadline, IoLoop};
use iostream::IoStream;

use crate::accept::AcceptHandle;
use crate::connections::{ConnectionState, Facts};
use crate::context::ConnectionContext;
use crate::ending::{ended_by_signal, unless};
use crate::handle::{ServerHandle, remove_all};
use crate::waiters::{Place, Waiters};

/// How long a peer that has been sent everything is heard out by a server that drains: a round trip, and some time to answer.
const IN_A_HURRY: Duration = Duration::from_millis(20);

/// Where a server is on its way to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DrainPhase {
    /// It serves, or has not begun to.
    #[default]
    Serving,
    /// It still accepts, and tells its clients to go elsewhere.
    LameDuck,
    /// It accepts nobody, and serves those who are there to the end of what they are at.
    Draining,
    /// Nobody is left.
    Drained,
}

/// What is left of a server that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// Where it is.
    pub phase: DrainPhase,
    /// Connections that wait for their peer to ask for something: those in
    /// [`until_drained`](ConnectionContext::until_drained).
    pub idle: usize,
    /// Connections that are at work, or whose handlers do not say.
    pub active: usize,
    /// The age of the connection that is open the longest.
    pub oldest: Option<Duration>,
}

/// How a drain has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open when it began, or queued then, and ended in good order.
    pub finished: usize,
    /// Connections that were closed when the grace was over, or by [`abort`](crate::TcpServer::abort).
    pub aborted: usize,
    /// How long it took.
    pub took: Duration,
}

/// The server's part of it.
#[derive(Default)]
pub(crate) struct Draining {
    phase: Cell<DrainPhase>,
    /// Who waits for the next phase: handlers, so there may be as many as connections.
    waiting: Waiters,
    /// Who waits for connections to end, or for the next phase. They are few, and woken again and again.
    closing: Waiters,
    aborted: Cell<usize>,
    /// Connections that had been accepted when it began.
    accepted: Cell<u64>,
    /// Another process serves newcomers, so there is no hurry: whoever has not asked yet may.
    pub(crate) is_replaced: Cell<bool>,
}

impl Draining {
    pub(crate) fn phase(&self) -> DrainPhase {
        self.phase.get()
    }

    fn is_draining(&self) -> bool {
        !matches!(self.phase(), DrainPhase::Serving | DrainPhase::LameDuck)
    }

    fn enter(&self, phase: DrainPhase) {
        self.phase.set(phase);
        self.waiting.wake_all();
        self.closing.wake_all();
    }

    /// Who listens again serves again.
    pub(crate) fn begin_anew(&self) {
        self.is_replaced.set(false);
        self.enter(DrainPhase::Serving);
    }

    /// Called whenever a connection has ended.
    pub(crate) fn note_end(&self) {
        self.closing.wake_all();
    }
}

/// One task among those that wait for a server's next phase, or for a connection to end.
#[derive(Debug)]
struct Waiting {
    server: ServerHandle,
    place: Place,
    list: fn(&Draining) -> &Waiters,
}

impl Waiting {
    /// Woken by the next phase.
    fn for_news_of(server: &ServerHandle) -> Waiting {
        Waiting { server: server.clone(), place: Place::default(), list: |drain| &drain.waiting }
    }

    /// Woken by the next phase, and whenever a connection has ended.
    fn for_ends_at(server: &ServerHandle) -> Waiting {
        Waiting { server: server.clone(), place: Place::default(), list: |drain| &drain.closing }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        (self.list)(&self.server.state.drain).wait(&mut self.place, cx);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        (self.list)(&self.server.state.drain).give_up(&mut self.place);
    }
}

impl ServerHandle {
    /// [`TcpServer::lame_duck`](crate::TcpServer::lame_duck), also from inside a handler.
    pub fn lame_duck(&self) {
        if self.state.drain.phase() == DrainPhase::Serving {
            self.state.drain.enter(DrainPhase::LameDuck);
        }
    }

    /// [`TcpServer::drain`](crate::TcpServer::drain), also from inside a handler.
    pub fn drain(&self, grace: Duration) -> Drain {
        let io_loop = IoLoop::current();
        let began = io_loop.now();
        let deadline = Deadline::new(&io_loop);
        deadline.set(began.checked_add(grace)); // `None` is as good as never
        let state = &self.state;
        // Whoever is in the queue has been told by the kernel that the connection stands.
        let listeners = state.listeners.take();
        listeners.iter().for_each(AcceptHandle::remove_when_empty);
        state.drain.aborted.set(0);
        let is_replaced = state.drain.is_replaced.get();
        state.drain.accepted.set(if is_replaced { 0 } else { self.accepted_connections() });
        state.drain.enter(DrainPhase::Draining);
        self.tell_idle_below(usize::MAX);
        let before = self.accepted_connections() - self.open_connections() as u64;
        Drain { waiting: Waiting::for_ends_at(self), listeners, before, began, deadline }
    }

    /// Has those who are idle find out that the server drains: some now, and in each turn some more, so that a crowd that leaves
    /// holds up nobody who is served to the end.
    fn tell_idle_below(&self, place: usize) {
        if !self.state.drain.is_draining() {
            return; // it serves again
        }
        let place = self.state.connections.wake_idle_below(place);
        if place > 0 {
            let server = self.clone();
            IoLoop::current().add_callback(move || server.tell_idle_below(place));
        }
    }

    /// [`TcpServer::abort`](crate::TcpServer::abort), also from inside a handler.
    pub fn abort(&self) {
        self.stop();
        let drain = &self.state.drain;
        drain.aborted.set(drain.aborted.get() + self.state.connections.close_all());
        if drain.phase() == DrainPhase::Draining {
            drain.enter(DrainPhase::Drained);
        }
    }

    /// Closes all connections at once, and waits until their handlers have ended. Goes on accepting, and does not wait for those who
    /// come meanwhile. The connections are closed whether or not this is awaited. Called by the handler of one of them, it would
    /// wait for itself.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn close_all_connections(&self) -> impl Future<Output = ()> + use<> {
        self.state.connections.close_all();
        let (newest, mut waiting) = (self.accepted_connections(), Waiting::for_ends_at(self));
        poll_fn(move |cx| {
            if !waiting.server.state.connections.any_up_to(newest) {
                return Poll::Ready(());
            }
            waiting.wait(cx);
            Poll::Pending
        })
    }

    /// Where the server is on its way to its end.
    #[must_use]
    pub fn drain_phase(&self) -> DrainPhase {
        self.state.drain.phase()
    }

    /// [`TcpServer::drain_progress`](crate::TcpServer::drain_progress), also from inside a handler.
    #[must_use]
    pub fn drain_progress(&self) -> DrainProgress {
        let (idle, opened) = self.state.connections.idle_and_oldest();
        DrainProgress {
            phase: self.state.drain.phase(),
            idle,
            active: self.open_connections().saturating_sub(idle),
            oldest: opened.map(|opened| IoLoop::current().now().saturating_duration_since(opened)),
        }
    }

    /// [`TcpServer::drained_by_signal`](crate::TcpServer::drained_by_signal), without the type of the handler.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn drained_by_signal(
        &self,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = std::io::Result<DrainReport>> {
        ended_by_signal(self, lame_duck, grace)
    }
}

/// A server that drains: a future of the [`DrainReport`]. It drains whether or not this is awaited, but only this keeps its
/// deadline.
///
/// # Cancel safety
///
/// Dropped, it leaves the server draining without a deadline.
#[derive(Debug)]
#[must_use = "nobody keeps the deadline unless it is awaited"]
pub struct Drain {
    waiting: Waiting,
    /// Until their queues are empty.
    listeners: Vec<AcceptHandle>,
    /// Connections that had ended before.
    before: u64,
    began: Instant,
    deadline: Deadline,
}

impl Future for Drain {
    type Output = DrainReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DrainReport> {
        let this = &mut *self;
        let server = this.waiting.server.clone();
        let drain = &server.state.drain;
        // Who has to wait for room may wait for those who are leaving, not for work.
        let waits = |listener: &AcceptHandle| !listener.is_stuck() || server.state.connections.any_leaves();
        this.listeners.retain(|listener| {
            if !waits(listener) {
                drop(listener.remove());
            }
            listener.poll_removed(cx).is_pending()
        });
        let is_over = this.listeners.is_empty() && server.open_connections() == 0;
        if !is_over && drain.phase() == DrainPhase::Draining {
            if this.deadline.poll(cx).is_pending() {
                this.waiting.wait(cx);
                return Poll::Pending;
            }
            server.abort();
        }
        remove_all(std::mem::take(&mut this.listeners));
        if drain.phase() == DrainPhase::Draining {
            drain.enter(DrainPhase::Drained);
        }
        let aborted = drain.aborted.get();
        let took = IoLoop::current().now().saturating_duration_since(this.began);
        let all = usize::try_from(server.accepted_connections() - this.before).unwrap_or(usize::MAX);
        Poll::Ready(DrainReport { finished: all.saturating_sub(aborted), aborted, took })
    }
}

impl ConnectionContext {
    /// Whether clients are to be told to leave: from [`LameDuck`](DrainPhase::LameDuck) on. A protocol that can say so says so
    /// with its next answer, and closes.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.server().state.drain.phase() != DrainPhase::Serving
    }

    /// Whether the server drains: nothing new is to be begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.server().state.drain.is_draining()
    }

    /// Waits until the server drains.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn draining(&self) {
        self.phase_in_which(Draining::is_draining).await;
    }

    async fn phase_in_which(&self, is_so: impl Fn(&Draining) -> bool) {
        let mut waiting = Waiting::for_news_of(self.server());
        poll_fn(|cx| {
            if is_so(&self.server().state.drain) {
                return Poll::Ready(());
            }
            waiting.wait(cx);
            Poll::Pending
        })
        .await;
    }

    /// Ends `stream`, the connection's, in good order: [`IoStream::shutdown`] with `limit`. While the server drains, the peer is heard out
    /// for 20 ms at most once it has been sent everything, so that clients that keep their side open do not keep the server from
    /// ending; unless another process has taken over, and there is no hurry.
    ///
    /// # Cancel safety
    ///
    /// That of `shutdown`.
    pub async fn hear_out(&self, stream: &IoStream, limit: Duration) {
        let began = stream.now();
        if !matches!(ioloop::timeout(limit, stream.shutdown_write()).await, Ok(Ok(()))) {
            return stream.close();
        }
        let left = || limit.saturating_sub(stream.now().duration_since(began));
        let hurry = self.phase_in_which(|drain| drain.is_draining() && !drain.is_replaced.get());
        // Whether the peer takes its leave in time or not, that is the end.
        let whole = async { drop(stream.shutdown(left()).await) };
        if unless(pin!(hurry), whole).await.is_none() {
            let _ = stream.shutdown(left().min(IN_A_HURRY)).await;
        }
    }

    /// What `read` gives, a read of the connection's stream that waits for the peer to ask for something; `None` if the peer has not begun
    /// to ask and the server drains, or wants the place of this connection for a newcomer
    /// ([`idle_makes_room`](crate::TcpServer::idle_makes_room)). What has arrived is served before that, also when it arrived in the same
    /// moment; and who has sent a part may send the rest, until the grace is over. While this waits, and nothing has come that is unread,
    /// the connection counts as idle.
    ///
    /// A request that crosses the end of its connection is lost, whatever a server does: clients that may not lose one are told to
    /// leave before ([`is_leaving`](ConnectionContext::is_leaving)), or ask again elsewhere.
    ///
    /// ```
    /// use iostream::{IoStream, StreamError};
    /// use tcpserver::ConnectionContext;
    ///
    /// async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    ///     while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 8192)).await {
    ///         stream.write(line?).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # tcpserver::TcpServer::new(echo);
    /// ```
    ///
    /// # Cancel safety
    ///
    /// That of `read`, which is dropped where this gives `None`.
    pub async fn until_drained<T>(&self, read: impl Future<Output = T>) -> Option<T> {
        let mut read = pin!(read);
        let idle = Idle(self);
        let output = poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(output) => {
                self.facts().note_asked();
                Poll::Ready(Some(output))
            }
            Poll::Pending => {
                let has_begun = self.facts().has_unread();
                if !has_begun && self.ends_when_idle() {
                    return Poll::Ready(None);
                }
                match has_begun {
                    true => self.facts().state.set(ConnectionState::Serving),
                    false => self.facts().idle(), // who is idle is woken through the stream when it is to end
                }
                Poll::Pending
            }
        })
        .await;
        drop(idle);
        if output.is_none() {
            self.facts().state.set(ConnectionState::Closing);
        }
        output
    }

    /// For drivers that wait by hand: says that the connection waits for its peer, or no longer does. When it is to end, because the server
    /// begins to drain or wants its place for a newcomer, whoever reads from the stream is woken. What has come by then is to be
    /// served; who finds nothing asks whether it [is to end](ConnectionContext::ends_when_idle).
    pub fn set_idle(&self, idle: bool) {
        if idle {
            return self.facts().idle();
        }
        self.facts().state.set(ConnectionState::Serving);
        self.facts().note_asked();
    }

    /// From now on the connection makes no [room](crate::WhenFull) for newcomers, however long it waits: for where the peer may only
    /// listen, as one of HTTP does that has been upgraded. It still hears of a drain.
    pub fn keep_place(&self) {
        self.facts().keep_place();
    }

    /// Whether the connection is to end as soon as it waits for its peer: the server drains, and the peer has asked for something
    /// or was there before. Who was accepted last may ask once. Or it has idled, and is to make [room](crate::WhenFull) for a newcomer.
    #[must_use]
    pub fn ends_when_idle(&self) -> bool {
        self.facts().ends_when_idle()
    }
}

impl Facts {
    pub(crate) fn ends_when_idle(&self) -> bool {
        let drain = &self.server().state.drain;
        let is_told = self.state.get() == ConnectionState::Closing;
        is_told || drain.is_draining() && (self.has_asked() || self.id <= drain.accepted.get())
    }
}

/// Waits for its peer, for as long as it lives.
struct Idle<'a>(&'a ConnectionContext);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.facts().state.set(ConnectionState::Serving);
    }
}
