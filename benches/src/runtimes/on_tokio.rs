//! tokio's current-thread runtime, with its poller and its timers on, as a server has it.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinHandle, spawn, unconstrained};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::clock::{cpu_of, cpu_with, time_of};
use super::work::{Arrivals, Bell, PASSED, Scatter, WakesItself, from_threads, passing, wakes_the_other};
use super::{BATCH, Measure, OUTSTANDING};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs `work` inside a task without the budget that would stop it after 128 polls.
fn in_task<T>(runtime: &Runtime, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut work = Some(work);
    runtime.block_on(unconstrained(poll_fn(|cx| Poll::Ready(work.take().expect("polled once")(cx)))))
}

fn a_million_sleeps(runtime: &Runtime, scatter: &mut Scatter) -> Vec<Pin<Box<Sleep>>> {
    in_task(runtime, |cx| {
        let one = |_| {
            let mut sleep = Box::pin(sleep(scatter.delay()));
            assert!(sleep.as_mut().poll(cx).is_pending());
            sleep
        };
        (0..OUTSTANDING).map(one).collect()
    })
}

pub(super) fn sleep_and_drop() -> Measure {
    let runtime = runtime();
    let mut scatter = Scatter::new(1);
    let others = a_million_sleeps(&runtime, &mut scatter);
    Box::new(move |times| {
        black_box(&others);
        in_task(
            &runtime,
            cpu_with(|cx| {
                for _ in 0..times {
                    assert!(pin!(sleep(scatter.delay())).poll(cx).is_pending());
                }
            }),
        )
    })
}

/// In the box of the old one: tokio's sleeps do not move.
pub(super) fn replace() -> Measure {
    let runtime = runtime();
    let mut scatter = Scatter::new(1);
    let mut sleeps = a_million_sleeps(&runtime, &mut scatter);
    Box::new(move |times| {
        in_task(
            &runtime,
            cpu_with(|cx| {
                for _ in 0..times {
                    let place = &mut sleeps[scatter.any()];
                    place.set(sleep(scatter.delay()));
                    assert!(place.as_mut().poll(cx).is_pending());
                }
            }),
        )
    })
}

pub(super) fn push_forward() -> Measure {
    let runtime = runtime();
    let mut scatter = Scatter::new(1);
    let mut later = Duration::ZERO;
    let began = Instant::now();
    let mut sleeps: Vec<(Pin<Box<Sleep>>, Duration)> = in_task(&runtime, |cx| {
        let one = |_| {
            let delay = scatter.delay();
            let mut sleep = Box::pin(sleep_until(began + delay));
            assert!(sleep.as_mut().poll(cx).is_pending());
            (sleep, delay)
        };
        (0..OUTSTANDING).map(one).collect()
    });
    Box::new(move |times| {
        in_task(
            &runtime,
            cpu_with(|cx| {
                for _ in 0..times {
                    later += Duration::from_micros(1);
                    let (sleep, delay) = &mut sleeps[scatter.any()];
                    sleep.as_mut().reset(began + *delay + later);
                    assert!(sleep.as_mut().poll(cx).is_pending());
                }
            }),
        )
    })
}

pub(super) fn let_pass() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        let mut scatter = Scatter::new(2);
        let mut cx = Context::from_waker(Waker::noop());
        cpu_of(|| {
            runtime.block_on(unconstrained(async {
                let began = Instant::now();
                let mut sleeps: Vec<_> =
                    (0..times).map(|_| Box::pin(sleep_until(began + passing(&mut scatter)))).collect();
                for sleep in &mut sleeps {
                    assert!(sleep.as_mut().poll(&mut cx).is_pending());
                }
                sleep_until(began + PASSED).await;
                assert!(sleeps.iter_mut().all(|sleep| sleep.as_mut().poll(&mut cx).is_ready()));
            }));
        })
    })
}

async fn spawn_some(number: u64) {
    for _ in 1..number {
        spawn(async {});
    }
    spawn(async {}).await.expect("no panic");
}

pub(super) fn spawn_at_once() -> Measure {
    let runtime = runtime();
    Box::new(move |times| cpu_of(|| runtime.block_on(spawn_some(times))))
}

pub(super) fn spawn_in_batches() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        cpu_of(|| {
            runtime.block_on(async {
                for _ in 0..times / BATCH {
                    spawn_some(BATCH).await;
                }
            });
        })
    })
}

pub(super) fn spawn_and_join() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        cpu_of(|| {
            runtime.block_on(async {
                let mut handles: Vec<JoinHandle<u64>> = Vec::with_capacity(BATCH as usize);
                for _ in 0..times / BATCH {
                    handles.extend((0..BATCH).map(|number| spawn(async move { number })));
                    for handle in handles.drain(..) {
                        black_box(handle.await.expect("no panic"));
                    }
                }
            });
        })
    })
}

pub(super) fn wake_self() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        cpu_of(|| runtime.block_on(async { spawn(WakesItself(times)).await.expect("no panic") }))
    })
}

pub(super) fn wake_pair() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        cpu_of(|| {
            runtime.block_on(async {
                let both = [0, 1].map(|own| spawn(wakes_the_other(own, times / 2)));
                for one in both {
                    one.await.expect("no panic");
                }
            });
        })
    })
}

pub(super) fn wake_thousand() -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        cpu_of(|| {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..BATCH).map(|_| spawn(WakesItself(times / BATCH))).collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
            });
        })
    })
}

/// A runtime on a thread of its own, which ends with the process.
fn elsewhere() -> Handle {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

pub(super) fn spawn_and_wait() -> Measure {
    let handle = elsewhere();
    let (answer, answers) = mpsc::channel();
    Box::new(move |times| {
        time_of(|| {
            for _ in 0..times {
                let answer = answer.clone();
                handle.spawn(async move { answer.send(()).expect("somebody waits") });
                answers.recv().expect("an answer");
            }
        })
    })
}

type Callback = Box<dyn FnOnce() + Send>;

pub(super) fn send_and_wait() -> Measure {
    let (sender, mut receiver) = unbounded_channel::<Callback>();
    elsewhere().spawn(async move {
        while let Some(callback) = receiver.recv().await {
            callback();
        }
    });
    let (answer, answers) = mpsc::channel();
    Box::new(move |times| {
        time_of(|| {
            for _ in 0..times {
                let answer = answer.clone();
                let callback = Box::new(move || answer.send(()).expect("somebody waits"));
                assert!(sender.send(callback).is_ok());
                answers.recv().expect("an answer");
            }
        })
    })
}

pub(super) fn wake_and_wait() -> Measure {
    let (answer, answers) = mpsc::channel();
    let bell = Arc::new(Bell::default());
    let heard = Arc::clone(&bell);
    elsewhere().spawn(async move {
        for rings in 0.. {
            heard.after(rings).await;
            answer.send(()).expect("somebody waits");
        }
    });
    Box::new(move |times| {
        time_of(|| {
            for _ in 0..times {
                bell.ring();
                answers.recv().expect("an answer");
            }
        })
    })
}

fn spawns(threads: u64) -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        let arrivals = Arrivals::expect(times);
        let post = || {
            let handle = runtime.handle().clone();
            move || drop(handle.spawn(async { arrivals.one() }))
        };
        let mut cost = Duration::ZERO;
        from_threads(threads, times, post, || cost = time_of(|| runtime.block_on(arrivals.all())));
        cost
    })
}

fn sends(threads: u64) -> Measure {
    let runtime = runtime();
    Box::new(move |times| {
        let arrivals = Arrivals::expect(times);
        let (sender, mut receiver) = unbounded_channel::<Callback>();
        let post = || {
            let sender = sender.clone();
            move || assert!(sender.send(Box::new(|| arrivals.one())).is_ok())
        };
        let receive = async {
            for _ in 0..times {
                receiver.recv().await.expect("a sender is left")();
            }
        };
        let mut cost = Duration::ZERO;
        from_threads(threads, times, post, || cost = time_of(|| runtime.block_on(receive)));
        cost
    })
}

pub(super) fn spawns_of_one() -> Measure {
    spawns(1)
}

pub(super) fn spawns_of_four() -> Measure {
    spawns(4)
}

pub(super) fn sends_of_one() -> Measure {
    sends(1)
}

pub(super) fn sends_of_four() -> Measure {
    sends(4)
}
