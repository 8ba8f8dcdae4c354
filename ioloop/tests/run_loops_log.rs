//! What is logged of many loops. In a program of its own: the log is the process's.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ioloop::{Loops, RestartPolicy, Worker};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

async fn fail_once(worker: Worker) -> Result<(), &'static str> {
    if worker.restarts() == 0 { Err("the first time") } else { Ok(()) }
}

#[test]
fn pr4_each_end_of_a_worker_is_logged_with_its_level_and_cause_and_the_log_may_panic() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let at_once = RestartPolicy::new().first_delay(Duration::ZERO).max_restarts(1);
    Loops::new(1).restart(at_once.clone()).run(fail_once).unwrap();
    let failed = "WARN a worker has failed and will be restarted: it failed: the first time";
    assert_eq!(log.take(), [failed, "INFO a worker has ended"]);

    let _named = Loops::new(1).restart(at_once.clone()).run(|_| async { Err("every time") }).unwrap_err();
    let last = "ERROR a worker has failed for the last time; the others are stopped: it failed: every time";
    assert_eq!(log.take()[1..], [last]);

    log.broken.store(true, Ordering::Relaxed);
    Loops::new(1).restart(at_once).run(fail_once).unwrap();
}

/// Keeps each event as `LEVEL message: cause`, or panics.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    broken: Arc<AtomicBool>,
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

#[derive(Default)]
struct Line {
    message: String,
    cause: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "cause" => self.cause = format!(": {value:?}"),
            _ => {}
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ioloop")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        assert!(!self.broken.load(Ordering::Relaxed), "the disk is full");
        let mut line = Line::default();
        event.record(&mut line);
        self.lines.lock().unwrap().push(format!(
            "{} {}{}",
            event.metadata().level(),
            line.message,
            line.cause
        ));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
