//! A log that panics costs nothing but its lines. In a program of its own: the log is the process's.

#[path = "support/broken_log.rs"]
mod broken_log;
mod support;

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use broken_log::Broken;
use ioloop::testing::VirtualLoop;
use ioloop::{HandlerId, Interest, JobError, LaneOptions};
use mio::event::Source;
use mio::net::UnixStream;
use mio::{Registry, Token};
use support::real_loop;

struct FailsWhenDropped;

impl Drop for FailsWhenDropped {
    fn drop(&mut self) {
        fail();
    }
}

/// Panics past the panic hook, which would print it.
fn fail() {
    resume_unwind(Box::new("on purpose"));
}

fn break_the_log() {
    let _by_another_test = tracing::subscriber::set_global_default(Broken);
}

/// Of which the operating system does not want to hear again.
struct Unwanted(UnixStream);

impl Source for Unwanted {
    fn register(&mut self, registry: &Registry, token: Token, interests: mio::Interest) -> io::Result<()> {
        self.0.register(registry, token, interests)
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: mio::Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)
    }
}

#[test]
fn il13_a_loop_whose_log_panics_goes_on_and_its_error_hook_is_told() {
    break_the_log();
    let test = VirtualLoop::new();
    let told = Rc::new(Cell::new(0));
    let tell = Rc::clone(&told);
    test.set_error_hook(move |_| tell.set(tell.get() + 1));
    test.add_callback(fail);
    test.call_later(Duration::from_secs(1), fail);
    test.spawn_detached(async { fail() });
    let bomb = FailsWhenDropped;
    let task = test.spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    });
    test.run(async {
        ioloop::sleep(Duration::from_secs(2)).await;
        task.abort();
        ioloop::yield_now().await;
    });
    assert_eq!(told.get(), 4);
}

#[test]
fn a_lane_whose_jobs_panic_keeps_its_thread_and_says_what_has_happened() {
    break_the_log();
    let io_loop = real_loop();
    let lane = io_loop.lane("test", LaneOptions::new().threads(1));
    io_loop
        .run_sync(async {
            for _ in 0..3 {
                let outcome = lane.run(|| -> () { fail() }).await;
                assert!(
                    matches!(&outcome, Err(JobError::Panicked(said)) if said == "on purpose"),
                    "{outcome:?}"
                );
            }
            assert_eq!(lane.run(|| 42).await.unwrap(), 42);
        })
        .unwrap();
}

#[test]
fn il13_a_handler_whose_interest_cannot_be_changed_is_all_that_ends() {
    break_the_log();
    let io_loop = real_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let (id, inside) = (Rc::new(Cell::new(None::<HandlerId<Unwanted>>)), io_loop.clone());
    let own = Rc::clone(&id);
    let handler = io_loop.add_handler(Unwanted(ours), Interest::READ, move |_, _| {
        inside.update_handler(own.take().unwrap(), Interest::WRITE).unwrap();
    });
    id.set(Some(handler.unwrap()));
    io_loop.run_sync(async { ioloop::sleep(Duration::from_millis(1)).await }).unwrap();
    assert!(id.take().is_none(), "it was called");
    assert_eq!(io_loop.counters().sources, 0);
}
