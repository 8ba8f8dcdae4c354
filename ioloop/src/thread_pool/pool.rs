//! The queue of a lane and its threads, under one lock that no code of the user's runs under.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use slab::Slab;

use super::job::JobError;
use super::metrics::LaneMetrics;
use super::options::LaneOptions;
use crate::panics::{caught, logged};

/// A job to run. It reports once whether it returned (`true`) or panicked, before it gives its result away.
pub(super) type Work = Box<dyn FnOnce(&dyn Fn(bool)) + Send>;

/// Names one job of one lane, in the order in which they came.
pub(super) type Ticket = u64;

/// Who is to run a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// Whichever thread of the lane is free first.
    Thread,
    /// The loop on virtual time that asked for it, by [`Pool::run_held`].
    Loop,
}

pub(super) struct Pool {
    name: String,
    options: LaneOptions,
    state: Mutex<State>,
    /// There is a job for a thread, or there will be none any more.
    changed: Condvar,
}

/// While `queue` holds a job there is a thread, for a thread ends only when it finds the queue empty.
struct State {
    /// Whether jobs may still come.
    open: bool,
    next_ticket: Ticket,
    /// For the threads. A map, so that a job can be taken back from the middle and frees its place at once.
    queue: BTreeMap<Ticket, Queued>,
    /// For loops on virtual time, each job by its ticket.
    held: BTreeMap<Ticket, Queued>,
    threads: Slab<Thread>,
    /// All but `queued` and `threads`, which the tables know.
    tally: LaneMetrics,
}

struct Queued {
    work: Work,
    since: Instant,
}

struct Thread {
    handle: Option<JoinHandle<()>>,
    /// Waits for a job, or has just been started and will. Each such thread is good for one job of the queue.
    idle: bool,
}

impl Pool {
    pub(super) fn new(name: &str, options: LaneOptions) -> Pool {
        let state = State {
            open: true,
            next_ticket: 0,
            queue: BTreeMap::new(),
            held: BTreeMap::new(),
            threads: Slab::new(),
            tally: LaneMetrics::default(),
        };
        Pool { name: name.to_owned(), options, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn metrics(&self) -> LaneMetrics {
        let state = self.lock();
        LaneMetrics { queued: state.queued(), threads: state.threads.len(), ..state.tally }
    }

    /// Queues a job for its runner. One that is refused is dropped.
    pub(super) fn submit(self: &Arc<Pool>, runner: Runner, work: Work) -> Result<Ticket, JobError> {
        let since = Instant::now();
        let mut state = self.lock();
        if let Err(refusal) = self.admit(&mut state, runner) {
            state.tally.rejected += 1;
            drop(state);
            self.drop_unrun(work);
            return Err(refusal);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        match runner {
            Runner::Loop => state.held.insert(ticket, Queued { work, since }),
            Runner::Thread => state.queue.insert(ticket, Queued { work, since }),
        };
        drop(state);
        if runner == Runner::Thread {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    /// Whether one more job may come. If it is for a thread and none is free to take it, starts one.
    fn admit(self: &Arc<Pool>, state: &mut State, runner: Runner) -> Result<(), JobError> {
        let LaneOptions { threads, queue, .. } = self.options;
        if !state.open {
            return Err(JobError::Closed);
        }
        // Running jobs count, too: how soon a thread takes a job out of the queue must not decide.
        if state.tally.running + state.queued() >= threads.saturating_add(queue) {
            return Err(JobError::QueueFull);
        }
        if runner == Runner::Thread && state.queue.len() >= state.idle() && state.threads.len() < threads {
            match self.start_thread(state) {
                Err(error) if state.threads.is_empty() => return Err(JobError::NoThread(error.kind())),
                Ok(()) | Err(_) => {} // a lane with a thread goes on with what it has
            }
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Pool>, state: &mut State) -> io::Result<()> {
        let entry = state.threads.vacant_entry();
        let me = entry.key();
        let pool = Arc::clone(self);
        // A thread whose name has the byte 0 in it cannot be started.
        let name = format!("ioloop-{}-{me}", self.name.replace('\0', "?"));
        let handle = thread::Builder::new().name(name).spawn(move || pool.work(me))?;
        entry.insert(Thread { handle: Some(handle), idle: true });
        Ok(())
    }

    /// The life of a thread.
    fn work(&self, me: usize) {
        while let Some(queued) = self.next(me) {
            self.run(queued.work);
        }
    }

    /// Waits for a job. `None` when the thread is to end, and is no longer among the pool's.
    fn next(&self, me: usize) -> Option<Queued> {
        let mut state = self.lock();
        state.threads[me].idle = true;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, self.options.idle_timeout, |state| {
                state.open && state.queue.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        // Even when the time is up: a job that came in this moment counts on this thread.
        let Some((_, queued)) = state.queue.pop_first() else {
            state.threads.remove(me);
            return None;
        };
        state.threads[me].idle = false;
        state.begin(queued.since.elapsed());
        Some(queued)
    }

    fn run(&self, work: Work) {
        let report = |returned| {
            let mut state = self.lock();
            state.tally.running -= 1;
            let ended = if returned { &mut state.tally.completed } else { &mut state.tally.panicked };
            *ended += 1;
        };
        // The job's own panic is caught inside; what is left is a foreign waker's, or the result's destructor's.
        if let Err(panic) = caught(|| work(&report)) {
            logged(|| tracing::error!(lane = self.name, panic, "handing over a job's result panicked"));
        }
    }

    /// Runs a job on the calling thread, unless it has been cancelled. Its loop's clock has stood still since it came.
    pub(super) fn run_held(&self, ticket: Ticket) {
        let mut state = self.lock();
        let Some(queued) = state.held.remove(&ticket) else { return };
        state.begin(Duration::ZERO);
        drop(state);
        self.run(queued.work);
    }

    /// Takes a job back that has not begun. Without effect on any other.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let mut state = self.lock();
        let Some(queued) = state.queue.remove(&ticket).or_else(|| state.held.remove(&ticket)) else { return };
        state.tally.cancelled += 1;
        drop(state);
        self.drop_unrun(queued.work);
    }

    /// No job can come any more: the threads end when the queue is empty.
    pub(super) fn retire(&self) {
        self.lock().open = false;
        self.changed.notify_all();
    }

    /// Drops the jobs that have not begun, and waits for the threads that have none. Those wait for nothing but the
    /// lock; what has a job may never end, and is left to itself.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        let mut unrun = std::mem::take(&mut state.queue);
        unrun.append(&mut state.held);
        state.tally.cancelled += unrun.len() as u64;
        let threads = state.threads.iter_mut().filter(|(_, thread)| thread.idle);
        let idle: Vec<_> = threads.filter_map(|(_, thread)| thread.handle.take()).collect();
        drop(state);
        self.changed.notify_all();
        unrun.into_values().for_each(|queued| self.drop_unrun(queued.work));
        // A thread's own loop closes in a thread-local destructor, which on Windows holds a lock that every thread
        // needs to end.
        if cfg!(not(windows)) {
            idle.into_iter().for_each(|thread| drop(thread.join()));
        }
    }

    /// Drops a job, which breaks its promise. A panic in a destructor costs nothing else.
    fn drop_unrun(&self, work: Work) {
        if let Err(panic) = caught(|| drop(work)) {
            logged(|| tracing::error!(lane = self.name, panic, "a job panicked while it was dropped"));
        }
    }

    /// No code that may panic runs while the lock is held, so a poisoned lock has whole data.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queued(&self) -> usize {
        self.queue.len() + self.held.len()
    }

    fn idle(&self) -> usize {
        self.threads.iter().filter(|(_, thread)| thread.idle).count()
    }

    fn begin(&mut self, waited: Duration) {
        self.tally.running += 1;
        self.tally.total_wait += waited;
        self.tally.longest_wait = self.tally.longest_wait.max(waited);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn job(f: impl FnOnce() + Send + 'static) -> Work {
        Box::new(move |report| {
            f();
            report(true);
        })
    }

    /// Waits until every thread waits for a job; only the pool itself can tell.
    fn wait_until_idle(pool: &Pool) {
        loop {
            let state = pool.lock();
            if state.queue.is_empty() && state.idle() == state.threads.len() {
                return;
            }
            drop(state);
            thread::yield_now();
        }
    }

    #[test]
    fn il39_threads_without_a_job_have_ended_when_closing_returns() {
        let pool = Arc::new(Pool::new("test", LaneOptions::new().idle_timeout(Duration::MAX)));
        for _ in 0..3 {
            assert!(pool.submit(Runner::Thread, job(|| {})).is_ok());
        }
        wait_until_idle(&pool);
        assert!(pool.metrics().threads > 0);
        pool.close();
        assert_eq!((pool.metrics().threads, Arc::strong_count(&pool)), (0, 1));
    }

    #[test]
    fn il39_threads_that_wait_end_when_no_job_can_come_any_more() {
        let pool = Arc::new(Pool::new("test", LaneOptions::new().idle_timeout(Duration::MAX)));
        assert!(pool.submit(Runner::Thread, job(|| {})).is_ok());
        wait_until_idle(&pool);
        let handles: Vec<_> = pool.lock().threads.iter_mut().filter_map(|(_, it)| it.handle.take()).collect();
        pool.retire();
        assert_eq!(handles.len(), 1);
        handles.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.metrics().threads, 0);
    }

    #[test]
    fn il39_a_free_thread_is_used_again_and_a_new_one_is_started_for_each_job_beyond() {
        let pool = Arc::new(Pool::new("test", LaneOptions::new().threads(3).idle_timeout(Duration::MAX)));
        for _ in 0..10 {
            assert!(pool.submit(Runner::Thread, job(|| {})).is_ok());
            wait_until_idle(&pool);
        }
        assert_eq!(pool.metrics().threads, 1);
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for n in 1..=5 {
            let gate = Arc::clone(&gate);
            let waits = job(move || assert!(gate.lock().unwrap().recv().is_err()));
            assert!(pool.submit(Runner::Thread, waits).is_ok());
            assert_eq!(pool.metrics().threads, n.min(3));
        }
        drop(release);
        wait_until_idle(&pool);
        pool.close();
    }
}
