//! The state of a group of workers, and its rules: no thread, no clock, nobody's code; time is an argument.
//!
//! ```text
//!              started               returned             settled
//!   Waiting ─────────────▶ Alive ──────────────▶ Returned ───────▶ Ended      it was done, or all are to stop
//!      ▲                                            │
//!      └────────────────────────────────────────────┘ it has failed, or is to be restarted
//! ```
//!
//! The supervisor asks [`Group::next_step`] what to do and sleeps when that is nothing. Whatever handles and workers do
//! is a change of this state.

use std::ops::ControlFlow;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::error::{LoopsError, WorkerFailure};
use super::handle::{WorkerState, WorkerStatus};
use super::policy::RestartPolicy;
use super::slot::{Life, Phase, Slot};
use crate::Remote;

pub(crate) struct Group {
    workers: Vec<Slot>,
    policy: RestartPolicy,
    stopping: bool,
    /// Why the group stops, if that is a failure.
    failure: Option<LoopsError>,
    result: Option<Result<(), LoopsError>>,
}

/// Names one life of one worker; stale once that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LifeKey {
    pub(crate) index: usize,
    pub(crate) number: u32,
}

/// What the supervisor is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    /// Joins the worker's thread, then settles.
    Join(usize),
    Finish,
}

/// What has become of a worker that has returned.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It was done, or was stopped.
    Ended,
    /// Somebody asked for its restart.
    Renewed,
    /// It has failed, and will be started again after this time.
    Restarts(WorkerFailure, Duration),
    /// It has failed for the last time.
    Failed(WorkerFailure),
}

impl Group {
    /// A group of workers that are all to be started at `now`.
    pub(crate) fn new(count: usize, policy: RestartPolicy, now: Instant) -> Group {
        let workers = (0..count).map(|_| Slot::new(now)).collect();
        Group { workers, policy, stopping: false, failure: None, result: None }
    }

    /// What is to be done now; else when to ask again, if not only after a change.
    pub(crate) fn next_step(&mut self, now: Instant) -> ControlFlow<Step, Option<Instant>> {
        let mut earliest = None;
        for (index, slot) in self.workers.iter().enumerate() {
            match slot.phase {
                Phase::Returned { .. } => return ControlFlow::Break(Step::Join(index)),
                Phase::Waiting { until: Some(until) } if until <= now => {
                    return ControlFlow::Break(Step::Start(index));
                }
                Phase::Waiting { until: Some(until) } => {
                    earliest = Some(earliest.map_or(until, |other: Instant| other.min(until)));
                }
                Phase::Waiting { until: None } | Phase::Alive(_) | Phase::Ended => {}
            }
        }
        if self.workers.iter().all(|slot| matches!(slot.phase, Phase::Ended)) {
            self.stopping = true; // it is too late for a restart
            return ControlFlow::Break(Step::Finish);
        }
        ControlFlow::Continue(earliest)
    }

    /// Begins a life; `None` if the worker is not to be started after all.
    pub(crate) fn started(&mut self, index: usize) -> Option<LifeKey> {
        let slot = &mut self.workers[index];
        if !matches!(slot.phase, Phase::Waiting { .. }) {
            return None;
        }
        slot.lives = slot.lives.saturating_add(1);
        slot.phase = Phase::Alive(Life::default());
        Some(LifeKey { index, number: slot.lives })
    }

    /// The worker's loop runs; `false` if it is to stop already.
    pub(crate) fn running(&mut self, key: LifeKey, remote: Remote, thread: ThreadId) -> bool {
        self.life(key).is_some_and(|life| {
            life.running = Some((remote, thread));
            !life.asked_to_stop
        })
    }

    /// The worker says that it does what it is for.
    pub(crate) fn ready(&mut self, key: LifeKey) {
        if let Some(life) = self.life(key) {
            life.ready = true;
        }
    }

    /// The worker will end by itself when it is asked to.
    pub(crate) fn handles_stop(&mut self, key: LifeKey) {
        if let Some(life) = self.life(key) {
            life.handles_stop = true;
        }
    }

    /// Whether that life is to end, or has ended.
    pub(crate) fn is_asked_to_stop(&self, key: LifeKey) -> bool {
        let slot = &self.workers[key.index];
        match &slot.phase {
            Phase::Alive(life) if slot.lives == key.number => life.asked_to_stop,
            _ => true,
        }
    }

    pub(crate) fn returned(&mut self, key: LifeKey, outcome: Result<(), WorkerFailure>) {
        if let Some(life) = self.life(key) {
            let again = life.again;
            self.workers[key.index].phase = Phase::Returned { outcome, again };
        }
    }

    /// Decides what becomes of a worker that has returned and whose thread has gone.
    pub(crate) fn settle(&mut self, index: usize, now: Instant) -> Settled {
        let stopping = self.stopping;
        let slot = &mut self.workers[index];
        let Phase::Returned { outcome, again } = std::mem::replace(&mut slot.phase, Phase::Ended) else {
            return Settled::Ended;
        };
        slot.last_failure = outcome.as_ref().err().cloned().or(slot.last_failure.take());
        if again && !stopping {
            slot.phase = Phase::Waiting { until: Some(now) };
            return outcome.err().map_or(Settled::Renewed, |cause| Settled::Restarts(cause, Duration::ZERO));
        }
        let Err(cause) = outcome else { return Settled::Ended };
        let delay = if stopping { None } else { slot.history.next_delay(&self.policy, now) };
        if let Some(delay) = delay {
            slot.phase = Phase::Waiting { until: now.checked_add(delay) };
            return Settled::Restarts(cause, delay);
        }
        let restarts = slot.restarts();
        self.failure.get_or_insert(LoopsError::WorkerFailed {
            worker: index,
            restarts,
            cause: cause.clone(),
        });
        self.stop();
        Settled::Failed(cause)
    }

    /// Asks everybody to end; who waits to be started will not be. Harmless when repeated.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        for slot in &mut self.workers {
            match &mut slot.phase {
                Phase::Waiting { .. } => slot.phase = Phase::Ended,
                Phase::Alive(life) => life.ask_to_stop(),
                Phase::Returned { .. } | Phase::Ended => {}
            }
        }
    }

    /// Has a worker end and begin again, or begin at once if it does not live.
    pub(crate) fn restart(&mut self, index: usize, now: Instant) -> Result<(), LoopsError> {
        let slot = self.workers.get_mut(index).ok_or(LoopsError::NoSuchWorker { index })?;
        if self.stopping {
            return Err(LoopsError::Ending);
        }
        match &mut slot.phase {
            Phase::Waiting { .. } | Phase::Ended => slot.phase = Phase::Waiting { until: Some(now) },
            Phase::Alive(life) => {
                life.again = true;
                life.ask_to_stop();
            }
            Phase::Returned { again, .. } => *again = true,
        }
        Ok(())
    }

    /// All have ended, and nothing of them is left.
    pub(crate) fn finish(&mut self) -> Result<(), LoopsError> {
        let result = self.failure.take().map_or(Ok(()), Err);
        self.result.insert(result).clone()
    }

    /// The end of the group, if it has come.
    pub(crate) fn result(&self) -> Option<Result<(), LoopsError>> {
        self.result.clone()
    }

    /// `Ok` once every worker is ready or has ended; `None` while that may still come.
    pub(crate) fn readiness(&self) -> Option<Result<(), LoopsError>> {
        if let Some(failure) = &self.failure {
            return Some(Err(failure.clone()));
        }
        self.result().or_else(|| self.unready().is_empty().then_some(Ok(())))
    }

    pub(crate) fn not_ready(&self) -> LoopsError {
        LoopsError::NotReady { workers: self.unready() }
    }

    pub(crate) fn still_running(&self) -> LoopsError {
        LoopsError::StillRunning { workers: self.indices(|state| state != WorkerState::Ended) }
    }

    pub(crate) fn remote(&self, index: usize) -> Option<Remote> {
        self.workers.get(index)?.running().map(|(remote, _)| remote.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        self.workers.iter().enumerate().map(|(index, slot)| slot.status(index)).collect()
    }

    fn unready(&self) -> Vec<usize> {
        self.indices(|state| !matches!(state, WorkerState::Ready | WorkerState::Ended))
    }

    fn indices(&self, wanted: impl Fn(WorkerState) -> bool) -> Vec<usize> {
        let workers = self.workers.iter().enumerate();
        workers.filter(|(_, slot)| wanted(slot.phase.state())).map(|(index, _)| index).collect()
    }

    fn life(&mut self, key: LifeKey) -> Option<&mut Life> {
        self.workers[key.index].life(key.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn failed() -> Result<(), WorkerFailure> {
        Err(WorkerFailure::Failed("broken".to_owned()))
    }

    /// A group of `count` whose delays are 1, 2, 4 … seconds and whose workers all live.
    fn alive(count: usize, restarts: u32) -> (Group, Vec<LifeKey>, Instant) {
        let now = Instant::now();
        let policy = RestartPolicy::new().max_restarts(restarts).first_delay(S(1));
        let mut group = Group::new(count, policy, now);
        let keys = (0..count).map(|index| {
            assert_eq!(group.next_step(now), ControlFlow::Break(Step::Start(index)));
            group.started(index).unwrap()
        });
        let keys = keys.collect();
        assert_eq!(group.next_step(now), ControlFlow::Continue(None));
        (group, keys, now)
    }

    /// The life ends, and its thread with it.
    fn end(group: &mut Group, key: LifeKey, outcome: Result<(), WorkerFailure>, now: Instant) -> Settled {
        group.returned(key, outcome);
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Join(key.index)));
        group.settle(key.index, now)
    }

    #[test]
    fn pr6_a_failed_worker_waits_for_its_delay_and_the_earliest_is_waited_for() {
        let (mut group, keys, now) = alive(2, 5);
        assert!(
            matches!(end(&mut group, keys[0], failed(), now), Settled::Restarts(_, delay) if delay == S(1))
        );
        end(&mut group, keys[1], failed(), now + S(1) / 2);
        assert_eq!(group.next_step(now + S(1) / 2), ControlFlow::Continue(Some(now + S(1))));
        assert_eq!(group.next_step(now + S(1)), ControlFlow::Break(Step::Start(0)));
        let second = group.started(0).unwrap();
        assert_eq!(second, LifeKey { index: 0, number: 2 });
        assert_eq!(group.next_step(now + S(1)), ControlFlow::Continue(Some(now + S(3) / 2)));
        assert!(
            matches!(end(&mut group, second, failed(), now + S(1)), Settled::Restarts(_, delay) if delay == S(2))
        );
    }

    #[test]
    fn pr5_the_last_failure_stops_the_others_and_is_the_result_once_they_have_ended() {
        let (mut group, keys, now) = alive(3, 0);
        assert!(matches!(end(&mut group, keys[1], failed(), now), Settled::Failed(_)));
        assert!(group.is_asked_to_stop(keys[0]) && group.is_asked_to_stop(keys[2]));
        assert!(group.result().is_none(), "nobody is left behind");
        end(&mut group, keys[2], Ok(()), now);
        end(&mut group, keys[0], failed(), now);
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Finish));
        let error = group.finish().unwrap_err();
        assert!(
            matches!(error, LoopsError::WorkerFailed { worker: 1, restarts: 0, .. }),
            "the first: {error}"
        );
        assert!(group.result().is_some_and(|result| result.is_err()));
    }

    #[test]
    fn pr6_a_stop_ends_who_waits_to_be_restarted_and_who_is_just_being_started() {
        let (mut group, keys, now) = alive(2, 5);
        end(&mut group, keys[0], failed(), now);
        end(&mut group, keys[1], failed(), now);
        assert_eq!(group.next_step(now + S(1)), ControlFlow::Break(Step::Start(0)));
        group.stop();
        assert_eq!(group.started(0), None);
        assert_eq!(group.next_step(now + S(1)), ControlFlow::Break(Step::Finish));
        assert!(group.finish().is_ok(), "failures that were to be mended are no failure of the group");
    }

    #[test]
    fn pr8_a_restart_cuts_a_delay_short_revives_the_ended_and_costs_no_attempt() {
        let (mut group, keys, now) = alive(3, 1);
        end(&mut group, keys[0], failed(), now);
        end(&mut group, keys[1], Ok(()), now);
        for index in 0..3 {
            group.restart(index, now).unwrap();
        }
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Start(0)));
        group.started(0).unwrap();
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Start(1)));
        group.started(1).unwrap();
        assert!(group.is_asked_to_stop(keys[2]));
        assert!(matches!(end(&mut group, keys[2], failed(), now), Settled::Restarts(_, Duration::ZERO)));
        let again = group.started(2).unwrap();
        assert!(
            matches!(end(&mut group, again, failed(), now), Settled::Restarts(_, delay) if delay == S(1))
        );
        assert!(matches!(group.restart(3, now), Err(LoopsError::NoSuchWorker { index: 3 })));
    }

    #[test]
    fn pr8_a_stop_overtakes_a_restart_that_was_asked_for() {
        let (mut group, keys, now) = alive(1, 5);
        group.restart(0, now).unwrap();
        group.stop();
        assert!(matches!(end(&mut group, keys[0], Ok(()), now), Settled::Ended));
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Finish));
    }

    #[test]
    fn pr8_nothing_is_restarted_once_the_end_has_been_seen() {
        let (mut group, keys, now) = alive(1, 5);
        end(&mut group, keys[0], Ok(()), now);
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Finish));
        assert!(matches!(group.restart(0, now), Err(LoopsError::Ending)));
    }

    #[test]
    fn pr8_what_an_earlier_life_says_is_not_heard() {
        let (mut group, keys, now) = alive(1, 5);
        group.ready(keys[0]);
        assert!(matches!(group.readiness(), Some(Ok(()))));
        group.restart(0, now).unwrap();
        assert!(group.readiness().is_none(), "not ready from the moment it is asked");
        end(&mut group, keys[0], Ok(()), now);
        let second = group.started(0).unwrap();
        group.ready(keys[0]);
        group.handles_stop(keys[0]);
        group.returned(keys[0], failed());
        assert!(group.readiness().is_none());
        assert!(group.is_asked_to_stop(keys[0]) && !group.is_asked_to_stop(second));
        group.ready(second);
        assert!(matches!(group.readiness(), Some(Ok(()))));
    }

    #[test]
    fn pr6_a_delay_beyond_all_time_is_waited_for_until_somebody_stops_it() {
        let now = Instant::now();
        let policy = RestartPolicy::new().first_delay(Duration::MAX).max_delay(Duration::MAX);
        let mut group = Group::new(1, policy, now);
        let key = group.started(0).unwrap();
        end(&mut group, key, failed(), now);
        assert_eq!(group.next_step(now + S(1_000_000)), ControlFlow::Continue(None));
        group.stop();
        assert_eq!(group.next_step(now), ControlFlow::Break(Step::Finish));
    }
}
