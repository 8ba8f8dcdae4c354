//! The loop's work beside that of other runtimes: one table of cases, measured by `ioloop_ratios`, by the bench `runtimes`
//! and by `instructions --ioloop`.
//!
//! All contenders of a case do the same work, said once where it can be (`work.rs`), each in its own words where it cannot.

mod clock;
mod on_ioloop;
mod on_smol;
mod on_tokio;
mod work;

use std::time::Duration;

pub use crate::contest::{Case, Contender, Measure};

/// The others that wait.
const OUTSTANDING: u64 = 1_000_000;

/// What is queued at a time where the cost of one is asked for and not that of its turn.
const BATCH: u64 = 1_000;

const HOUR: Duration = Duration::from_secs(3_600);

macro_rules! contenders {
    ($($name:literal: $prepare:path),+ $(,)?) => {
        &[$(Contender { name: $name, prepare: $prepare }),+]
    };
}

/// All cases, in the order of the table.
pub const CASES: &[Case] = &[
    Case {
        name: "timer-callback",
        what: "set and remove a timer, a million others waiting",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::set_and_remove,
            "tokio": on_tokio::sleep_and_drop,
            "async-io": on_smol::sleep_and_drop,
        },
    },
    Case {
        name: "sleep",
        what: "poll a sleep once and drop it, a million others waiting",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::sleep_and_drop,
            "tokio": on_tokio::sleep_and_drop,
            "async-io": on_smol::sleep_and_drop,
        },
    },
    Case {
        name: "sleep-replace",
        what: "drop one of a million sleeps, any, and begin another in its place",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::replace,
            "tokio": on_tokio::replace,
            "async-io": on_smol::replace,
        },
    },
    Case {
        name: "deadline-later",
        what: "push one of a million deadlines forward, any",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::push_forward,
            "tokio": on_tokio::push_forward,
            "async-io": on_smol::push_forward,
        },
    },
    Case {
        name: "sleep-pass",
        what: "begin a million sleeps and let them pass",
        iterations: OUTSTANDING,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::let_pass,
            "tokio": on_tokio::let_pass,
            "async-io": on_smol::let_pass,
        },
    },
    Case {
        name: "spawn-million",
        what: "spawn a million tasks that do nothing, then run them",
        iterations: OUTSTANDING,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::spawn_at_once,
            "tokio": on_tokio::spawn_at_once,
            "async-executor": on_smol::spawn_at_once,
        },
    },
    Case {
        name: "spawn",
        what: "spawn and run tasks that do nothing, a thousand at a time",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::spawn_in_batches,
            "tokio": on_tokio::spawn_in_batches,
            "async-executor": on_smol::spawn_in_batches,
        },
    },
    Case {
        name: "spawn-join",
        what: "the same, and wait for each by its handle",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::spawn_and_join,
            "tokio": on_tokio::spawn_and_join,
            "async-executor": on_smol::spawn_and_join,
        },
    },
    Case {
        name: "callback",
        what: "have the loop call back, a thousand at a time (others: spawn)",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::call_back,
            "tokio": on_tokio::spawn_in_batches,
            "async-executor": on_smol::spawn_in_batches,
        },
    },
    Case {
        name: "wake-self",
        what: "wake to poll, one task that wakes itself",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::wake_self,
            "ioloop, watched": on_ioloop::wake_self_watched,
            "tokio": on_tokio::wake_self,
            "async-executor": on_smol::wake_self,
        },
    },
    Case {
        name: "wake-pair",
        what: "wake to poll, two tasks that wake each other",
        iterations: 300_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::wake_pair,
            "tokio": on_tokio::wake_pair,
            "async-executor": on_smol::wake_pair,
        },
    },
    Case {
        name: "wake-thousand",
        what: "wake to poll, a thousand tasks that wake themselves",
        iterations: 1_000_000,
        alone: true,
        contenders: contenders! {
            "ioloop": on_ioloop::wake_thousand,
            "ioloop, watched": on_ioloop::wake_thousand_watched,
            "tokio": on_tokio::wake_thousand,
            "async-executor": on_smol::wake_thousand,
        },
    },
    Case {
        name: "thread-post",
        what: "have another thread's loop call back, and wait for it",
        iterations: 5_000,
        alone: false,
        contenders: contenders! {
            "ioloop": on_ioloop::post_and_wait,
            "tokio spawn": on_tokio::spawn_and_wait,
            "tokio mpsc": on_tokio::send_and_wait,
            "async-executor": on_smol::spawn_and_wait,
        },
    },
    Case {
        name: "thread-wake",
        what: "wake a task on another thread's loop, and wait for it",
        iterations: 5_000,
        alone: false,
        contenders: contenders! {
            "ioloop": on_ioloop::wake_and_wait,
            "tokio": on_tokio::wake_and_wait,
            "async-executor": on_smol::wake_and_wait,
        },
    },
    Case {
        name: "threads-1",
        what: "callbacks from one other thread, as many as it can",
        iterations: 500_000,
        alone: false,
        contenders: contenders! {
            "ioloop": on_ioloop::posts_of_one,
            "tokio spawn": on_tokio::spawns_of_one,
            "tokio mpsc": on_tokio::sends_of_one,
            "async-executor": on_smol::spawns_of_one,
        },
    },
    Case {
        name: "threads-4",
        what: "callbacks from four other threads, as many as they can",
        iterations: 500_000,
        alone: false,
        contenders: contenders! {
            "ioloop": on_ioloop::posts_of_four,
            "tokio spawn": on_tokio::spawns_of_four,
            "tokio mpsc": on_tokio::sends_of_four,
            "async-executor": on_smol::spawns_of_four,
        },
    },
];
