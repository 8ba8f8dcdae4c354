//! A single-threaded event loop with callbacks, timers and futures, after Tornado's `ioloop`.
//!
//! **In scope:** readiness of descriptors, as callbacks ([`IoLoop::add_handler`]) and as futures ([`AsyncSource`]); callbacks,
//! timers, periodic callbacks ([`PeriodicCallback`]), tasks; signals and, with the feature `process`, waiting for child
//! processes; access from other threads ([`Remote`]), thread pools for blocking work ([`IoLoop::run_in_executor`], [`Lane`]), many loops
//! on as many threads ([`run_loops`]); monitoring ([`Measurements`], [`IoLoop::watch_blocking`]); virtual
//! time for tests (feature `testing`).
//! **Out of scope:** streams and buffers (`iostream`), sockets and names (`netutil`), servers (`tcpserver`).
//!
//! ```
//! use std::time::Duration;
//! use ioloop::IoLoop;
//!
//! let io_loop = IoLoop::new()?;
//! let answer = io_loop.run_sync(async {
//!     ioloop::sleep(Duration::from_millis(1)).await;
//!     42
//! })?;
//! assert_eq!(answer, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Three rules
//!
//! 1. **One loop, one thread.** [`IoLoop`] and everything made from it stay on its thread; only [`Remote`]
//!    may be sent to others, and [`Lane`], whose jobs know nothing of loops.
//! 2. **Readiness is edge-triggered**: a handler is called when a source *becomes* ready and must go on until
//!    `WouldBlock`. Tornado's pollers are level-triggered; [`IoLoop::add_handler`] explains the difference.
//! 3. **What is queued during a turn runs in the next**: callbacks, tasks, timers. So they cannot starve I/O.
//!
//! # What things cost
//!
//! - A turn is one `epoll_wait` and one look at the clock, with a second look before a sleep. Short turns of tasks that
//!   follow each other share them, up to 61 polls of tasks or a tenth of a millisecond.
//! - Recording what runs costs one store for each piece of work; the loop's measurements cost no syscall.
//! - A sleep until a deadline that is 10 ms away or more is ended by an alarm (on Linux a timerfd), which is set
//!   once for many sleeps, so that the poll needs no timeout of its own.
//! - Waking a task on the loop's thread is a push onto a queue: no lock, no syscall, no allocation. Posts from other threads share one
//!   wake-up of the loop.
//! - A task is its boxed future and 32 bytes in a table. It borrows a waker while it is polled, and has one of its own only while
//!   somebody keeps a clone.
//! - A source is 24 bytes, a timer 32. Setting and cancelling a timer is O(1), and pushing a [`Deadline`] forward is a store.
//! - Queues and tables give memory back after a spike. They grow piece by piece, so they never take twice what is in them.

#![forbid(unsafe_code)]

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod alarm;
mod async_source;
mod before_poll;
#[cfg(all(unix, feature = "process"))]
mod child;
mod clock;
mod counters;
mod error;
mod executor;
#[cfg(all(unix, feature = "process"))]
mod exit_event;
mod handlers;
mod histogram;
mod inbox;
mod io_loop;
mod join;
mod measurements;
mod order;
mod origin;
mod panics;
mod periodic;
mod random;
mod ready;
mod registration;
mod remote;
mod run_loops;
mod running;
#[cfg(unix)]
mod signal;
mod sources;
mod spares;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod thread_pool;
mod time;
mod timers;
mod trim;
mod turn;
mod wake;
mod watchdog;
mod wheel;

pub use async_source::AsyncSource;
#[cfg(unix)]
pub use async_source::Fd;
pub use before_poll::BeforePoll;
#[cfg(all(unix, feature = "process"))]
pub use child::{ChildProcess, exit_code};
pub use counters::Counters;
#[cfg(all(unix, feature = "process"))]
pub use error::ChildError;
pub use error::{JoinError, NoSuchHandler, PeriodicError, RunError, TimedOut, UpdateError};
pub use handlers::HandlerId;
pub use histogram::Histogram;
pub use io_loop::IoLoop;
pub use join::JoinHandle;
pub use measurements::{Measurements, Turn};
pub use origin::{Origin, WorkKind};
pub use panics::{Failure, caught};
pub use periodic::PeriodicCallback;
pub use ready::{Interest, Ready};
pub use registration::{Notifier, Registration};
pub use remote::Remote;
pub use run_loops::{
    Loops, LoopsError, LoopsHandle, RestartPolicy, Worker, WorkerFailure, WorkerOutcome, WorkerState,
    WorkerStatus, cpu_count, run_loops, worker_index,
};
pub use running::label;
#[cfg(unix)]
pub use signal::{Signal, SignalKind, signal};
pub use spares::Spares;
pub use thread_pool::{Job, JobError, Lane, LaneMetrics, LaneOptions};
pub use time::{Deadline, Sleep, Timeout, give_way, sleep, sleep_until, timeout, yield_now};
pub use watchdog::{Blocked, Watchdog};
