//! smol's parts: async-io's reactor and timers, async-executor's executors.

use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::{Executor, LocalExecutor, Task};
use async_io::{Timer, block_on};

use super::clock::{cpu_of, cpu_with, time_of};
use super::work::{Arrivals, Bell, PASSED, Scatter, WakesItself, from_threads, passing, wakes_the_other};
use super::{BATCH, Measure, OUTSTANDING};

fn in_task<T>(work: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut work = Some(work);
    block_on(poll_fn(|cx| Poll::Ready(work.take().expect("polled once")(cx))))
}

fn begun(timer: &mut Timer, cx: &mut Context<'_>) -> bool {
    Pin::new(timer).poll(cx).is_pending()
}

fn a_million_sleeps(scatter: &mut Scatter) -> Vec<Timer> {
    in_task(|cx| {
        let one = |_| {
            let mut timer = Timer::after(scatter.delay());
            assert!(begun(&mut timer, cx));
            timer
        };
        (0..OUTSTANDING).map(one).collect()
    })
}

pub(super) fn sleep_and_drop() -> Measure {
    let mut scatter = Scatter::new(1);
    let others = a_million_sleeps(&mut scatter);
    Box::new(move |times| {
        black_box(&others);
        in_task(cpu_with(|cx| {
            for _ in 0..times {
                assert!(begun(&mut Timer::after(scatter.delay()), cx));
            }
        }))
    })
}

pub(super) fn replace() -> Measure {
    let mut scatter = Scatter::new(1);
    let mut timers = a_million_sleeps(&mut scatter);
    Box::new(move |times| {
        in_task(cpu_with(|cx| {
            for _ in 0..times {
                let place = &mut timers[scatter.any()];
                *place = Timer::after(scatter.delay());
                assert!(begun(place, cx));
            }
        }))
    })
}

pub(super) fn push_forward() -> Measure {
    let mut scatter = Scatter::new(1);
    let mut later = Duration::ZERO;
    let began = Instant::now();
    let mut timers: Vec<(Timer, Duration)> = in_task(|cx| {
        let one = |_| {
            let delay = scatter.delay();
            let mut timer = Timer::at(began + delay);
            assert!(begun(&mut timer, cx));
            (timer, delay)
        };
        (0..OUTSTANDING).map(one).collect()
    });
    Box::new(move |times| {
        in_task(cpu_with(|cx| {
            for _ in 0..times {
                later += Duration::from_micros(1);
                let (timer, delay) = &mut timers[scatter.any()];
                timer.set_at(began + *delay + later);
                assert!(begun(timer, cx));
            }
        }))
    })
}

pub(super) fn let_pass() -> Measure {
    Box::new(move |times| {
        let mut scatter = Scatter::new(2);
        let mut cx = Context::from_waker(Waker::noop());
        cpu_of(|| {
            block_on(async {
                let began = Instant::now();
                let mut timers: Vec<_> =
                    (0..times).map(|_| Timer::at(began + passing(&mut scatter))).collect();
                for timer in &mut timers {
                    assert!(begun(timer, &mut cx));
                }
                Timer::at(began + PASSED).await;
                assert!(timers.iter_mut().all(|timer| !begun(timer, &mut cx)));
            });
        })
    })
}

async fn spawn_some(executor: &LocalExecutor<'static>, number: u64) {
    for _ in 1..number {
        executor.spawn(async {}).detach();
    }
    executor.spawn(async {}).await;
}

pub(super) fn spawn_at_once() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| cpu_of(|| block_on(executor.run(spawn_some(&executor, times)))))
}

pub(super) fn spawn_in_batches() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| {
        cpu_of(|| {
            block_on(executor.run(async {
                for _ in 0..times / BATCH {
                    spawn_some(&executor, BATCH).await;
                }
            }));
        })
    })
}

pub(super) fn spawn_and_join() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| {
        cpu_of(|| {
            block_on(executor.run(async {
                let mut tasks: Vec<Task<u64>> = Vec::with_capacity(BATCH as usize);
                for _ in 0..times / BATCH {
                    tasks.extend((0..BATCH).map(|number| executor.spawn(async move { number })));
                    for task in tasks.drain(..) {
                        black_box(task.await);
                    }
                }
            }));
        })
    })
}

pub(super) fn wake_self() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| cpu_of(|| block_on(executor.run(executor.spawn(WakesItself(times))))))
}

pub(super) fn wake_pair() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| {
        cpu_of(|| {
            block_on(executor.run(async {
                let both = [0, 1].map(|own| executor.spawn(wakes_the_other(own, times / 2)));
                for one in both {
                    one.await;
                }
            }));
        })
    })
}

pub(super) fn wake_thousand() -> Measure {
    let executor = LocalExecutor::new();
    Box::new(move |times| {
        cpu_of(|| {
            block_on(executor.run(async {
                let tasks: Vec<_> = (0..BATCH).map(|_| executor.spawn(WakesItself(times / BATCH))).collect();
                for task in tasks {
                    task.await;
                }
            }));
        })
    })
}

/// An executor on a thread of its own, which ends with the process.
fn elsewhere() -> Arc<Executor<'static>> {
    let executor = Arc::new(Executor::new());
    let there = Arc::clone(&executor);
    thread::spawn(move || block_on(there.run(pending::<()>())));
    executor
}

pub(super) fn spawn_and_wait() -> Measure {
    let executor = elsewhere();
    let (answer, answers) = mpsc::channel();
    Box::new(move |times| {
        time_of(|| {
            for _ in 0..times {
                let answer = answer.clone();
                executor.spawn(async move { answer.send(()).expect("somebody waits") }).detach();
                answers.recv().expect("an answer");
            }
        })
    })
}

pub(super) fn wake_and_wait() -> Measure {
    let (answer, answers) = mpsc::channel();
    let bell = Arc::new(Bell::default());
    let heard = Arc::clone(&bell);
    let waiting = async move {
        for rings in 0.. {
            heard.after(rings).await;
            answer.send(()).expect("somebody waits");
        }
    };
    elsewhere().spawn(waiting).detach();
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
    let executor = Arc::new(Executor::new());
    Box::new(move |times| {
        let arrivals = Arrivals::expect(times);
        let post = || {
            let executor = Arc::clone(&executor);
            move || executor.spawn(async { arrivals.one() }).detach()
        };
        let mut cost = Duration::ZERO;
        let receive = || cost = time_of(|| block_on(executor.run(arrivals.all())));
        from_threads(threads, times, post, receive);
        cost
    })
}

pub(super) fn spawns_of_one() -> Measure {
    spawns(1)
}

pub(super) fn spawns_of_four() -> Measure {
    spawns(4)
}
