//! One worker as its group sees it: the phase it is in, and what is remembered from one life to the next.

use std::thread::ThreadId;
use std::time::Instant;

use super::error::WorkerFailure;
use super::handle::{WorkerState, WorkerStatus};
use super::policy::History;
use crate::Remote;

pub(crate) struct Slot {
    pub(crate) phase: Phase,
    /// How many lives were begun; also the number of the present one.
    pub(crate) lives: u32,
    pub(crate) history: History,
    pub(crate) last_failure: Option<WorkerFailure>,
}

pub(crate) enum Phase {
    /// To be started at this time; never, where it cannot be expressed.
    Waiting {
        until: Option<Instant>,
    },
    Alive(Life),
    /// Its function has returned; its thread is still to be joined.
    Returned {
        outcome: Result<(), WorkerFailure>,
        again: bool,
    },
    Ended,
}

#[derive(Default)]
pub(crate) struct Life {
    /// Known from the moment its loop runs.
    pub(crate) running: Option<(Remote, ThreadId)>,
    pub(crate) ready: bool,
    pub(crate) asked_to_stop: bool,
    /// The worker waits for the request and will end by itself.
    pub(crate) handles_stop: bool,
    /// It is to live again once it has ended.
    pub(crate) again: bool,
}

impl Slot {
    pub(crate) fn new(until: Instant) -> Slot {
        let phase = Phase::Waiting { until: Some(until) };
        Slot { phase, lives: 0, history: History::default(), last_failure: None }
    }

    /// The present life, if it is the one with this number.
    pub(crate) fn life(&mut self, number: u32) -> Option<&mut Life> {
        match &mut self.phase {
            Phase::Alive(life) if self.lives == number => Some(life),
            _ => None,
        }
    }

    /// The loop of the present life and its thread.
    pub(crate) fn running(&self) -> Option<&(Remote, ThreadId)> {
        match &self.phase {
            Phase::Alive(life) => life.running.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.lives.saturating_sub(1)
    }

    pub(crate) fn status(&self, index: usize) -> WorkerStatus {
        let thread = self.running().map(|(_, thread)| *thread);
        let last_failure = self.last_failure.clone();
        WorkerStatus { index, state: self.phase.state(), restarts: self.restarts(), thread, last_failure }
    }
}

impl Phase {
    pub(crate) fn state(&self) -> WorkerState {
        match self {
            Phase::Waiting { .. } => WorkerState::Waiting,
            Phase::Alive(life) if life.asked_to_stop => WorkerState::Stopping,
            Phase::Alive(life) if life.ready => WorkerState::Ready,
            Phase::Alive(_) => WorkerState::Running,
            // Its thread is still there, for a moment.
            Phase::Returned { .. } => WorkerState::Stopping,
            Phase::Ended => WorkerState::Ended,
        }
    }
}

impl Life {
    pub(crate) fn ask_to_stop(&mut self) {
        if std::mem::replace(&mut self.asked_to_stop, true) || self.handles_stop {
            return; // who handles it is woken by the change itself
        }
        // Before its loop runs a stop would be lost; `running` says it then.
        if let Some((remote, _)) = &self.running {
            remote.stop();
        }
    }
}
