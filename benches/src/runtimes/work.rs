//! What the contenders have in common: futures that know no runtime, threads that post, and numbers that scatter.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{HOUR, OUTSTANDING};

/// Numbers without an order, the same in every run (SplitMix64).
pub(super) struct Scatter(u64);

impl Scatter {
    pub(super) fn new(seed: u64) -> Scatter {
        Scatter(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Between one hour and two from now.
    pub(super) fn delay(&mut self) -> Duration {
        HOUR + Duration::from_nanos(self.next() % HOUR.as_nanos() as u64)
    }

    /// Which of the million.
    pub(super) fn any(&mut self) -> usize {
        (self.next() % OUTSTANDING) as usize
    }
}

/// When the timers of `let_pass` are due: within a hundredth of a second, after the last has been set.
pub(super) fn passing(scatter: &mut Scatter) -> Duration {
    Duration::from_nanos(2_000_000_000 + scatter.next() % 10_000_000)
}

/// Longer than all of those.
pub(super) const PASSED: Duration = Duration::from_millis(2_020);

/// Wakes itself so many times.
pub(super) struct WakesItself(pub(super) u64);

impl Future for WakesItself {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

thread_local! {
    /// Of the thread and not of the tasks, because some runtimes let no task hold what stays on its thread.
    static WAITING: [Cell<Option<Waker>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// One of two tasks that wake each other so many times. The one that ends wakes the other a last time.
pub(super) async fn wakes_the_other(own: usize, mut times: u64) {
    poll_fn(|cx| {
        WAITING.with(|waiting| {
            if let Some(other) = waiting[1 - own].take() {
                other.wake();
            }
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            waiting[own].set(Some(cx.waker().clone()));
            Poll::Pending
        })
    })
    .await;
}

/// Posts that a loop has yet to see.
pub(super) struct Arrivals {
    left: AtomicU64,
    root: Mutex<Option<Waker>>,
}

impl Arrivals {
    /// Lives as long as the process, so that a post carries a word and touches no count.
    pub(super) fn expect(number: u64) -> &'static Arrivals {
        Box::leak(Box::new(Arrivals { left: AtomicU64::new(number), root: Mutex::default() }))
    }

    pub(super) fn one(&self) {
        // Only the loop's thread counts: no need for a locked instruction.
        let left = self.left.load(Ordering::Relaxed) - 1;
        self.left.store(left, Ordering::Relaxed);
        if left == 0
            && let Some(root) = self.root.lock().expect("nobody panics").take()
        {
            root.wake();
        }
    }

    pub(super) async fn all(&self) {
        poll_fn(|cx| {
            *self.root.lock().expect("nobody panics") = Some(cx.waker().clone());
            if self.left.load(Ordering::Relaxed) == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Has `threads` threads call `post` `number` times altogether while this one runs `receive`.
pub(super) fn from_threads<P: Fn() + Send + 'static>(
    threads: u64,
    number: u64,
    post: impl Fn() -> P,
    receive: impl FnOnce(),
) {
    let barrier = Arc::new(Barrier::new(threads as usize + 1));
    let posting: Vec<_> = (0..threads)
        .map(|thread| {
            let (barrier, post) = (Arc::clone(&barrier), post());
            // The first take what cannot be shared evenly.
            let share = number / threads + u64::from(thread < number % threads);
            thread::spawn(move || {
                barrier.wait();
                (0..share).for_each(|_| post());
            })
        })
        .collect();
    barrier.wait();
    receive();
    posting.into_iter().for_each(|thread| thread.join().expect("it only posts"));
}

/// A bell that one thread rings and a task of another waits for, as often as it is rung.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        let waiting = self.waiting.lock().expect("nobody panics").take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Waits for the ring after the `heard`th.
    pub(super) async fn after(&self, heard: u64) {
        poll_fn(|cx| {
            *self.waiting.lock().expect("nobody panics") = Some(cx.waker().clone());
            if self.rung.load(Ordering::Acquire) > heard { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
