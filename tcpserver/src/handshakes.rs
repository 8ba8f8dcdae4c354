//! How many TLS handshakes are under way at once, and who has to wait for one to be over.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ioloop::Deadline;
use iostream::IoStream;

use crate::metrics::Tally;
use crate::quiet::Quiet;

/// Handshakes at once, unless the server says otherwise. At a round trip of a tenth of a second that is five thousand new
/// clients a second, which is more than one core can sign for.
const MOST: usize = 512;

/// How long a handshake lasts at least while others wait for its place. Then it gives way, so that whoever begins a handshake and
/// says nothing keeps nobody out for longer than this. Long enough for the round trips of an honest client that is far away.
const PATIENCE: Duration = Duration::from_secs(1);

/// The handshakes of one server.
pub(crate) struct Handshakes {
    most: Cell<usize>,
    tickets: Cell<u64>,
    /// The oldest first.
    under_way: RefCell<VecDeque<UnderWay>>,
    /// In the order in which they came.
    waiting: RefCell<VecDeque<(Ticket, Waker)>>,
    pub(crate) failures: Quiet,
}

type Ticket = u64;

struct UnderWay {
    ticket: Ticket,
    began: Instant,
    stream: IoStream,
}

/// One of the places, or the wait for it, until dropped.
pub(crate) struct Place<'a> {
    all: &'a Handshakes,
    ticket: Ticket,
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes {
            most: Cell::new(MOST),
            tickets: Cell::default(),
            under_way: RefCell::default(),
            waiting: RefCell::default(),
            failures: Quiet::default(),
        }
    }
}

impl Handshakes {
    pub(crate) fn limit(&self, most: usize) {
        self.most.set(most.max(1));
        self.wake_next();
    }

    pub(crate) fn most(&self) -> usize {
        self.most.get()
    }

    /// Waits for a place, first come first served. May be dropped at any time.
    pub(crate) async fn place(&self, stream: &IoStream, tally: &Tally) -> Place<'_> {
        let place = Place { all: self, ticket: self.tickets.replace(self.tickets.get() + 1) };
        let mut timer = None;
        poll_fn(|cx| self.poll_place(place.ticket, &mut timer, stream, tally, cx)).await;
        place
    }

    fn poll_place(
        &self,
        ticket: Ticket,
        timer: &mut Option<Deadline>,
        stream: &IoStream,
        tally: &Tally,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.is_next(ticket) {
            if let Some(over) = self.poll_room(stream.now(), tally) {
                let timer = timer.get_or_insert_with(|| Deadline::new(&stream.io_loop()));
                timer.set(Some(over));
                if timer.poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
            } else {
                self.leave_queue(ticket);
                let began = stream.now();
                self.under_way.borrow_mut().push_back(UnderWay { ticket, began, stream: stream.clone() });
                self.wake_next();
                return Poll::Ready(());
            }
        }
        self.queue(ticket, cx.waker().clone());
        Poll::Pending
    }

    /// `None` if there is room, be it that a handshake has just given way; else when the oldest will.
    fn poll_room(&self, now: Instant, tally: &Tally) -> Option<Instant> {
        let oldest = {
            let mut under_way = self.under_way.borrow_mut();
            if under_way.len() < self.most.get() {
                return None;
            }
            let over = under_way.front()?.began + PATIENCE;
            if now < over {
                return Some(over);
            }
            under_way.pop_front()?
        };
        tally.count(|metrics| metrics.shed.handshakes += 1);
        oldest.stream.close(); // outside the borrow: it tells whoever waits for it
        None
    }

    fn is_next(&self, ticket: Ticket) -> bool {
        self.waiting.borrow().front().is_none_or(|(first, _)| *first == ticket)
    }

    fn queue(&self, ticket: Ticket, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let replaced = match waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            Ok(place) => Some(std::mem::replace(&mut waiting[place].1, waker)),
            Err(place) => {
                waiting.insert(place, (ticket, waker)); // the last, as tickets are given in order
                None
            }
        };
        drop(waiting);
        drop(replaced); // outside the borrow: it may be foreign code
    }

    fn leave_queue(&self, ticket: Ticket) {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let left = place.ok().and_then(|place| waiting.remove(place));
        drop(waiting);
        drop(left);
    }

    /// Has whoever is next look whether there is room.
    fn wake_next(&self) {
        let next = self.waiting.borrow().front().map(|(_, waker)| waker.clone());
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.leave_queue(self.ticket);
        let over = {
            let mut under_way = self.all.under_way.borrow_mut();
            let place = under_way.binary_search_by_key(&self.ticket, |handshake| handshake.ticket);
            place.ok().and_then(|place| under_way.remove(place))
        };
        drop(over);
        self.all.wake_next();
    }
}
