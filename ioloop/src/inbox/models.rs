//! Models: small programs that loom runs in every order of their steps. A lost wake is a deadlock, and fails.

use std::sync::Arc; // not loom's: who owns what is not the question here

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{Inbox, Posted};

/// The poller as far as posting knows it: one word is kept until the loop listens, and two are as good as one.
struct Poller {
    word: Mutex<bool>,
    said: Condvar,
}

impl Poller {
    fn wake(&self) {
        *self.word.lock().unwrap() = true;
        self.said.notify_one();
    }

    fn sleep(&self) {
        let mut word = self.word.lock().unwrap();
        while !*word {
            word = self.said.wait(word).unwrap();
        }
        *word = false;
    }
}

/// What `remote::Shared` is to other threads.
struct Shared<T> {
    inbox: Inbox<T>,
    poller: Poller,
}

impl<T> Shared<T> {
    fn new() -> Arc<Shared<T>> {
        let poller = Poller { word: Mutex::new(false), said: Condvar::new() };
        Arc::new(Shared { inbox: Inbox::new(), poller })
    }

    fn post(&self, message: T) {
        self.inbox.post(message, || self.poller.wake());
    }

    /// One turn of the loop: sleeps until it is woken, and takes everything.
    fn turn(&self) -> Vec<T> {
        self.poller.sleep();
        self.receive()
    }

    fn receive(&self) -> Vec<T> {
        let mut received = Vec::new();
        self.inbox.swap(&mut received);
        received
    }
}

/// A task that other threads wake: each time they have added to its work, without any order but the wake's own.
struct Task {
    posted: Posted,
    work: AtomicUsize,
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::new(Task { posted: Posted::new(), work: AtomicUsize::new(0) })
    }

    fn add_work_and_wake(self: &Arc<Task>, shared: &Shared<Arc<Task>>) {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.posted.send(|| shared.post(Arc::clone(self)));
    }

    /// The loop has the message: the work that the task finds.
    fn run(&self) -> usize {
        let mut found = 0;
        self.posted.receive(|| found = self.work.load(Ordering::Relaxed));
        found
    }
}

/// Another thread; the loop's is the model's own.
fn spawn<T: 'static>(shared: &Arc<T>, body: impl FnOnce(&T) + 'static) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn two_wakes_by_one_thread_are_never_lost() {
    loom::model(|| {
        let (shared, task) = (Shared::new(), Task::new());
        let woken = Arc::clone(&task);
        let other = spawn(&shared, move |shared| {
            woken.add_work_and_wake(shared);
            woken.add_work_and_wake(shared);
        });
        let mut messages = 0;
        while !shared.turn().iter().any(|task| {
            messages += 1;
            task.run() == 2
        }) {}
        join([other]);
        assert!(messages <= 2);
    });
}

#[test]
fn wakes_by_two_threads_are_never_lost() {
    loom::model(|| {
        let (shared, task) = (Shared::new(), Task::new());
        let others = [Arc::clone(&task), Arc::clone(&task)]
            .map(|woken| spawn(&shared, move |shared| woken.add_work_and_wake(shared)));
        while !shared.turn().iter().any(|task| task.run() == 2) {}
        join(others);
    });
}

#[test]
fn wakes_that_come_before_the_loop_looks_are_one_message() {
    loom::model(|| {
        let (shared, task) = (Shared::new(), Task::new());
        let others = [Arc::clone(&task), Arc::clone(&task)]
            .map(|woken| spawn(&shared, move |shared| woken.add_work_and_wake(shared)));
        join(others);
        let found: Vec<usize> = shared.turn().iter().map(|task| task.run()).collect();
        assert_eq!(found, [2]);
        assert_eq!(shared.inbox.wakeups(), 1);
    });
}

#[test]
fn posts_by_two_threads_all_arrive_and_those_of_one_in_order() {
    loom::model(|| {
        let shared = Shared::new();
        let posters = [&[1, 2][..], &[10]]
            .map(|numbers| spawn(&shared, move |shared| numbers.iter().for_each(|n| shared.post(*n))));
        let mut received = Vec::new();
        while received.len() < 3 {
            received.extend(shared.turn());
        }
        assert!(matches!(received[..], [1, 2, 10] | [1, 10, 2] | [10, 1, 2]), "{received:?}");
        join(posters);
    });
}

#[test]
fn posts_that_come_before_the_loop_looks_wake_it_once() {
    loom::model(|| {
        let shared = Shared::new();
        join([1, 2].map(|n| spawn(&shared, move |shared| shared.post(n))));
        assert_eq!((shared.turn().len(), shared.inbox.wakeups()), (2, 1));
    });
}

#[test]
fn a_word_whose_post_was_taken_before_the_loop_slept_hides_no_later_one() {
    loom::model(|| {
        let shared = Shared::new();
        let poster = spawn(&shared, |shared| (1..=3).for_each(|n| shared.post(n)));
        let mut received = shared.receive();
        while received.len() < 3 {
            received.extend(shared.turn());
        }
        assert_eq!(received, [1, 2, 3]);
        join([poster]);
    });
}

#[test]
fn a_stop_is_not_lost_among_other_posts() {
    loom::model(|| {
        let shared = Shared::new();
        let posters = ["call", "stop"].map(|message| spawn(&shared, move |shared| shared.post(message)));
        while !shared.turn().contains(&"stop") {}
        join(posters);
    });
}

#[test]
fn a_closed_inbox_has_given_out_or_refused_every_message() {
    loom::model(|| {
        let shared: Arc<Shared<Arc<()>>> = Shared::new();
        let message = Arc::new(());
        let posters = [Arc::clone(&message), Arc::clone(&message)].map(|message| {
            spawn(&shared, move |shared| {
                shared.post(Arc::clone(&message));
                shared.post(message);
            })
        });
        drop(shared.receive());
        drop(shared.inbox.close());
        assert!(shared.receive().is_empty(), "nothing runs after it");
        join(posters);
        assert!(shared.receive().is_empty(), "and nothing is kept that came later");
        assert_eq!(Arc::strong_count(&message), 1);
    });
}
