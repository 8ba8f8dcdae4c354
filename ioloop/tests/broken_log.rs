//! A log that panics costs nothing but its lines. In a program of its own: the log is the process's.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use tracing::{Event, Metadata, Subscriber, span};

/// What `eprintln!` makes of many a listener once nobody reads the standard error any more.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        resume_unwind(Box::new("failed printing to stderr"));
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

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

#[test]
fn il13_a_loop_whose_log_panics_goes_on_and_its_error_hook_is_told() {
    tracing::subscriber::set_global_default(Broken).unwrap();
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
