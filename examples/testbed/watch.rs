//! What can be seen of the testbed from outside, and how one of its loops is made to die.

use std::cell::{Cell, OnceCell};
use std::fmt::Write;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use httpserver::ServerHandle;
use ioloop::{IoLoop, SignalKind, signal};

thread_local! {
    static SERVER: OnceCell<ServerHandle> = const { OnceCell::new() };
    static SIGNALS: Cell<u64> = const { Cell::new(0) };
    static DYING: Cell<bool> = const { Cell::new(false) };
    static GUARD: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Has this thread's counters be those of `server`.
pub fn watch(server: &ServerHandle) {
    let _first = SERVER.with(|place| place.set(server.clone()));
}

/// What this thread's loop and server count, a line each: those that stand still when nothing happens come first.
pub fn counters() -> String {
    let loops = IoLoop::current().counters();
    let metrics = SERVER.with(|server| server.get().map(ServerHandle::metrics)).unwrap_or_default();
    let mut text = String::new();
    let mut line = |name: &str, value: u64| {
        let _never_fails = writeln!(text, "{name} {value}");
    };
    line("connections", metrics.active);
    line("tasks", loops.tasks as u64);
    line("timers", loops.timers as u64);
    line("sources", loops.sources as u64);
    line("blocks", iostream::leased_blocks() as u64);
    line("accepted", metrics.accepted);
    line("accept_failures", metrics.accept_failures);
    line("received", metrics.bytes_received);
    line("turns", loops.turns);
    line("polls", loops.polls);
    line("panics", loops.panics);
    line("signals", SIGNALS.get());
    line("worker", ioloop::worker_index().unwrap_or_default() as u64);
    text
}

/// Takes signals that would end the process, and only counts them.
pub fn count_signals(io_loop: &IoLoop) -> std::io::Result<()> {
    for kind in [SignalKind::Hangup, SignalKind::User1, SignalKind::User2] {
        let mut signal = signal(kind)?;
        io_loop.spawn_detached(async move {
            loop {
                signal.recv().await;
                SIGNALS.set(SIGNALS.get() + 1);
            }
        });
    }
    Ok(())
}

/// Has the worker of this thread panic.
pub fn die() {
    DYING.set(true);
    if let Some(waker) = GUARD.take() {
        waker.wake();
    }
}

/// Waits for [`die`], and panics.
pub async fn until_dying() {
    poll_fn(|cx| {
        assert!(!DYING.get(), "asked to die");
        GUARD.set(Some(cx.waker().clone()));
        Poll::<()>::Pending
    })
    .await;
}
