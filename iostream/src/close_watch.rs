//! Who waits for the end of a connection: any number of tasks, and one callback.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use ioloop::{BeforePoll, IoLoop, Ready};

use crate::stream::Inner;

/// A callback that waits for the end.
pub(crate) type CloseCallback = Box<dyn FnOnce()>;

/// Made when the first asks, so that a stream nobody watches pays a pointer.
///
/// It is the loop's hook for "a side is closed": called on every event that says so, it tells everybody, who look for
/// themselves, and waits for the next. So a reset is seen although the end of the peer's side came first.
pub(crate) struct CloseWatch {
    stream: Weak<Inner>,
    callback: RefCell<Option<CloseCallback>>,
    waiting: RefCell<Vec<(u64, Waker)>>,
    next_ticket: Cell<u64>,
}

impl CloseWatch {
    /// Puts `callback` in the place of the one that was there.
    pub(crate) fn set_callback(&self, callback: Option<CloseCallback>) {
        let previous = self.callback.replace(callback);
        drop(previous); // outside the borrow: it owns what it captured
    }

    /// Has the callback called in a later turn, if it has not been taken back by then.
    pub(crate) fn call_later(self: &Rc<CloseWatch>, io_loop: &IoLoop) {
        if self.callback.borrow().is_some() {
            let watch = Rc::clone(self);
            io_loop.add_callback(move || {
                let callback = watch.callback.take();
                if let Some(callback) = callback {
                    callback();
                }
            });
        }
    }

    fn remove(&self, ticket: u64) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.iter().position(|(other, _)| *other == ticket)?;
        Some(waiting.swap_remove(at).1)
    }
}

impl BeforePoll for CloseWatch {
    fn before_poll(self: Rc<CloseWatch>) {
        let waiting = self.waiting.take();
        for (_, waker) in waiting {
            waker.wake();
        }
        let stream = self.stream.upgrade();
        if let Some(stream) = stream.as_ref().filter(|stream| !stream.is_closed()) {
            stream.registration.call_when_closed(Rc::clone(&self) as Rc<dyn BeforePoll>);
        }
        // A stream that is gone has closed before.
        if stream.is_none_or(|stream| stream.has_ended())
            && let Some(io_loop) = IoLoop::try_current()
        {
            self.call_later(&io_loop);
        }
    }
}

/// One task's place among those that wait; given up when its future is dropped, so that tasks which come and go leave
/// nothing behind.
struct Place {
    watch: Rc<CloseWatch>,
    ticket: u64,
}

impl Place {
    fn take(watch: Rc<CloseWatch>) -> Place {
        let ticket = watch.next_ticket.get();
        watch.next_ticket.set(ticket + 1);
        Place { watch, ticket }
    }

    fn wait(&self, waker: &Waker) {
        let waker = waker.clone();
        let previous = self.watch.remove(self.ticket);
        drop(previous);
        self.watch.waiting.borrow_mut().push((self.ticket, waker));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = self.watch.remove(self.ticket);
        drop(waker);
    }
}

impl Inner {
    /// The watch of this stream, if somebody has asked for one.
    pub(crate) fn close_watch(&self) -> Option<&Rc<CloseWatch>> {
        self.rare_if_any()?.close_watch.get()
    }

    /// The watch of this stream, which from now on hears of its end.
    pub(crate) fn watch(self: &Rc<Inner>) -> Rc<CloseWatch> {
        let watch = self.rare().close_watch.get_or_init(|| {
            Rc::new(CloseWatch {
                stream: Rc::downgrade(self),
                callback: RefCell::default(),
                waiting: RefCell::default(),
                next_ticket: Cell::new(0),
            })
        });
        if !self.is_closed() {
            match self.attach() {
                Ok(()) => self.registration.call_when_closed(Rc::clone(watch) as Rc<dyn BeforePoll>),
                Err(error) => {
                    self.fail(error);
                }
            }
        }
        Rc::clone(watch)
    }

    /// Waits until `ended` is true, which is looked at whenever a side is closed or the connection fails.
    pub(crate) async fn wait_for_end(self: &Rc<Inner>, ended: fn(&Inner) -> bool) {
        let place = Place::take(self.watch());
        poll_fn(|cx| {
            if ended(self) {
                return Poll::Ready(());
            }
            place.wait(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Whether the stream is closed or the connection has failed, in both directions.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_closed() || self.registration.ready().intersects(Ready::WRITE_CLOSED | Ready::ERROR)
    }

    /// Whether the peer, at least, will send nothing more.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_gone() || self.is_end_of_stream() || self.registration.ready().intersects(Ready::READ_CLOSED)
    }
}
