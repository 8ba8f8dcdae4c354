//! Questions to other loops, and the wait for their answers. A loop that has closed gives none.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

struct Answers<T> {
    given: Vec<Option<T>>,
    outstanding: usize,
    waker: Option<Waker>,
}

/// What one of those who are asked is to give, or to drop.
pub(crate) struct Answer<T> {
    all: Arc<Mutex<Answers<T>>>,
    index: usize,
}

/// Has `ask` put one question for each of `count`, and waits until all have been answered or dropped.
///
/// May be dropped at any time: then nobody hears the answers.
pub(crate) async fn answers<T>(count: usize, mut ask: impl FnMut(usize, Answer<T>)) -> Vec<Option<T>> {
    let given = std::iter::repeat_with(|| None).take(count).collect();
    let all = Arc::new(Mutex::new(Answers { given, outstanding: count, waker: None }));
    for index in 0..count {
        ask(index, Answer { all: Arc::clone(&all), index });
    }
    poll_fn(|cx| {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.outstanding == 0 {
            return Poll::Ready(std::mem::take(&mut all.given));
        }
        let replaced = all.waker.replace(cx.waker().clone());
        drop(all);
        drop(replaced);
        Poll::Pending
    })
    .await
}

impl<T> Answer<T> {
    pub(crate) fn give(self, answer: T) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).given[self.index] = Some(answer);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let waker = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.outstanding -= 1;
            if all.outstanding == 0 { all.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
