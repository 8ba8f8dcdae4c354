//! Ours.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ioloop::{Deadline, IoLoop, JoinHandle, Remote, Sleep, sleep, sleep_until, yield_now};

use super::clock::{cpu_of, cpu_with, time_of};
use super::work::{Arrivals, Bell, PASSED, Scatter, WakesItself, from_threads, passing, wakes_the_other};
use super::{BATCH, Measure, OUTSTANDING};

fn new_loop() -> IoLoop {
    IoLoop::new().expect("a loop")
}

fn run<F: Future>(io_loop: &IoLoop, future: F) -> F::Output {
    io_loop.run_sync(future).expect("the loop runs")
}

/// Runs `work` inside a task, where the loop's clock stands still and sleeps can be polled.
fn in_task<T>(io_loop: &IoLoop, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut work = Some(work);
    run(io_loop, poll_fn(|cx| Poll::Ready(work.take().expect("polled once")(cx))))
}

pub(super) fn set_and_remove() -> Measure {
    let io_loop = new_loop();
    let mut scatter = Scatter::new(1);
    in_task(&io_loop, |_| {
        for number in 0..OUTSTANDING {
            io_loop.call_later(scatter.delay(), move || _ = black_box(number));
        }
    });
    Box::new(move |times| {
        let work = || {
            for number in 0..times {
                let timer = io_loop.call_later(scatter.delay(), move || _ = black_box(number));
                io_loop.remove_timeout(&timer);
            }
        };
        in_task(&io_loop, |_| cpu_of(work))
    })
}

fn a_million_sleeps(io_loop: &IoLoop, scatter: &mut Scatter) -> Vec<Sleep> {
    let mut one = |cx: &mut Context<'_>| {
        let mut sleep = sleep(scatter.delay());
        assert!(pin!(&mut sleep).poll(cx).is_pending());
        sleep
    };
    in_task(io_loop, |cx| (0..OUTSTANDING).map(|_| one(cx)).collect())
}

pub(super) fn sleep_and_drop() -> Measure {
    let io_loop = new_loop();
    let mut scatter = Scatter::new(1);
    let others = a_million_sleeps(&io_loop, &mut scatter);
    Box::new(move |times| {
        black_box(&others);
        in_task(
            &io_loop,
            cpu_with(|cx| {
                for _ in 0..times {
                    assert!(pin!(sleep(scatter.delay())).poll(cx).is_pending());
                }
            }),
        )
    })
}

pub(super) fn replace() -> Measure {
    let io_loop = new_loop();
    let mut scatter = Scatter::new(1);
    let mut sleeps = a_million_sleeps(&io_loop, &mut scatter);
    Box::new(move |times| {
        in_task(
            &io_loop,
            cpu_with(|cx| {
                for _ in 0..times {
                    let place = &mut sleeps[scatter.any()];
                    *place = sleep(scatter.delay());
                    assert!(pin!(place).poll(cx).is_pending());
                }
            }),
        )
    })
}

pub(super) fn push_forward() -> Measure {
    let io_loop = new_loop();
    let mut scatter = Scatter::new(1);
    let mut later = Duration::ZERO;
    let began = io_loop.now();
    let mut deadlines: Vec<(Deadline, Duration)> = in_task(&io_loop, |cx| {
        let one = |_| {
            let (deadline, delay) = (Deadline::new(&io_loop), scatter.delay());
            deadline.set(Some(began + delay));
            assert!(deadline.poll(cx).is_pending());
            (deadline, delay)
        };
        (0..OUTSTANDING).map(one).collect()
    });
    Box::new(move |times| {
        in_task(
            &io_loop,
            cpu_with(|cx| {
                for _ in 0..times {
                    later += Duration::from_micros(1);
                    let (deadline, delay) = &mut deadlines[scatter.any()];
                    deadline.set(Some(began + *delay + later));
                    assert!(deadline.poll(cx).is_pending());
                }
            }),
        )
    })
}

pub(super) fn let_pass() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        let mut scatter = Scatter::new(2);
        let mut cx = Context::from_waker(Waker::noop());
        cpu_of(|| {
            run(&io_loop, async {
                let began = io_loop.now();
                let mut sleeps: Vec<Sleep> =
                    (0..times).map(|_| sleep_until(began + passing(&mut scatter))).collect();
                for sleep in &mut sleeps {
                    assert!(pin!(sleep).poll(&mut cx).is_pending());
                }
                sleep_until(began + PASSED).await;
                assert!(sleeps.iter_mut().all(|sleep| pin!(sleep).poll(&mut cx).is_ready()));
            });
        })
    })
}

/// Tasks run in the order in which they were spawned: when the last has run, all have.
async fn spawn_some(io_loop: &IoLoop, number: u64) {
    for _ in 1..number {
        io_loop.spawn_detached(async {});
    }
    io_loop.spawn(async {}).await.expect("no panic");
}

pub(super) fn spawn_at_once() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| cpu_of(|| run(&io_loop, spawn_some(&io_loop, times))))
}

pub(super) fn spawn_in_batches() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        cpu_of(|| {
            run(&io_loop, async {
                for _ in 0..times / BATCH {
                    spawn_some(&io_loop, BATCH).await;
                }
            });
        })
    })
}

pub(super) fn spawn_and_join() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        cpu_of(|| {
            run(&io_loop, async {
                let mut handles: Vec<JoinHandle<u64>> = Vec::with_capacity(BATCH as usize);
                for _ in 0..times / BATCH {
                    handles.extend((0..BATCH).map(|number| io_loop.spawn(async move { number })));
                    for handle in handles.drain(..) {
                        black_box(handle.await.expect("no panic"));
                    }
                }
            });
        })
    })
}

pub(super) fn call_back() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        cpu_of(|| {
            run(&io_loop, async {
                for _ in 0..times / BATCH {
                    for number in 0..BATCH {
                        io_loop.add_callback(move || _ = black_box(number));
                    }
                    yield_now().await;
                }
            });
        })
    })
}

pub(super) fn wake_self() -> Measure {
    wake_self_on(new_loop())
}

fn wake_self_on(io_loop: IoLoop) -> Measure {
    Box::new(move |times| {
        cpu_of(|| run(&io_loop, async { io_loop.spawn(WakesItself(times)).await.expect("no panic") }))
    })
}

/// The watch is as in a server; nothing here takes so long that it reports.
fn watched(measure: fn(IoLoop) -> Measure) -> Measure {
    let io_loop = new_loop();
    let watchdog = io_loop.watch_blocking(Duration::from_millis(100), |_| {}).expect("a thread");
    let mut measure = measure(io_loop);
    Box::new(move |times| {
        let _ = &watchdog;
        measure(times)
    })
}

pub(super) fn wake_self_watched() -> Measure {
    watched(wake_self_on)
}

pub(super) fn wake_thousand_watched() -> Measure {
    watched(wake_thousand_on)
}

pub(super) fn wake_pair() -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        cpu_of(|| {
            run(&io_loop, async {
                let both = [0, 1].map(|own| io_loop.spawn(wakes_the_other(own, times / 2)));
                for one in both {
                    one.await.expect("no panic");
                }
            });
        })
    })
}

pub(super) fn wake_thousand() -> Measure {
    wake_thousand_on(new_loop())
}

fn wake_thousand_on(io_loop: IoLoop) -> Measure {
    Box::new(move |times| {
        cpu_of(|| {
            run(&io_loop, async {
                let tasks: Vec<_> = (0..BATCH).map(|_| io_loop.spawn(WakesItself(times / BATCH))).collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
            });
        })
    })
}

/// A loop on a thread of its own, which ends with the process.
fn elsewhere() -> Remote {
    let (remotes, received) = mpsc::channel();
    thread::spawn(move || {
        let io_loop = new_loop();
        remotes.send(io_loop.remote()).expect("somebody asks");
        io_loop.start().expect("the loop runs");
    });
    received.recv().expect("the loop was made")
}

pub(super) fn post_and_wait() -> Measure {
    let remote = elsewhere();
    let (answer, answers) = mpsc::channel();
    Box::new(move |times| {
        time_of(|| {
            for _ in 0..times {
                let answer = answer.clone();
                remote.add_callback(move || answer.send(()).expect("somebody waits"));
                answers.recv().expect("an answer");
            }
        })
    })
}

pub(super) fn wake_and_wait() -> Measure {
    let remote = elsewhere();
    let (answer, answers) = mpsc::channel();
    let bell = Arc::new(Bell::default());
    let heard = Arc::clone(&bell);
    remote.spawn(move || async move {
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

fn posts(threads: u64) -> Measure {
    let io_loop = new_loop();
    Box::new(move |times| {
        let arrivals = Arrivals::expect(times);
        let post = || {
            let remote = io_loop.remote();
            move || remote.add_callback(|| arrivals.one())
        };
        let mut cost = Duration::ZERO;
        from_threads(threads, times, post, || cost = time_of(|| run(&io_loop, arrivals.all())));
        cost
    })
}

pub(super) fn posts_of_one() -> Measure {
    posts(1)
}

pub(super) fn posts_of_four() -> Measure {
    posts(4)
}
