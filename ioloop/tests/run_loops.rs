//! Many loops: who runs where, who is restarted and when, how all end, and what can be seen of it meanwhile.

#[path = "support/overdue.rs"]
mod overdue;

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use ioloop::{
    IoLoop, Loops, LoopsError, LoopsHandle, RestartPolicy, Worker, WorkerFailure, WorkerOutcome, WorkerState,
    WorkerStatus, cpu_count, worker_index, yield_now,
};
use overdue::{AT_MOST, watch_this_test};

/// So many loops, in a test that fails if they do not end.
fn loops(count: usize) -> Loops {
    watch_this_test();
    Loops::new(count)
}

/// [`ioloop::run_loops`], in a test that fails if it does not return.
fn run_loops<W, F>(count: usize, worker: W) -> Result<(), LoopsError>
where
    W: Fn(Worker) -> F + Send + Sync + 'static,
    F: Future<Output: WorkerOutcome> + 'static,
{
    watch_this_test();
    ioloop::run_loops(count, worker)
}

/// Restarts at once, so that no test waits.
fn at_once(restarts: u32) -> RestartPolicy {
    RestartPolicy::new().first_delay(Duration::ZERO).max_restarts(restarts)
}

/// Waits for what other threads do.
fn until(loops: &LoopsHandle, reached: impl Fn(&[WorkerStatus]) -> bool) {
    while !reached(&loops.workers()) {
        thread::yield_now();
    }
}

fn state(loops: &LoopsHandle, index: usize) -> WorkerState {
    loops.workers()[index].state
}

#[test]
fn pr1_there_is_at_least_one_cpu() {
    assert!(cpu_count() >= 1);
}

#[cfg(target_os = "linux")]
#[test]
fn pr1_the_count_follows_the_affinity_of_the_thread() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).unwrap();
    assert!(cpu_count() <= allowed.count() as usize);
    let one = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
    let mut set = CpuSet::new();
    set.set(one);
    sched_setaffinity(None, &set).unwrap(); // of this thread, which is this test's alone
    assert_eq!(cpu_count(), 1);
    let loops = Loops::per_cpu().spawn(|_| async {}).unwrap();
    assert_eq!(loops.count(), 1);
    loops.join().unwrap();
}

#[test]
fn pr2_zero_means_one_loop_per_cpu() {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    run_loops(0, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .unwrap();
    assert_eq!(started.load(Ordering::Relaxed), cpu_count());
}

#[test]
fn pr2_one_is_a_worker_on_a_thread_of_its_own() {
    let (sender, receiver) = mpsc::channel();
    run_loops(1, move |worker| {
        sender.send((worker.index(), thread::current().id())).unwrap();
        async {}
    })
    .unwrap();
    let (index, thread) = receiver.recv_timeout(AT_MOST).unwrap();
    assert_eq!(index, 0);
    assert_ne!(thread, thread::current().id());
    assert!(receiver.recv().is_err(), "once");
}

#[test]
fn pr2_a_worker_cannot_start_workers() {
    let (sender, receiver) = mpsc::channel();
    run_loops(1, move |_| {
        let _ = sender.send((run_loops(1, |_| async {}), loops(1).spawn(|_| async {}).map(drop)));
        async {}
    })
    .unwrap();
    let (ran, spawned) = receiver.recv_timeout(AT_MOST).unwrap();
    assert!(matches!(ran, Err(LoopsError::InsideWorker)));
    assert!(matches!(spawned, Err(LoopsError::InsideWorker)));
}

#[test]
fn pr3_what_would_block_a_running_loop_is_refused_and_its_future_is_not() {
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            assert!(matches!(run_loops(1, |_| async {}), Err(LoopsError::InsideLoop)));
            let loops = loops(2).spawn(|_| async {}).unwrap();
            assert!(matches!(loops.join(), Err(LoopsError::InsideLoop)));
            assert!(matches!(loops.wait_ready(Duration::ZERO), Err(LoopsError::InsideLoop)));
            loops.ended().await.unwrap();
            assert!(loops.workers().iter().all(|worker| worker.state == WorkerState::Ended));
        })
        .unwrap();
}

#[test]
fn pr3_each_worker_has_its_index_its_thread_and_its_loop_and_the_caller_waits_for_all() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (in_worker, together) = (Arc::clone(&seen), Arc::new(Barrier::new(3)));
    loops(3)
        .name("three")
        .run(move |worker| {
            let (seen, together) = (Arc::clone(&in_worker), Arc::clone(&together));
            async move {
                together.wait(); // so that the three live at the same time
                let io_loop = IoLoop::current();
                let (ours, name) = (io_loop.clone(), thread::current().name().unwrap().to_owned());
                io_loop
                    .spawn(async move { assert!(IoLoop::current().counters() == ours.counters()) })
                    .await
                    .unwrap();
                seen.lock().unwrap().push((worker.index(), name, io_loop.counters().tasks));
            }
        })
        .unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let expected = [0, 1, 2].map(|index| (index, format!("three-{index}"), 1));
    assert_eq!(seen, expected);
}

#[test]
fn pr3_nothing_of_the_workers_is_left_when_the_caller_goes_on() {
    struct Left(Arc<AtomicUsize>);
    impl Drop for Left {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let (held, in_task) = (Left(Arc::clone(&dropped)), Arc::clone(&dropped));
    run_loops(2, move |_| {
        let (_held, left) = (&held, Left(Arc::clone(&in_task)));
        IoLoop::current().spawn_detached(async move {
            let _left = left;
            pending::<()>().await;
        });
        yield_now()
    })
    .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 3, "two tasks and what the function held");
}

#[test]
fn pr3_the_threads_have_gone_when_the_caller_goes_on() {
    struct AtExit(Arc<AtomicUsize>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            (0..100).for_each(|_| thread::yield_now()); // a caller that does not wait is ahead
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static AT_EXIT: Cell<Option<AtExit>> = const { Cell::new(None) };
    }
    let exited = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&exited);
    run_loops(2, move |_| {
        AT_EXIT.set(Some(AtExit(Arc::clone(&counted))));
        async {}
    })
    .unwrap();
    assert_eq!(exited.load(Ordering::Relaxed), 2);
}

#[test]
fn pr4_a_worker_that_panics_or_fails_is_restarted_with_its_index_and_one_that_is_done_is_not() {
    let (sender, receiver) = mpsc::channel();
    loops(3)
        .restart(at_once(5))
        .run(move |worker| {
            sender.send((worker.index(), worker.restarts(), thread::current().id())).unwrap();
            async move {
                yield_now().await;
                match (worker.index(), worker.restarts()) {
                    (1, 0) => Err("exit status 2"),
                    (2, 0) => panic!("killed by a signal"),
                    (2, 1) => Err("exit status 3"),
                    _ => Ok(()),
                }
            }
        })
        .unwrap();
    let mut lives: Vec<_> = receiver.iter().collect();
    lives.sort_by_key(|(index, restarts, _)| (*index, *restarts));
    let told: Vec<_> = lives.iter().map(|(index, restarts, _)| (*index, *restarts)).collect();
    assert_eq!(told, [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
    assert_ne!(lives[1].2, lives[2].2, "a restart is a thread of its own");
}

#[test]
fn pr4_a_function_that_panics_before_it_gives_a_future_has_failed_too() {
    let lives = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lives);
    loops(1)
        .restart(at_once(1))
        .run(move |_| {
            assert_ne!(counted.fetch_add(1, Ordering::Relaxed), 0, "the first time");
            async {}
        })
        .unwrap();
    assert_eq!(lives.load(Ordering::Relaxed), 2);
}

#[test]
fn pr4_a_task_that_panics_ends_neither_its_worker_nor_the_loop() {
    run_loops(1, |worker| async move {
        let task = IoLoop::current().spawn(async { panic!("a connection") });
        assert!(task.await.is_err());
        assert_eq!(worker.restarts(), 0);
    })
    .unwrap();
}

#[test]
fn pr4_a_worker_whose_loop_is_stopped_or_closed_has_ended_well() {
    run_loops(3, |worker| async move {
        match worker.index() {
            0 => IoLoop::current().stop(),
            1 => IoLoop::current().close(),
            _ => worker.loops().remote(2).expect("its own loop runs").stop(),
        }
        pending::<()>().await;
    })
    .unwrap();
}

#[test]
fn pr5_a_worker_that_fails_too_often_stops_the_others_and_is_named() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let result = loops(3).restart(at_once(2)).run(move |worker| {
        let ended = Arc::clone(&counted);
        async move {
            if worker.index() == 1 {
                worker.ready();
                worker.loops().ready().await.unwrap(); // all of them live
                return Err(format!("life {}", worker.restarts()));
            }
            let stopping = worker.stopping();
            worker.ready();
            stopping.await;
            yield_now().await;
            ended.fetch_add(1, Ordering::Relaxed); // in order: they may finish what they have begun
            Ok(())
        }
    });
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "worker 1 failed after 2 restarts: it failed: life 2");
    assert!(matches!(
        error,
        LoopsError::WorkerFailed { worker: 1, restarts: 2, cause: WorkerFailure::Failed(_), .. }
    ));
    assert_eq!(ended.load(Ordering::Relaxed), 2);
}

#[test]
fn pr5_each_worker_has_restarts_of_its_own() {
    let lives = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lives);
    let result = loops(4).restart(at_once(3)).run(move |worker| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { if worker.restarts() < 3 { Err("again") } else { Ok(()) } }
    });
    result.unwrap();
    assert_eq!(lives.load(Ordering::Relaxed), 16);
}

#[test]
fn pr5_a_worker_that_fails_while_it_is_stopped_is_not_restarted_and_not_forgotten() {
    let loops = loops(2)
        .spawn(|worker| async move {
            worker.ready();
            worker.stopping().await;
            if worker.index() == 1 { Err("cannot drain") } else { Ok(()) }
        })
        .unwrap();
    loops.wait_ready(AT_MOST).unwrap();
    loops.stop();
    let error = loops.join().unwrap_err();
    assert!(matches!(error, LoopsError::WorkerFailed { worker: 1, restarts: 0, .. }), "{error}");
}

#[test]
fn pr6_a_stop_interrupts_the_wait_for_a_restart() {
    let hour = RestartPolicy::new().first_delay(Duration::from_secs(3_600)).max_delay(Duration::MAX);
    let loops = loops(2)
        .restart(hour)
        .spawn(|worker| async move {
            assert_ne!(worker.index(), 0, "worker 0 cannot live");
            pending::<()>().await;
        })
        .unwrap();
    until(&loops, |workers| workers[0].last_failure.is_some());
    assert_eq!(state(&loops, 0), WorkerState::Waiting);
    loops.stop();
    loops.join().expect("at once, and a failure that was to be mended is none of the group's");
}

#[test]
fn pr6_a_stop_is_heard_whenever_it_comes() {
    for _ in 0..100 {
        let loops = loops(2).spawn(|_| pending::<()>()).unwrap();
        loops.stop(); // before, while or after the loops begin to run
        loops.stop();
        loops.join().unwrap();
    }
}

#[test]
fn pr6_a_worker_stops_all_and_drops_what_they_wait_for() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let held = Arc::clone(&dropped);
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            assert!(IoLoop::try_current().is_some(), "a destructor finds its loop");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    run_loops(3, move |worker| {
        let (count, in_task) = (Count(Arc::clone(&held)), Count(Arc::clone(&held)));
        async move {
            let _count = count;
            IoLoop::current().spawn_detached(async move {
                let _count = in_task;
                pending::<()>().await;
            });
            if worker.index() == 2 {
                worker.loops().stop();
            }
            pending::<()>().await;
        }
    })
    .unwrap();
    let dropped = dropped.load(Ordering::Relaxed);
    assert!(dropped >= 2 && dropped.is_multiple_of(2), "two of each that had begun: {dropped}");
}

#[test]
fn pr6_a_worker_that_does_not_end_is_named_and_can_be_waited_for_again() {
    let (release, stuck) = mpsc::channel::<()>();
    let stuck = Arc::new(Mutex::new(stuck));
    let loops = loops(3)
        .spawn(move |worker| {
            let stuck = Arc::clone(&stuck);
            async move {
                worker.ready();
                if worker.index() == 1 {
                    stuck.lock().unwrap().recv().unwrap(); // not even a stop of its loop can reach it here
                }
                worker.stopping().await;
            }
        })
        .unwrap();
    loops.wait_ready(AT_MOST).unwrap();
    loops.stop();
    until(&loops, |workers| workers.iter().filter(|worker| worker.state == WorkerState::Ended).count() == 2);
    let error = loops.join_timeout(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, LoopsError::StillRunning { workers, .. } if *workers == [1]), "{error}");
    assert_eq!(state(&loops, 1), WorkerState::Stopping);
    release.send(()).unwrap();
    loops.join().unwrap();
    loops.join_timeout(Duration::ZERO).expect("it stays ended");
}

#[test]
fn pr7_the_index_is_known_on_the_workers_thread_and_on_no_other() {
    assert_eq!(worker_index(), None);
    let (sender, receiver) = mpsc::channel();
    run_loops(3, move |worker| {
        sender.send((worker.index(), worker_index(), thread::spawn(worker_index).join().unwrap())).unwrap();
        async {}
    })
    .unwrap();
    let mut seen: Vec<_> = receiver.iter().collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2].map(|index| (index, Some(index), None)));
    assert_eq!(worker_index(), None);
}

#[test]
fn pr8_threads_states_and_restarts_can_be_seen() {
    let loops = loops(2)
        .restart(at_once(5))
        .spawn(|worker| async move {
            assert!((worker.index(), worker.restarts()) != (1, 0), "the first life of worker 1");
            if worker.index() == 1 {
                worker.ready();
            }
            pending::<()>().await;
        })
        .unwrap();
    until(&loops, |workers| workers[1].state == WorkerState::Ready && workers[0].thread.is_some());
    let workers = loops.workers();
    assert_eq!((workers[0].index, workers[0].state, workers[0].restarts), (0, WorkerState::Running, 0));
    assert!(workers[0].last_failure.is_none());
    assert_eq!((workers[1].index, workers[1].restarts), (1, 1));
    assert!(
        matches!(&workers[1].last_failure, Some(WorkerFailure::Panicked(said)) if said.contains("first life"))
    );
    assert!(workers[1].thread.is_some() && workers[0].thread != workers[1].thread);
    let error = loops.wait_ready(Duration::ZERO).unwrap_err();
    assert!(matches!(&error, LoopsError::NotReady { workers, .. } if *workers == [0]), "{error}");
    loops.stop();
    loops.join().unwrap();
    assert!(loops.workers().iter().all(|worker| worker.thread.is_none()));
    assert!(loops.workers()[1].last_failure.is_some(), "a good end does not hide it");
}

#[test]
fn pr8_who_waits_for_readiness_hears_of_a_failure_instead() {
    let loops = loops(2)
        .restart(RestartPolicy::never())
        .spawn(|worker| async move {
            if worker.index() == 0 {
                return Err("no port");
            }
            pending().await
        })
        .unwrap();
    assert!(matches!(loops.wait_ready(AT_MOST), Err(LoopsError::WorkerFailed { worker: 0, .. })));
    assert!(loops.join().is_err());
}

#[test]
fn pr8_a_rolling_restart_renews_one_worker_after_the_other_and_the_others_serve_meanwhile() {
    let loops = loops(3)
        .restart(RestartPolicy::never()) // a restart that is asked for is none of its
        .spawn(|worker| async move {
            worker.ready();
            worker.stopping().await;
        })
        .unwrap();
    loops.wait_ready(AT_MOST).unwrap();
    let before = loops.workers();
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            for index in 0..3 {
                loops.restart(index).unwrap();
                let ready = loops.workers().into_iter().filter(|worker| worker.state == WorkerState::Ready);
                assert!(ready.count() >= 2, "the one that was asked may be ready again by now");
                loops.ready().await.unwrap();
            }
        })
        .unwrap();
    for (before, after) in before.iter().zip(loops.workers()) {
        assert_eq!((after.state, after.restarts), (WorkerState::Ready, 1));
        assert_ne!(after.thread, before.thread);
    }
    loops.stop();
    assert!(matches!(loops.restart(0), Err(LoopsError::Ending)));
    loops.join().unwrap();
}

#[test]
fn pr8_the_remotes_reach_each_workers_loop_and_the_next_life_has_another() {
    let loops = loops(2)
        .spawn(|worker| async move {
            worker.ready();
            pending::<()>().await;
        })
        .unwrap();
    loops.wait_ready(AT_MOST).unwrap();
    let (sender, receiver) = mpsc::channel();
    for index in 0..2 {
        let sender = sender.clone();
        loops.remote(index).unwrap().add_callback(move || sender.send(worker_index()).unwrap());
        assert_eq!(receiver.recv_timeout(AT_MOST).unwrap(), Some(index));
    }
    let old = loops.remote(0).unwrap();
    loops.restart(0).unwrap();
    loops.wait_ready(AT_MOST).unwrap();
    old.stop(); // of a loop that is no more
    let again = sender.clone();
    loops.remote(0).unwrap().add_callback(move || again.send(worker_index()).unwrap());
    assert_eq!(receiver.recv_timeout(AT_MOST).unwrap(), Some(0));
    assert!(loops.remote(2).is_none());
    loops.stop();
    loops.join().unwrap();
    assert!(loops.remote(1).is_none());
}

#[test]
fn a_request_to_stop_wakes_every_task_that_waits_for_it() {
    run_loops(2, |worker| async move {
        let tasks: Vec<_> = (0..3).map(|_| IoLoop::current().spawn(worker.stopping())).collect();
        yield_now().await;
        if worker.index() == 0 {
            worker.loops().stop();
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .unwrap();
}

/// Panics when it is dropped, and again when the panic's payload is.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Payload);
    }
}

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("a payload's destructor");
    }
}

/// Panics when it is polled and when it is dropped.
struct Worst {
    _bomb: Bomb,
}

impl Future for Worst {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        std::panic::panic_any(Payload)
    }
}

#[test]
fn pr5_no_panic_of_a_worker_takes_more_with_it_than_its_life() {
    let result = loops(2).restart(at_once(2)).run(|worker| -> Pin<Box<dyn Future<Output = ()>>> {
        match (worker.index(), worker.restarts()) {
            (0, 0) => Box::pin(Worst { _bomb: Bomb }),
            (0, 1) => Box::pin(async {
                std::panic::panic_any(Payload);
            }),
            (0, _) => Box::pin(async {
                let _bomb = Bomb;
                IoLoop::current().stop(); // the future is dropped, and panics in that
                pending::<()>().await;
            }),
            _ => Box::pin(async move { worker.stopping().await }),
        }
    });
    let error = result.unwrap_err();
    assert!(
        matches!(
            error,
            LoopsError::WorkerFailed { worker: 0, restarts: 2, cause: WorkerFailure::Panicked(_), .. }
        ),
        "{error}"
    );
}

#[test]
fn a_worker_function_that_panics_while_it_is_dropped_keeps_nobody_waiting() {
    let bomb = Bomb;
    let loops = loops(1)
        .spawn(move |_| {
            let _held = &bomb;
            async {}
        })
        .unwrap();
    loops.join().unwrap();
}

#[test]
fn a_name_with_a_nul_is_refused() {
    let started = loops(1).name("no\0name").spawn(|_| async {});
    assert!(matches!(started, Err(LoopsError::BadName)));
    assert!(matches!(loops(1).name("\0").run(|_| async {}), Err(LoopsError::BadName)));
}

#[cfg(target_os = "linux")]
#[test]
fn each_worker_is_pinned_to_one_of_the_allowed_cpus_in_turn() {
    use rustix::thread::{CpuSet, sched_getaffinity};
    fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    }
    let ours = allowed();
    let (sender, receiver) = mpsc::channel();
    loops(ours.len() + 1)
        .pin_to_cpus()
        .run(move |worker| {
            sender.send((worker.index(), allowed(), cpu_count())).unwrap();
            async {}
        })
        .unwrap();
    let mut seen: Vec<_> = receiver.iter().collect();
    seen.sort_unstable();
    let expected: Vec<_> = (0..=ours.len()).map(|index| (index, vec![ours[index % ours.len()]], 1)).collect();
    assert_eq!(seen, expected);
    assert_eq!(allowed(), ours, "the caller stays as it was");
}

#[cfg(not(target_os = "linux"))]
#[test]
fn pinning_is_refused_where_it_cannot_be_done() {
    let started = loops(1).pin_to_cpus().spawn(|_| async {});
    assert!(matches!(started, Err(LoopsError::PinningUnsupported)));
}

#[test]
fn the_handle_and_what_it_gives_go_to_any_thread() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let loops = loops(1).spawn(|worker: Worker| async move { is_send_and_sync(&worker) }).unwrap();
    is_send_and_sync(&loops);
    is_send(&loops.ended());
    is_send(&loops.ready());
    loops.join().unwrap();
}
