//! The supervisor: the one thread that starts workers, waits for them, and starts them again.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::error::{LoopsError, WorkerFailure};
use super::group::{Group, Settled, Step};
use super::watched::Watched;
use super::worker::Worker;
use crate::panics::{caught, logged};

/// One life of a worker, whatever the type of its function.
pub(crate) type Live = dyn Fn(Worker) -> Result<(), WorkerFailure> + Send + Sync;

pub(crate) struct Supervisor {
    group: Arc<Watched<Group>>,
    name: String,
    live: Arc<Live>,
    threads: Vec<Option<JoinHandle<()>>>,
}

impl Supervisor {
    pub(crate) fn new(group: Arc<Watched<Group>>, name: String, live: Arc<Live>) -> Supervisor {
        let threads = (0..group.read(Group::count)).map(|_| None).collect();
        Supervisor { group, name, live, threads }
    }

    /// Works until every worker has ended for good; gives the end of the group.
    pub(crate) fn run(mut self) -> Result<(), LoopsError> {
        loop {
            match self.group.wait(|group| group.next_step(Instant::now())) {
                Step::Start(index) => self.start(index),
                Step::Join(index) => self.join(index),
                Step::Finish => break,
            }
        }
        // What the worker's function holds is let go before anybody hears that all has ended.
        let Supervisor { group, name, live, .. } = self;
        if let Err(panic) = caught(|| drop(live)) {
            logged(|| tracing::error!(name, panic, "the worker function panicked while it was dropped"));
        }
        group.update(Group::finish)
    }

    fn start(&mut self, index: usize) {
        let Some(life) = self.group.update(|group| group.started(index)) else { return };
        let worker = Worker::new(Arc::clone(&self.group), life);
        let (live, its_worker) = (Arc::clone(&self.live), worker.clone());
        // A thread of its own for each life: what the last one left in thread-locals went with it.
        let thread = thread::Builder::new().name(format!("{}-{index}", self.name));
        match thread.spawn(move || its_worker.returned(live(its_worker.clone()))) {
            Ok(thread) => self.threads[index] = Some(thread),
            Err(error) => worker.returned(Err(WorkerFailure::NotStarted(Arc::new(error)))),
        }
    }

    fn join(&mut self, index: usize) {
        if let Some(thread) = self.threads[index].take() {
            // It has returned already, and every panic before that was caught.
            let _ended = thread.join();
        }
        let settled = self.group.update(|group| group.settle(index, Instant::now()));
        logged(|| log(&self.name, index, &settled)); // nobody would wait for the workers if it ended this thread
    }
}

fn log(name: &str, index: usize, settled: &Settled) {
    match settled {
        Settled::Ended => tracing::info!(name, index, "a worker has ended"),
        Settled::Renewed => tracing::info!(name, index, "a worker is restarted as it was asked to be"),
        Settled::Restarts(cause, after) => {
            tracing::warn!(name, index, %cause, ?after, "a worker has failed and will be restarted");
        }
        Settled::Failed(cause) => {
            tracing::error!(name, index, %cause, "a worker has failed for the last time; the others are stopped");
        }
    }
}
