//! The outside of a server that stands on several loops: what can be asked of it, from any thread.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ioloop::{IoLoop, LoopsError, LoopsHandle, Remote};

use crate::connections::ConnectionInfo;
use crate::drain::{DrainPhase, DrainReport};
use crate::ending::{Ending, ended_by_signal};
use crate::handle::ServerHandle;
use crate::metrics::Metrics;
use crate::servers::answers::{Answer, answers};
use crate::servers::member::{Group, Key, Member, lock};
use crate::servers::metrics::LoopMetrics;

/// A server that was started on one loop or on several: [`TcpServer::start`](crate::TcpServer::start). Clones name the same server and
/// may go to any thread; dropping them all changes nothing.
///
/// What it does it asks of the loops: it is done a moment later, and waits for a loop that is busy.
#[derive(Clone)]
#[must_use = "stops, drains and hears signals for all loops; the server that was started knows of none but the current one"]
pub struct ServersHandle {
    group: Arc<Group>,
    on: On,
    /// The loop on which it was started.
    home: Remote,
}

#[derive(Clone)]
enum On {
    Home,
    Loops(LoopsHandle),
}

impl ServersHandle {
    pub(super) fn on_this_loop(group: Arc<Group>, home: Remote) -> ServersHandle {
        ServersHandle { group, on: On::Home, home }
    }

    pub(super) fn on_loops(group: Arc<Group>, loops: LoopsHandle, home: Remote) -> ServersHandle {
        ServersHandle { group, on: On::Loops(loops), home }
    }

    /// The loops in their threads: who is ready, who was restarted, and why. `None` where the server stands on the loop on which it was
    /// started.
    #[must_use]
    pub fn loops(&self) -> Option<&LoopsHandle> {
        match &self.on {
            On::Home => None,
            On::Loops(loops) => Some(loops),
        }
    }

    /// Stops accepting and closes the listeners; live connections go on, and so do the loops (TS6). Harmless when repeated.
    pub fn stop(&self) {
        self.group.close_queue();
        self.tell_all(ServerHandle::stop);
    }

    /// Begins to end: see [`TcpServer::lame_duck`](crate::TcpServer::lame_duck).
    pub fn lame_duck(&self) {
        self.tell_all(ServerHandle::lame_duck);
    }

    /// Ends in good order, on all loops, and ends the loops (TS6): see [`TcpServer::drain`](crate::TcpServer::drain). The report is that
    /// of all together. It begins when this is first polled.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it leaves the loops draining, each with its deadline.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        self.group.close_queue();
        // First who accepts for others, so that whom the kernel has let in is served.
        self.drain_on(&self.home, self.group.acceptor, grace).await;
        let On::Loops(loops) = &self.on else {
            return self.drain_on(&self.home, self.group.key, grace).await.unwrap_or_default();
        };
        self.group.end_within(grace);
        loops.stop();
        // A failure has been logged by whoever watches over them, and is told by `ended`.
        let _ = loops.ended().await;
        self.report()
    }

    /// Stops and closes all connections at once, and ends the loops.
    pub fn abort(&self) {
        self.group.close_queue();
        self.group.end_within(Duration::ZERO);
        if let On::Loops(loops) = &self.on {
            loops.stop();
        }
        self.tell_all(ServerHandle::abort);
    }

    /// Waits for SIGTERM or SIGINT, then is a [`lame_duck`](ServersHandle::lame_duck) for so long, and [drains](ServersHandle::drain) all
    /// loops. Another signal cuts either short: it aborts. Signals are heard from the call on, on the current loop, once for all.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for, and when the loops have ended before by themselves: one of them has failed too often.
    pub fn drained_by_signal(
        &self,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = io::Result<DrainReport>> {
        let drained = ended_by_signal(self, lame_duck, grace);
        async move {
            let (mut drained, mut ended) = (pin!(drained), pin!(self.ended()));
            poll_fn(|cx| match drained.as_mut().poll(cx) {
                Poll::Ready(report) => Poll::Ready(report),
                Poll::Pending => ended.as_mut().poll(cx).map(|ended| match ended {
                    Ok(()) => Ok(self.report()),
                    Err(error) => Err(io::Error::other(error)),
                }),
            })
            .await
        }
    }

    /// Runs the current loop until SIGTERM or SIGINT, and until all loops have drained since, at most `grace`: the last line of a
    /// server's `main`. A second signal aborts.
    ///
    /// # Errors
    ///
    /// As for [`drained_by_signal`](ServersHandle::drained_by_signal), or when the loop cannot run.
    pub fn run_until_signal(&self, grace: Duration) -> io::Result<DrainReport> {
        let drained = self.drained_by_signal(Duration::ZERO, grace);
        IoLoop::current().run_sync(drained).map_err(io::Error::other)?
    }

    /// Waits until every loop has ended: it was drained, or one has failed too often and the others have drained for it. Never, where the
    /// server stands on the loop on which it was started.
    ///
    /// # Errors
    ///
    /// Those of [`LoopsHandle::ended`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn ended(&self) -> Result<(), LoopsError> {
        match &self.on {
            On::Home => std::future::pending().await,
            On::Loops(loops) => loops.ended().await,
        }
    }

    /// Where the server is on its way to its end: as far as the loop that is furthest. [`DrainPhase::Drained`] if none is there any more.
    pub async fn drain_phase(&self) -> DrainPhase {
        let phases = self.ask_all(ServerHandle::drain_phase).await;
        phases.into_iter().flatten().max().unwrap_or(DrainPhase::Drained)
    }

    /// What each loop has done up to now (TS12).
    pub async fn metrics(&self) -> LoopMetrics {
        let now = self.ask_all(ServerHandle::metrics).await;
        let acceptor = self.ask_on(&self.home, self.group.acceptor, ServerHandle::metrics).await;
        let past = lock(&self.group.past).clone();
        let add = |(now, past): (Option<Metrics>, Metrics)| now.unwrap_or_default() + past;
        LoopMetrics {
            loops: now.into_iter().zip(past).map(add).collect(),
            acceptor: acceptor.unwrap_or_default(),
        }
    }

    /// The connections that are open now, by loop, the oldest of each first (TS12).
    pub async fn connections(&self) -> Vec<Vec<ConnectionInfo>> {
        let all = self.ask_all(ServerHandle::connections).await;
        all.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// That of all loops that have drained.
    fn report(&self) -> DrainReport {
        let reports = lock(&self.group.reports);
        reports.iter().fold(DrainReport::default(), |all, one| DrainReport {
            finished: all.finished + one.finished,
            aborted: all.aborted + one.aborted,
            took: all.took.max(one.took),
        })
    }

    /// The ways to those who serve, by index.
    fn remotes(&self) -> Vec<Option<Remote>> {
        match &self.on {
            On::Home => vec![Some(self.home.clone())],
            On::Loops(loops) => (0..loops.count()).map(|index| loops.remote(index)).collect(),
        }
    }

    fn tell_all(&self, what: fn(&ServerHandle)) {
        let tell = |remote: &Remote, key: Key| {
            remote.add_callback(move || {
                if let Some(member) = Member::find(key) {
                    what(&member.server);
                }
            });
        };
        tell(&self.home, self.group.acceptor);
        self.remotes().iter().flatten().for_each(|remote| tell(remote, self.group.key));
    }

    async fn ask_all<T: Send + 'static>(&self, what: fn(&ServerHandle) -> T) -> Vec<Option<T>> {
        let (remotes, key) = (self.remotes(), self.group.key);
        answers(remotes.len(), |index, answer| {
            if let Some(remote) = &remotes[index] {
                put(remote, key, what, answer);
            }
        })
        .await
    }

    async fn ask_on<T: Send + 'static>(
        &self,
        remote: &Remote,
        key: Key,
        what: fn(&ServerHandle) -> T,
    ) -> Option<T> {
        answers(1, |_, answer| put(remote, key, what, answer)).await.pop().flatten()
    }

    async fn drain_on(&self, remote: &Remote, key: Key, grace: Duration) -> Option<DrainReport> {
        let drain = |_, answer: Answer<DrainReport>| {
            remote.spawn(move || async move {
                let member: Option<Rc<Member>> = Member::find(key);
                if let Some(member) = member {
                    answer.give(member.server.drain(grace).await);
                }
            });
        };
        answers(1, drain).await.pop().flatten()
    }
}

impl Ending for ServersHandle {
    fn lame_duck(&self) {
        ServersHandle::lame_duck(self);
    }

    fn drain(&self, grace: Duration) -> impl Future<Output = DrainReport> {
        ServersHandle::drain(self, grace)
    }

    fn abort(&self) {
        ServersHandle::abort(self);
    }
}

fn put<T: Send + 'static>(remote: &Remote, key: Key, what: fn(&ServerHandle) -> T, answer: Answer<T>) {
    remote.add_callback(move || {
        if let Some(member) = Member::find(key) {
            answer.give(what(&member.server));
        }
    });
}

impl std::fmt::Debug for ServersHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServersHandle").field("loops", &self.loops()).finish_non_exhaustive()
    }
}
