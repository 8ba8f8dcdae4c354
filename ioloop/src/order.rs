//! The order in which a loop runs what is ready at the same time: the promised one, or for tests one by chance.

use std::collections::VecDeque;

use crate::io_loop::{Inner, Runnable};
use crate::random::Random;
use crate::timers::TimerKey;

/// Who comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// First in, first out (IL10, IL21).
    AsPromised,
    /// Tasks that are ready together, and timers with equal deadlines, in an order that the seed decides. Callbacks keep
    /// theirs among themselves: programs are built on that.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "built by ioloop::testing alone")
    )]
    Seeded,
}

impl Inner {
    /// Mixes the tasks among each other and in between the callbacks.
    pub(crate) fn shuffle_ready(&self) {
        if self.order == Order::AsPromised {
            return;
        }
        let mut ready = self.ready.borrow_mut();
        let is_call = |runnable: &Runnable| matches!(runnable, Runnable::Call(_));
        let (mut calls, mut tasks): (VecDeque<_>, VecDeque<_>) = ready.drain(..).partition(is_call);
        shuffle(tasks.make_contiguous(), &self.random);
        while !calls.is_empty() || !tasks.is_empty() {
            let call_next = self.random.below(calls.len() + tasks.len()) < calls.len();
            ready.extend(if call_next { calls.pop_front() } else { tasks.pop_front() });
        }
    }

    /// Mixes each run of timers that have one deadline.
    pub(crate) fn shuffle_due(&self, due: &mut [TimerKey]) {
        if self.order == Order::AsPromised {
            return;
        }
        let mut timers = self.timers.borrow_mut();
        for run in due.chunk_by_mut(|one, other| timers.deadline_of(*one) == timers.deadline_of(*other)) {
            shuffle(run, &self.random);
        }
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}
