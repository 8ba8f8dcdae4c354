//! Work off the loop's thread: lanes, their bounds, what a job's future says, and how it all ends (IL39).

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, Job, JobError, Lane, LaneOptions, yield_now};
use support::real_loop;

const FOR_EVER: Duration = Duration::MAX;

/// A job that says that it has begun, and ends when its other end is used or dropped.
struct Blocker {
    begun: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
    job: Job<&'static str>,
}

impl Blocker {
    fn start(lane: &Lane) -> Blocker {
        let (begin, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let job = lane.run(move || {
            begin.send(()).unwrap();
            let _ = released.recv();
            "released"
        });
        Blocker { begun, release, job }
    }

    /// Gives the blocker back once its job occupies a thread.
    fn occupy(lane: &Lane) -> Blocker {
        let blocker = Blocker::start(lane);
        blocker.begun.recv().unwrap();
        blocker
    }

    async fn finish(self) {
        drop(self.release);
        assert_eq!(self.job.await, Ok("released"));
    }
}

fn one_thread() -> LaneOptions {
    LaneOptions::new().threads(1)
}

/// Runs `f` on a loop of its own, with a lane of one thread.
fn with_one_thread<F: Future<Output = ()>>(f: impl FnOnce(Lane) -> F) {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread());
    io_loop.run_sync(f(lane)).unwrap();
}

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn il39_a_lane_crosses_threads() {
    assert_send_sync::<Lane>();
    assert_send_sync::<Job<Cell<u8>>>();
}

#[test]
fn il39_two_jobs_run_at_the_same_time() {
    let io_loop = real_loop();
    let meet = Arc::new(Barrier::new(2));
    let other = Arc::clone(&meet);
    io_loop
        .run_sync(async {
            let io_loop = IoLoop::current();
            let first = io_loop.run_in_executor(move || meet.wait().is_leader());
            let second = io_loop.run_in_executor(move || other.wait().is_leader());
            assert_ne!(first.await.unwrap(), second.await.unwrap());
        })
        .unwrap();
}

#[test]
fn il39_a_job_is_awaited_and_runs_on_a_thread_that_is_named_after_its_lane() {
    with_one_thread(|lane| async move {
        let name = lane.run(|| thread::current().name().map(str::to_owned)).await;
        assert_eq!(name.unwrap().as_deref(), Some("ioloop-test-0"));
        assert_eq!(lane.name(), "test");
    });
}

#[test]
fn il39_a_lane_name_that_no_thread_can_have_is_no_obstacle() {
    let lane = Lane::new("a\0b", LaneOptions::new());
    let io_loop = real_loop();
    let name = io_loop.run_sync(lane.run(|| thread::current().name().map(str::to_owned))).unwrap();
    assert_eq!(name.unwrap().as_deref(), Some("ioloop-a?b-0"));
}

#[test]
fn il39_an_error_of_the_job_is_its_awaiters() {
    let io_loop = real_loop();
    let parsed = io_loop.run_sync(io_loop.run_in_executor(|| "seven".parse::<u32>())).unwrap();
    assert!(parsed.unwrap().is_err());
}

#[test]
fn il39_a_panic_is_the_awaiters_error_and_costs_no_thread() {
    with_one_thread(|lane| async move {
        let home = lane.run(|| thread::current().id()).await;
        let lost = lane.run(|| -> u8 { panic!("number {}", 7) }).await;
        assert_eq!(lost, Err(JobError::Panicked("number 7".to_owned())));
        assert_eq!(lane.run(|| thread::current().id()).await, home);
        let metrics = lane.metrics();
        assert_eq!((metrics.completed, metrics.panicked, metrics.running), (2, 1, 0));
    });
}

/// A destructor that panics: of a job's result, of what a job owned.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor");
    }
}

#[test]
fn il39_a_panic_in_a_destructor_costs_no_thread_and_not_the_awaiter() {
    with_one_thread(|lane| async move {
        let home = lane.run(|| thread::current().id()).await;
        let blocker = Blocker::occupy(&lane);
        lane.run(|| Bomb).detach().unwrap(); // its result is dropped on its thread
        let bomb = Bomb;
        drop(lane.run(move || drop(bomb))); // cancelled here
        blocker.finish().await;
        assert_eq!(lane.run(|| thread::current().id()).await, home);
    });
}

#[test]
fn il14_the_result_arrives_on_the_loops_thread_in_a_later_turn_than_the_one_that_asked() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", LaneOptions::new());
    let home = thread::current().id();
    io_loop
        .run_sync(async {
            for _ in 0..100 {
                let (done, wait) = mpsc::channel();
                let job = lane.run(move || done.send(()));
                wait.recv().unwrap();
                while lane.metrics().running > 0 {
                    thread::yield_now();
                }
                let asked = IoLoop::current().counters().turns;
                let told = IoLoop::current().spawn(async move {
                    job.await.unwrap().unwrap();
                    (thread::current().id(), IoLoop::current().counters().turns)
                });
                yield_now().await; // the turn in which the task first waits
                let (thread, turn) = told.await.unwrap();
                assert_eq!(thread, home);
                assert!(turn > asked + 1, "asked in {asked}, waited in the next, told in {turn}");
            }
        })
        .unwrap();
}

#[test]
fn il14_a_job_wakes_a_loop_that_sleeps() {
    with_one_thread(|lane| async move {
        let Blocker { release, job, .. } = Blocker::occupy(&lane);
        // After this nothing but the job's end can wake the loop; a lost wake is a hang.
        IoLoop::current().add_callback(move || drop(release));
        assert_eq!(job.await, Ok("released"));
    });
}

#[test]
fn nu5_2_a_full_lane_keeps_no_other_waiting() {
    let io_loop = real_loop();
    let dns = io_loop.lane("dns", one_thread().queue(1));
    io_loop
        .run_sync(async {
            let (slow, waiting) = (Blocker::occupy(&dns), Blocker::start(&dns));
            assert_eq!(dns.run(|| ()).await, Err(JobError::QueueFull));
            assert_eq!(IoLoop::current().run_in_executor(|| "a file").await, Ok("a file"));
            slow.finish().await;
            waiting.finish().await;
        })
        .unwrap();
}

#[test]
fn il39_the_lane_holds_its_threads_and_its_queue_full_of_jobs_and_refuses_the_next() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", LaneOptions::new().threads(2).queue(3));
    io_loop
        .run_sync(async {
            let running = [Blocker::occupy(&lane), Blocker::occupy(&lane)];
            let waiting: Vec<_> = (0..3).map(|n| lane.run(move || n)).collect();
            assert_eq!(lane.run(|| 3).await, Err(JobError::QueueFull));
            let metrics = lane.metrics();
            assert_eq!((metrics.running, metrics.queued, metrics.rejected), (2, 3, 1));
            for blocker in running {
                blocker.finish().await;
            }
            for (n, job) in waiting.into_iter().enumerate() {
                assert_eq!(job.await, Ok(n));
            }
            assert_eq!(lane.run(|| 4).await, Ok(4));
        })
        .unwrap();
}

#[test]
fn il39_without_a_queue_a_job_needs_a_free_thread_and_one_that_has_not_started_yet_is_free() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", LaneOptions::new().threads(2).queue(0));
    io_loop
        .run_sync(async {
            let (first, second) = (Blocker::start(&lane), Blocker::start(&lane));
            assert_eq!(lane.run(|| ()).await, Err(JobError::QueueFull));
            first.finish().await;
            lane.run(|| ()).await.unwrap();
            second.finish().await;
        })
        .unwrap();
}

#[test]
fn il39_no_threads_at_all_count_as_one() {
    let lane = Lane::new("test", LaneOptions::new().threads(0).queue(usize::MAX));
    assert_eq!(real_loop().run_sync(lane.run(|| 1)).unwrap(), Ok(1));
}

#[test]
fn il39_a_job_whose_future_is_dropped_before_it_begins_never_runs_and_frees_its_place() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread().queue(1));
    io_loop
        .run_sync(async {
            let blocker = Blocker::occupy(&lane);
            let owned = Arc::new(());
            let inside = Arc::clone(&owned);
            let job = lane.run(move || {
                let _inside = inside;
                panic!("was run");
            });
            assert_eq!(Arc::strong_count(&owned), 2);
            drop(job);
            assert_eq!((Arc::strong_count(&owned), lane.metrics().queued), (1, 0));
            let next = lane.run(|| "next");
            blocker.finish().await;
            assert_eq!(next.await, Ok("next"));
            let metrics = lane.metrics();
            assert_eq!((metrics.cancelled, metrics.panicked, metrics.completed), (1, 0, 2));
        })
        .unwrap();
}

#[test]
fn nu5_7_a_job_that_runs_is_not_stopped_by_dropping_its_future() {
    with_one_thread(|lane| async move {
        let Blocker { release, job, .. } = Blocker::occupy(&lane);
        drop(job);
        assert_eq!(lane.metrics().running, 1);
        drop(release);
        lane.run(|| ()).await.unwrap();
        let metrics = lane.metrics();
        assert_eq!((metrics.completed, metrics.cancelled), (2, 0));
    });
}

#[test]
fn il39_a_wait_that_is_dropped_may_be_taken_up_again() {
    with_one_thread(|lane| async move {
        let mut blocker = Blocker::occupy(&lane);
        for _ in 0..2 {
            let given_up = ioloop::timeout(Duration::ZERO, &mut blocker.job).await;
            assert!(given_up.is_err());
        }
        blocker.finish().await;
    });
}

#[test]
fn il39_a_job_that_is_let_go_runs_and_one_that_was_refused_says_so() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread().queue(1));
    io_loop
        .run_sync(async {
            let blocker = Blocker::occupy(&lane);
            let (ran, wait) = mpsc::channel();
            assert_eq!(lane.run(move || ran.send(())).detach(), Ok(()));
            assert_eq!(lane.run(|| ()).detach(), Err(JobError::QueueFull));
            blocker.finish().await;
            wait.recv().expect("the job ran");
        })
        .unwrap();
}

#[test]
fn il39_jobs_begin_in_the_order_in_which_they_came() {
    with_one_thread(|lane| async move {
        let blocker = Blocker::occupy(&lane);
        let (log, order) = mpsc::channel();
        for n in 0..50 {
            let log = log.clone();
            lane.run(move || log.send(n)).detach().unwrap();
        }
        blocker.finish().await;
        lane.run(|| ()).await.unwrap();
        assert!(order.try_iter().eq(0..50));
    });
}

#[test]
fn il39_how_long_jobs_waited_is_counted() {
    with_one_thread(|lane| async move {
        let blocker = Blocker::occupy(&lane);
        let before = lane.metrics();
        let jobs = [lane.run(|| ()), lane.run(|| ())];
        let came = Instant::now();
        while came.elapsed().is_zero() {
            yield_now().await;
        }
        let waited = came.elapsed();
        blocker.finish().await;
        for job in jobs {
            job.await.unwrap();
        }
        let after = lane.metrics();
        assert!(after.longest_wait >= waited);
        assert!(after.total_wait - before.total_wait >= 2 * waited);
    });
}

#[test]
fn il39_a_closed_lane_drops_what_waits_and_says_so_and_lets_what_runs_finish() {
    let io_loop = real_loop();
    let lane = Lane::new("test", one_thread());
    io_loop
        .run_sync(async {
            let blocker = Blocker::occupy(&lane);
            let waiting = lane.run(|| panic!("was run"));
            let woken = IoLoop::current().spawn(waiting);
            yield_now().await; // now it waits, and must be woken to learn
            lane.close();
            lane.close();
            assert_eq!(woken.await.unwrap(), Err::<(), _>(JobError::Closed));
            assert_eq!(lane.run(|| ()).await, Err(JobError::Closed));
            assert_eq!(lane.run(|| ()).detach(), Err(JobError::Closed));
            blocker.finish().await;
            let metrics = lane.metrics();
            assert_eq!((metrics.completed, metrics.cancelled, metrics.rejected), (1, 1, 2));
        })
        .unwrap();
}

#[test]
fn il39_a_loop_closes_though_a_job_never_ends_and_what_waits_is_dropped() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread());
    let Blocker { release, job, .. } = Blocker::occupy(&lane);
    let owned = Arc::new(());
    let (inside, also_inside) = (Arc::clone(&owned), Arc::clone(&owned));
    lane.run(move || panic!("was run: {inside:?}")).detach().unwrap();
    let waiting = lane.run(move || panic!("was run: {also_inside:?}"));
    io_loop.close(); // returns, with the job still there
    assert_eq!((Arc::strong_count(&owned), lane.metrics().cancelled), (1, 2));
    let another = real_loop();
    assert_eq!(another.run_sync(waiting).unwrap(), Err::<(), _>(JobError::Closed));
    drop(release);
    assert_eq!(another.run_sync(job).unwrap(), Ok("released"));
}

#[test]
fn il39_a_job_may_close_its_own_lane() {
    with_one_thread(|lane| async move {
        let own = lane.clone();
        assert_eq!(lane.run(move || own.close()).await, Ok(()));
        assert_eq!(lane.run(|| ()).await, Err(JobError::Closed));
    });
}

#[test]
fn il37_a_loop_that_closes_with_its_thread_closes_its_lanes_too() {
    let ended = thread::spawn(|| {
        let io_loop = IoLoop::current();
        let lane = io_loop.lane("test", one_thread().idle_timeout(FOR_EVER));
        io_loop.run_sync(lane.run(|| ())).unwrap().unwrap();
        lane
    });
    let lane = ended.join().unwrap();
    assert_eq!(real_loop().run_sync(lane.run(|| ())).unwrap(), Err(JobError::Closed));
}

#[test]
fn il12_a_closed_loop_has_closed_lanes_alone() {
    let io_loop = real_loop();
    let shared = Lane::new("shared", LaneOptions::new());
    io_loop.set_default_executor(shared.clone());
    let ours = io_loop.lane("test", LaneOptions::new());
    io_loop.close();
    io_loop.set_lane("late", shared.clone());
    let another = real_loop();
    let refused = [
        io_loop.run_in_executor(|| ()),
        io_loop.lane("test", LaneOptions::new()).run(|| ()),
        io_loop.lane("late", LaneOptions::new()).run(|| ()),
        ours.run(|| ()),
    ];
    for job in refused {
        assert_eq!(another.run_sync(job).unwrap(), Err(JobError::Closed));
    }
    assert_eq!(another.run_sync(shared.run(|| 1)).unwrap(), Ok(1), "what the loop was given lives on");
}

#[test]
fn il39_a_job_that_ends_after_its_loop_has_gone_harms_nobody() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread());
    let result = Arc::new(());
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel();
    let inside = Arc::clone(&result);
    let job = lane.run(move || {
        AtThreadEnd(ended).keep();
        begin.send(()).unwrap();
        let _ = released.recv();
        inside
    });
    io_loop.spawn_detached(async move { drop(job.await) });
    io_loop.run_sync(yield_now()).unwrap(); // the task waits
    begun.recv().unwrap();
    drop(io_loop);
    drop(release);
    end.recv().expect("the thread ended");
    assert_eq!(Arc::strong_count(&result), 1, "nobody waits, so the result was dropped");
    assert_eq!((lane.metrics().completed, lane.metrics().threads), (1, 0));
}

/// Says when its thread ends.
struct AtThreadEnd(mpsc::Sender<()>);

thread_local! {
    static AT_THREAD_END: RefCell<Option<AtThreadEnd>> = const { RefCell::new(None) };
}

impl AtThreadEnd {
    fn keep(self) {
        AT_THREAD_END.set(Some(self));
    }
}

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn il39_a_thread_that_has_been_idle_for_long_enough_ends_and_another_takes_its_place() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread().idle_timeout(Duration::from_millis(1)));
    for round in 1..=3 {
        let (ended, end) = mpsc::channel();
        io_loop.run_sync(lane.run(move || AtThreadEnd(ended).keep())).unwrap().unwrap();
        end.recv().expect("the thread ended");
        assert_eq!((lane.metrics().threads, lane.metrics().completed), (0, round));
    }
}

#[test]
fn il39_when_the_last_handle_goes_accepted_jobs_still_run_and_then_the_threads_end() {
    let lane = Lane::new("test", one_thread().idle_timeout(FOR_EVER));
    let clone = lane.clone();
    let (ended, end) = mpsc::channel();
    let Blocker { release, job, .. } = Blocker::occupy(&lane);
    let last = lane.run(move || AtThreadEnd(ended).keep());
    drop(lane);
    drop(clone);
    drop(release);
    let io_loop = real_loop();
    assert_eq!(io_loop.run_sync(job).unwrap(), Ok("released"));
    assert_eq!(io_loop.run_sync(last).unwrap(), Ok(()));
    end.recv().expect("the thread ended");
}

#[test]
fn il39_the_first_to_ask_for_a_lane_decides_its_options() {
    let io_loop = real_loop();
    let lane = io_loop.lane("test", one_thread().queue(0));
    let same = io_loop.lane("test", LaneOptions::new());
    let default = io_loop.lane("default", one_thread().queue(0));
    let blockers = [Blocker::occupy(&lane), Blocker::occupy(&default)];
    let run = io_loop.run_sync(async {
        assert_eq!(same.run(|| ()).await, Err(JobError::QueueFull));
        assert_eq!(IoLoop::current().run_in_executor(|| ()).await, Err(JobError::QueueFull));
        for blocker in blockers {
            blocker.finish().await;
        }
    });
    run.unwrap();
}

#[test]
fn il39_the_default_executor_may_be_replaced() {
    let io_loop = real_loop();
    let name = || thread::current().name().map(str::to_owned).unwrap();
    let before = io_loop.run_in_executor(name); // of the lane that was, which still runs it
    io_loop.set_default_executor(Lane::new("mine", LaneOptions::new()));
    let after = io_loop.run_in_executor(name);
    let (before, after) = io_loop.run_sync(async { (before.await, after.await) }).unwrap();
    assert_eq!((before.as_deref(), after.as_deref()), (Ok("ioloop-default-0"), Ok("ioloop-mine-0")));
}

#[test]
fn nu5_4_loops_on_several_threads_share_the_threads_of_one_lane() {
    const EACH: usize = 200;
    let lane = Lane::new("dns", LaneOptions::new().threads(2));
    let loops: Vec<_> = (0..2)
        .map(|me| {
            let lane = lane.clone();
            thread::spawn(move || {
                let io_loop = real_loop();
                io_loop.set_lane("dns", lane);
                let lane = io_loop.lane("dns", LaneOptions::new());
                io_loop
                    .run_sync(async {
                        let home = thread::current().id();
                        let jobs: Vec<_> = (0..EACH).map(|n| lane.run(move || (me, n))).collect();
                        for (n, job) in jobs.into_iter().enumerate() {
                            assert_eq!((job.await, thread::current().id()), (Ok((me, n)), home));
                        }
                    })
                    .unwrap();
            })
        })
        .collect();
    loops.into_iter().for_each(|each| each.join().unwrap());
    let metrics = lane.metrics();
    assert_eq!((metrics.completed, metrics.queued, metrics.running), (2 * EACH as u64, 0, 0));
    assert!(metrics.threads <= 2);
    assert_eq!(real_loop().run_sync(lane.run(|| ())).unwrap(), Ok(()), "the loops have not closed it");
}

#[test]
fn il39_of_many_jobs_every_one_ends_in_exactly_one_way() {
    const JOBS: usize = 5_000;
    let io_loop = real_loop();
    let lane = io_loop.lane("test", LaneOptions::new().threads(4).queue(64).idle_timeout(Duration::ZERO));
    let ran = Arc::new(AtomicUsize::new(0));
    let seen: Rc<RefCell<[u64; 3]>> = Rc::default();
    io_loop
        .run_sync(async {
            let mut waiting = Vec::new();
            for n in 0..JOBS {
                let count = Arc::clone(&ran);
                let job = lane.run(move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    assert!(n % 7 != 0, "every seventh");
                });
                if n % 5 == 0 {
                    drop(job); // cancels it, or comes too late
                    continue;
                }
                let seen = Rc::clone(&seen);
                waiting.push(IoLoop::current().spawn(async move {
                    let which = match job.await {
                        Ok(()) => 0,
                        Err(JobError::Panicked(_)) => 1,
                        Err(JobError::QueueFull) => 2,
                        Err(other) => panic!("{other}"),
                    };
                    seen.borrow_mut()[which] += 1;
                }));
                if n % 50 == 0 {
                    yield_now().await;
                }
            }
            for each in waiting {
                each.await.unwrap();
            }
        })
        .unwrap();
    let last = Blocker::occupy(&lane); // what was dropped while it ran has ended, or is about to
    io_loop.run_sync(last.finish()).unwrap();
    while lane.metrics().running > 0 {
        thread::yield_now();
    }
    let metrics = lane.metrics();
    let [completed, panicked, full] = *seen.borrow();
    assert!(metrics.completed > completed && metrics.panicked >= panicked && metrics.rejected >= full);
    assert_eq!(metrics.completed + metrics.panicked, ran.load(Ordering::Relaxed) as u64 + 1);
    let all = metrics.completed + metrics.panicked + metrics.rejected + metrics.cancelled;
    assert_eq!((all, metrics.queued), (JOBS as u64 + 1, 0));
}

#[test]
#[cfg(target_os = "linux")]
fn il39_a_refused_thread_is_a_typed_error_and_not_a_panic() {
    const CHILD: &str = "IOLOOP_TEST_WITHOUT_THREADS";
    if std::env::var_os(CHILD).is_some() {
        let lane = Lane::new("test", LaneOptions::new());
        let refused = IoLoop::new().unwrap().run_sync(lane.run(|| ())).unwrap();
        assert!(matches!(refused, Err(JobError::NoThread(_))), "{refused:?}");
        assert_eq!((lane.metrics().rejected, lane.metrics().queued), (1, 0));
        return;
    }
    // The same test in a process of its own, where no thread can have the stack that it is told to have.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "il39_a_refused_thread_is_a_typed_error_and_not_a_panic", "--test-threads=1"])
        .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn il39_on_virtual_time_jobs_run_on_the_loops_thread_in_the_next_turn_and_take_no_time() {
    let test = VirtualLoop::new();
    let lane = test.lane("test", one_thread());
    let home = thread::current().id();
    test.run(async {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        let job = lane.run(move || {
            flag.store(true, Ordering::Relaxed);
            thread::current().id()
        });
        assert!(!ran.load(Ordering::Relaxed), "never inline");
        assert_eq!((lane.metrics().queued, lane.metrics().threads), (1, 0));
        yield_now().await;
        assert!(ran.load(Ordering::Relaxed));
        assert_eq!(job.await, Ok(home));
        let lost = IoLoop::current().run_in_executor(|| panic!("as ever")).await;
        assert_eq!(lost, Err::<(), _>(JobError::Panicked("as ever".to_owned())));
    });
    assert_eq!((test.elapsed(), test.counters().panics), (Duration::ZERO, 0));
    let metrics = lane.metrics();
    assert_eq!((metrics.completed, metrics.total_wait, metrics.threads), (1, Duration::ZERO, 0));
}

#[test]
fn il39_on_virtual_time_the_bound_is_the_same_and_a_dropped_job_does_not_run() {
    let test = VirtualLoop::new();
    let lane = test.lane("test", LaneOptions::new().threads(2).queue(1));
    test.run(async {
        let cancelled = lane.run(|| panic!("was run"));
        let (first, second) = (lane.run(|| 1), lane.run(|| 2));
        assert_eq!(lane.run(|| 3).detach(), Err(JobError::QueueFull));
        drop::<Job<()>>(cancelled);
        let third = lane.run(|| 3);
        assert_eq!((first.await, second.await, third.await), (Ok(1), Ok(2), Ok(3)));
    });
    let metrics = lane.metrics();
    assert_eq!((metrics.completed, metrics.cancelled, metrics.rejected, metrics.panicked), (3, 1, 1, 0));
}

#[test]
fn il39_on_virtual_time_a_closed_lane_drops_what_it_holds() {
    let test = VirtualLoop::new();
    let lane = test.lane("test", LaneOptions::new());
    test.run(async {
        let job = lane.run(|| panic!("was run"));
        lane.close();
        assert_eq!(job.await, Err::<(), _>(JobError::Closed));
    });
    assert_eq!((lane.metrics().cancelled, lane.metrics().panicked), (1, 0));
}

#[test]
fn il39_on_virtual_time_every_run_is_the_same_run() {
    let run = || {
        let test = VirtualLoop::new();
        let log = Rc::new(RefCell::new(Vec::new()));
        for n in 1..=10_u64 {
            let (io_loop, log) = (test.clone(), Rc::clone(&log));
            test.spawn_detached(async move {
                for step in 0..n {
                    ioloop::sleep(Duration::from_millis(n * 7 % 5)).await;
                    let sum = io_loop.run_in_executor(move || n + step).await.unwrap();
                    log.borrow_mut().push((sum, io_loop.counters().turns, io_loop.now()));
                }
            });
        }
        let began = test.now();
        test.advance(Duration::from_secs(1));
        let metrics = test.lane("default", LaneOptions::new()).metrics();
        let log: Vec<_> = log.take().into_iter().map(|(sum, turn, at)| (sum, turn, at - began)).collect();
        test.close();
        (log, metrics, test.counters())
    };
    let first = run();
    assert_eq!(first.0.len(), 55);
    assert_eq!(first, run());
}

#[test]
fn il39_a_loop_on_virtual_time_that_closes_gives_back_what_it_holds_of_a_shared_lane() {
    let lane = Lane::new("shared", one_thread().queue(0));
    let test = VirtualLoop::new();
    test.set_default_executor(lane.clone());
    let owned = Arc::new(());
    let inside = Arc::clone(&owned);
    test.run_in_executor(move || panic!("was run: {inside:?}")).detach().unwrap();
    let io_loop = real_loop();
    assert_eq!(
        io_loop.run_sync(lane.run(|| ())).unwrap(),
        Err(JobError::QueueFull),
        "no thread takes what is held"
    );
    test.close();
    assert_eq!((Arc::strong_count(&owned), lane.metrics().cancelled), (1, 1));
    assert_eq!(io_loop.run_sync(lane.run(|| 1)).unwrap(), Ok(1));
}

#[test]
fn il39_a_lane_works_where_no_loop_is() {
    let lane = Lane::new("test", LaneOptions::new());
    let nested = lane.clone();
    let outer = lane.run(move || nested.run(|| "from inside a job"));
    let io_loop = real_loop();
    let inner = io_loop.run_sync(outer).unwrap().unwrap();
    assert_eq!(io_loop.run_sync(inner).unwrap(), Ok("from inside a job"));
}
