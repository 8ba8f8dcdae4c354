//! Other threads: what reaches the loop, in which order, at what cost, and what happens while it closes.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use ioloop::{IoLoop, Remote, RunError, yield_now};
use support::real_loop;

fn is_send_and_sync<T: Send + Sync>() {}

/// Compiles only for a type that is not `Send`: for one that is, there are two candidates.
macro_rules! assert_not_send {
    ($($type:ty),*) => {$({
        trait AmbiguousIfSend<A> { fn check() {} }
        impl<T: ?Sized> AmbiguousIfSend<()> for T {}
        impl<T: ?Sized + Send> AmbiguousIfSend<u8> for T {}
        <$type as AmbiguousIfSend<_>>::check();
    })*};
}

#[test]
fn only_the_remote_crosses_threads() {
    is_send_and_sync::<Remote>();
    is_send_and_sync::<Waker>();
    assert_not_send!(IoLoop, ioloop::JoinHandle<()>, ioloop::Registration, ioloop::Deadline, ioloop::Timeout);
}

#[test]
fn il9_a_callback_from_another_thread_wakes_a_sleeping_loop() {
    let io_loop = real_loop();
    let remote = io_loop.remote();
    let other = thread::spawn(move || {
        let stop = remote.clone();
        remote.add_callback(move || stop.stop());
    });
    io_loop.start().expect("woken and stopped; otherwise this would sleep for ever");
    other.join().unwrap();
}

#[test]
fn il9_a_callback_from_the_loops_own_thread_wakes_it_too() {
    let io_loop = real_loop();
    let stop = io_loop.clone();
    io_loop.remote().add_callback(move || IoLoop::current().add_callback(|| IoLoop::current().stop()));
    stop.start().unwrap();
}

#[test]
fn il10_callbacks_of_one_thread_keep_their_order_also_among_many_threads() {
    const THREADS: usize = 4;
    const EACH: usize = 1_000;
    let io_loop = real_loop();
    let (sender, receiver) = mpsc::channel();
    let arrived = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (remote, sender, arrived) = (io_loop.remote(), sender.clone(), Arc::clone(&arrived));
            thread::spawn(move || {
                for n in 0..EACH {
                    let (sender, arrived) = (sender.clone(), Arc::clone(&arrived));
                    remote.add_callback(move || {
                        sender.send((me, n)).unwrap();
                        if arrived.fetch_add(1, Ordering::Relaxed) + 1 == THREADS * EACH {
                            IoLoop::current().stop();
                        }
                    });
                }
            })
        })
        .collect();
    io_loop.start().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut next = [0; THREADS];
    for (thread, n) in receiver.try_iter() {
        assert_eq!(n, next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [EACH; THREADS]);
}

#[test]
fn a_thousand_posts_to_a_loop_that_is_busy_are_one_wakeup() {
    let io_loop = real_loop();
    let remote = io_loop.remote();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    io_loop
        .run_sync(async {
            let post = move || {
                for _ in 0..1_000 {
                    let count = Arc::clone(&count);
                    remote.add_callback(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                }
            };
            thread::spawn(post).join().unwrap(); // the loop is not polling meanwhile
            yield_now().await;
            yield_now().await;
        })
        .unwrap();
    let counters = io_loop.counters();
    assert_eq!(ran.load(Ordering::Relaxed), 1_000);
    assert_eq!((counters.messages, counters.wakeups, counters.events), (1_000, 1, 1));
}

#[test]
fn a_thousand_wakes_of_a_task_from_elsewhere_are_one_message_one_event_and_one_poll() {
    let io_loop = real_loop();
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let keep = Rc::clone(&waker);
    let polls = Rc::new(std::cell::Cell::new(0));
    let count = Rc::clone(&polls);
    io_loop.spawn_detached(std::future::poll_fn(move |cx| {
        count.set(count.get() + 1);
        keep.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    io_loop
        .run_sync(async {
            yield_now().await;
            let waker = waker.take().expect("the task has been polled");
            thread::spawn(move || (0..1_000).for_each(|_| waker.wake_by_ref())).join().unwrap();
            yield_now().await;
            yield_now().await;
        })
        .unwrap();
    let counters = io_loop.counters();
    assert_eq!((polls.get(), counters.events, counters.messages), (2, 1, 1));
}

/// Each wake follows a change that the task looks for, so a lost wake is a hang.
#[test]
fn no_wake_from_another_thread_is_lost_however_it_falls() {
    const ROUNDS: usize = 20_000;
    let io_loop = real_loop();
    let asked = Arc::new(AtomicUsize::new(0));
    let (to_thread, requests) = mpsc::channel::<Waker>();
    let answered = Arc::clone(&asked);
    let other = thread::spawn(move || {
        for waker in requests {
            answered.fetch_add(1, Ordering::Release);
            waker.wake();
        }
    });
    io_loop
        .run_sync(async {
            for round in 1..=ROUNDS {
                let mut sent = false;
                std::future::poll_fn(|cx| {
                    if asked.load(Ordering::Acquire) == round {
                        return Poll::Ready(());
                    }
                    if !std::mem::replace(&mut sent, true) {
                        to_thread.send(cx.waker().clone()).unwrap();
                    }
                    Poll::Pending
                })
                .await;
            }
        })
        .unwrap();
    drop(to_thread);
    other.join().unwrap();
}

#[test]
fn wakes_that_race_with_the_end_of_their_task_are_harmless() {
    const TASKS: usize = 2_000;
    let io_loop = real_loop();
    let (to_thread, wakers) = mpsc::channel::<Waker>();
    let other = thread::spawn(move || {
        for waker in wakers {
            waker.wake_by_ref();
            waker.wake();
        }
    });
    io_loop
        .run_sync(async {
            for _ in 0..TASKS {
                let to_thread = to_thread.clone();
                let task = IoLoop::current().spawn(async move {
                    let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                    to_thread.send(waker).unwrap();
                    yield_now().await;
                });
                task.await.unwrap();
            }
        })
        .unwrap();
    drop(to_thread);
    other.join().unwrap();
    assert_eq!((io_loop.counters().tasks, io_loop.counters().panics), (0, 0));
}

#[test]
fn il12_adding_while_the_loop_closes_neither_fails_nor_runs() {
    let io_loop = real_loop();
    let remote = io_loop.remote();
    let begin = Arc::new(Barrier::new(2));
    let closed = Arc::new(AtomicBool::new(false));
    let held = Arc::new(());
    let (start, flag, token) = (Arc::clone(&begin), Arc::clone(&closed), Arc::clone(&held));
    let other = thread::spawn(move || {
        start.wait();
        for _ in 0..1_000 {
            let (flag, token) = (Arc::clone(&flag), Arc::clone(&token));
            remote.add_callback(move || {
                let _token = token;
                assert!(!flag.load(Ordering::SeqCst), "ran on a closed loop");
            });
        }
        remote.stop();
    });
    begin.wait();
    // The other thread may be faster than this run: its stop then ends it.
    let run = io_loop.run_sync(yield_now());
    assert!(matches!(run, Ok(()) | Err(RunError::Stopped)), "{run:?}");
    io_loop.close();
    closed.store(true, Ordering::SeqCst);
    other.join().unwrap();
    assert_eq!(Arc::strong_count(&held), 1, "every callback was dropped");
    assert_eq!(io_loop.counters().panics, 0);
}

#[test]
fn il12_a_callback_that_is_dropped_by_a_closed_loop_may_post_from_its_destructor() {
    struct Posts(Remote);
    impl Drop for Posts {
        fn drop(&mut self) {
            self.0.add_callback(|| {});
        }
    }
    let io_loop = real_loop();
    let (waiting, late) = (Posts(io_loop.remote()), Posts(io_loop.remote()));
    io_loop.remote().add_callback(move || drop(waiting));
    io_loop.close();
    io_loop.remote().add_callback(move || drop(late)); // under a lock this would never return
}

#[test]
fn a_future_that_cannot_cross_threads_is_made_where_it_runs() {
    let io_loop = real_loop();
    let remote = io_loop.remote();
    let (sender, receiver) = mpsc::channel();
    let home = thread::current().id();
    let other = thread::spawn(move || {
        remote.spawn(move || async move {
            let not_send = Rc::new(thread::current().id());
            yield_now().await;
            sender.send(*not_send).unwrap();
            IoLoop::current().stop();
        });
    });
    io_loop.start().unwrap();
    other.join().unwrap();
    assert_eq!(receiver.recv(), Ok(home));
}

#[test]
fn il13_a_panic_in_what_another_thread_sent_stops_nothing() {
    let io_loop = real_loop();
    let remote = io_loop.remote();
    remote.add_callback(|| panic!("a callback"));
    remote.spawn(|| async { panic!("a task") });
    remote.add_callback(|| IoLoop::current().add_callback(|| IoLoop::current().stop()));
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 2);
}

#[test]
fn il36_loops_made_run_and_closed_in_several_threads_at_once_do_not_disturb_each_other() {
    let begin = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|me| {
            let begin = Arc::clone(&begin);
            thread::spawn(move || {
                begin.wait();
                for n in 0..50 {
                    let io_loop = real_loop();
                    let task = io_loop.spawn(async move { me * n });
                    assert_eq!(io_loop.run_sync(task).unwrap(), Ok(me * n));
                    io_loop.close();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn remotes_are_equal_if_they_reach_the_same_loop() {
    let (one, other) = (IoLoop::new().unwrap(), IoLoop::new().unwrap());
    assert!(one.remote() == one.remote() && one.remote() != other.remote());
}
