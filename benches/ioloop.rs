//! What the loop itself costs: no socket. Run: `cargo bench -p benches --bench ioloop`

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use ioloop::{Deadline, IoLoop, yield_now};

/// What is queued at a time where the cost of one is asked for and not that of its turn.
const BATCH: u64 = 1_000;

const OUTSTANDING: u64 = 1_000_000;

const HOUR: Duration = Duration::from_secs(3_600);

fn new_loop() -> IoLoop {
    IoLoop::new().expect("a loop")
}

/// Times `batch`, which queues [`BATCH`] things, together with the turns that run them. Its cost is given for one.
fn batches(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut batch: impl FnMut(&IoLoop)) {
    let io_loop = new_loop();
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            batch(&io_loop);
            io_loop.run_sync(yield_now()).expect("the loop runs");
        });
    });
}

/// One callback or one wake a turn: what a turn costs, with its look at the clock and its `epoll_wait`.
fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ioloop/turn");
    group.bench_function("callback", |bencher| {
        let io_loop = new_loop();
        bencher.iter_custom(|iterations| {
            again(&io_loop, iterations);
            let began = Instant::now();
            io_loop.start().expect("the loop runs");
            began.elapsed()
        });
    });
    group.bench_function("wake_and_poll", |bencher| {
        let io_loop = new_loop();
        bencher.iter_custom(|iterations| {
            let began = Instant::now();
            let run = io_loop.run_sync(async {
                for _ in 0..iterations {
                    yield_now().await;
                }
            });
            run.expect("the loop runs");
            began.elapsed()
        });
    });
    group.finish();
}

/// A callback that adds itself again, `left` times, and then stops the loop.
fn again(io_loop: &IoLoop, left: u64) {
    let inside = io_loop.clone();
    io_loop.add_callback(move || match left {
        0 => inside.stop(),
        _ => again(&inside, left - 1),
    });
}

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ioloop/dispatch");
    let ran = Rc::new(Cell::new(0_u64));
    let count = Rc::clone(&ran);
    batches(&mut group, "callback", move |io_loop| {
        for _ in 0..BATCH {
            let count = Rc::clone(&count);
            io_loop.add_callback(move || count.set(count.get() + 1));
        }
    });
    black_box(ran.get());

    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("wake_and_poll", |bencher| {
        let io_loop = new_loop();
        for _ in 0..BATCH {
            io_loop.spawn_detached(async {
                loop {
                    yield_now().await;
                }
            });
        }
        bencher.iter_custom(|iterations| {
            let began = Instant::now();
            let run = io_loop.run_sync(async {
                for _ in 0..iterations {
                    yield_now().await;
                }
            });
            run.expect("the loop runs");
            began.elapsed()
        });
    });
    group.finish();
}

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ioloop/spawn");
    batches(&mut group, "detached", |io_loop| {
        for _ in 0..BATCH {
            io_loop.spawn_detached(async {});
        }
    });
    batches(&mut group, "joinable", |io_loop| {
        for number in 0..BATCH {
            drop(black_box(io_loop.spawn(async move { number })));
        }
    });
    group.finish();
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ioloop/timer");
    let io_loop = new_loop();
    let base = io_loop.now() + HOUR;
    for number in 0..OUTSTANDING {
        io_loop.call_at(base + Duration::from_micros(number * 7_919 % OUTSTANDING), || {});
    }
    group.bench_function("set_and_remove_among_a_million", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number += 104_729;
            let timer = io_loop.call_at(base + Duration::from_micros(number % OUTSTANDING), || {});
            io_loop.remove_timeout(&timer);
        });
    });
    group.bench_function("push_a_deadline_forward", |bencher| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let deadline = Deadline::new(&io_loop);
        let mut at = base;
        bencher.iter(|| {
            at += Duration::from_micros(1);
            deadline.set(Some(at));
            black_box(deadline.poll(&mut cx))
        });
    });
    drop(io_loop);
    batches(&mut group, "set_and_fire", |io_loop| {
        let now = io_loop.now();
        for _ in 0..BATCH {
            io_loop.call_at(now, || {});
        }
    });
    group.finish();
}

fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ioloop/thread");
    let (remotes, received) = mpsc::channel();
    let worker = thread::spawn(move || {
        let io_loop = new_loop();
        remotes.send(io_loop.remote()).expect("somebody asks");
        io_loop.start().expect("the loop runs");
    });
    let remote = received.recv().expect("the loop was made");
    let (answer, answers) = mpsc::channel();
    // The loop sleeps when the post arrives: an eventfd write, a wake-up of its thread, and one of ours.
    group.bench_function("round_trip_to_a_sleeping_loop", |bencher| {
        bencher.iter(|| {
            let answer = answer.clone();
            remote.add_callback(move || answer.send(()).expect("somebody waits"));
            answers.recv().expect("an answer");
        });
    });
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("post", |bencher| {
        bencher.iter(|| {
            for _ in 1..BATCH {
                remote.add_callback(|| {});
            }
            let answer = answer.clone();
            remote.add_callback(move || answer.send(()).expect("somebody waits"));
            answers.recv().expect("an answer");
        });
    });
    remote.stop();
    worker.join().expect("the loop ended in good order");
    group.finish();
}

criterion_group!(benches, turns, dispatch, spawn, timers, threads);
criterion_main!(benches);
