//! The end that a signal asks for: first a lame duck, then a drain, and an abort if another signal comes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use ioloop::{IoLoop, Signal, SignalKind, signal};

use crate::drain::DrainReport;
use crate::handle::ServerHandle;
use crate::log::logged;

/// What can be ended by a signal: a server, or one on several loops.
pub(crate) trait Ending {
    fn lame_duck(&self);
    /// Begins to drain when it is first polled.
    fn drain(&self, grace: Duration) -> impl Future<Output = DrainReport>;
    fn abort(&self);
}

impl Ending for ServerHandle {
    fn lame_duck(&self) {
        ServerHandle::lame_duck(self);
    }

    async fn drain(&self, grace: Duration) -> DrainReport {
        ServerHandle::drain(self, grace).await
    }

    fn abort(&self) {
        ServerHandle::abort(self);
    }
}

/// Waits for SIGTERM or SIGINT, which are heard from the call on, then ends `server` in good order. Another signal cuts that short.
pub(crate) fn ended_by_signal(
    server: &impl Ending,
    lame_duck: Duration,
    grace: Duration,
) -> impl Future<Output = std::io::Result<DrainReport>> {
    // Before the loop runs: a crowd that it accepts in its first turn may leave no descriptor for this.
    let (heard_on, signals) = (IoLoop::current(), ends());
    async move {
        let mut signals = signals?;
        if IoLoop::current() != heard_on {
            signals = ends()?; // made where another loop is current than the one that runs it
        }
        drop(heard_on);
        any_of(&mut signals).await;
        Ok(ended_unless(server, &mut signals, lame_duck, grace).await)
    }
}

/// Ends `server` in good order, which one of the signals cuts short.
pub(crate) async fn ended_unless(
    server: &impl Ending,
    signals: &mut [Signal; 2],
    lame_duck: Duration,
    grace: Duration,
) -> DrainReport {
    logged(|| tracing::info!("asked to end: draining"));
    server.lame_duck();
    let mut again = pin!(any_of(signals));
    let is_patient = unless(again.as_mut(), ioloop::sleep(lame_duck)).await.is_some();
    let mut drain = pin!(server.drain(grace));
    let report = if is_patient { unless(again, drain.as_mut()).await } else { None };
    let report = match report {
        Some(report) => report,
        None => {
            logged(|| tracing::warn!("asked to end again: aborting"));
            server.abort();
            drain.await
        }
    };
    logged(|| {
        tracing::info!(report.finished, report.aborted, took = ?report.took, "drained");
    });
    report
}

/// What `future` gives, `None` if `end` is done first.
pub(crate) async fn unless<T>(
    mut end: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// The signals that end a server.
pub(crate) fn ends() -> std::io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::Terminate)?, signal(SignalKind::Interrupt)?])
}

pub(crate) async fn any_of(signals: &mut [Signal; 2]) {
    let [one, other] = signals;
    let (mut one, mut other) = (pin!(one.recv()), pin!(other.recv()));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await;
}
