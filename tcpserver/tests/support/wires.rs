//! Connections by the million: the thinnest transport there is, and the other ends of all of them in one table.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Instant;

use ioloop::testing::VirtualLoop;
use ioloop::{Counters, IoLoop, Notifier, Ready, Registration};
use iostream::{IoStream, StreamOptions, Transport};

/// The other ends, from number zero on. Their memory is there before the first connection is.
pub(crate) struct Wires {
    ends: RefCell<Vec<End>>,
    /// Shared, as a server's are.
    options: Rc<StreamOptions>,
    /// What an answer ends with.
    answer_ends: &'static [u8],
    /// Ends whose stream has closed.
    closed: Cell<usize>,
}

#[derive(Default)]
struct End {
    notifier: Option<Notifier>,
    /// On its way to the server.
    asks: &'static [u8],
    /// Writes that ended as an answer does.
    answers: u32,
    /// The server has ended its side; so this end has ended the other.
    is_over: bool,
    closed_at: Option<Instant>,
}

struct Wire {
    wires: Rc<Wires>,
    number: u32,
}

/// What a connection costs because it is one of these, and not a socket: the transport and the two pointers to it.
pub(crate) const BYTES_PER_WIRE: usize = size_of::<Wire>() + size_of::<Box<dyn Transport>>();

impl Wires {
    pub(crate) fn new(count: usize, answer_ends: &'static [u8]) -> Rc<Wires> {
        let ends = RefCell::new((0..count).map(|_| End::default()).collect());
        Rc::new(Wires { ends, options: Rc::default(), answer_ends, closed: Cell::new(0) })
    }

    /// A new connection in the place of one that has closed or never was, which has sent `asks` already.
    pub(crate) fn connect(self: &Rc<Wires>, number: usize, asks: &'static [u8]) -> IoStream {
        let end = std::mem::replace(&mut self.ends.borrow_mut()[number], End { asks, ..End::default() });
        self.closed.set(self.closed.get() - usize::from(end.closed_at.is_some()));
        let wire = Wire { wires: Rc::clone(self), number: number as u32 };
        IoStream::with_options(Box::new(wire), Rc::clone(&self.options)).unwrap()
    }

    pub(crate) fn send(&self, number: usize, asks: &'static [u8]) {
        let mut ends = self.ends.borrow_mut();
        let end = &mut ends[number];
        assert!(end.asks.is_empty() && end.closed_at.is_none(), "{number} is there and listens");
        end.asks = asks;
        end.notifier.as_ref().expect("a connection that idles").set_ready(Ready::READABLE);
    }

    pub(crate) fn answers(&self, number: usize) -> u32 {
        self.ends.borrow()[number].answers
    }

    pub(crate) fn closed_at(&self, number: usize) -> Option<Instant> {
        self.ends.borrow()[number].closed_at
    }

    pub(crate) fn closed(&self) -> usize {
        self.closed.get()
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        self.ends.borrow().capacity() * size_of::<End>()
    }

    fn end<R>(&self, number: u32, look: impl FnOnce(&mut End) -> R) -> R {
        look(&mut self.ends.borrow_mut()[number as usize])
    }
}

impl Transport for Wire {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        self.wires.end(self.number, |end| end.notifier = Some(registration.notifier()));
        registration.notifier().set_ready(Ready::WRITABLE);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wires.end(self.number, |end| {
            if end.asks.is_empty() && end.is_over {
                return Ok(0);
            }
            if end.asks.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let (read, left) = end.asks.split_at(end.asks.len().min(buffer.len()));
            buffer[..read.len()].copy_from_slice(read);
            end.asks = left;
            Ok(read.len())
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let is_answer = data.ends_with(self.wires.answer_ends);
        self.wires.end(self.number, |end| end.answers += u32::from(is_answer));
        Ok(data.len())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wires.end(self.number, |end| {
            end.is_over = true;
            if let Some(notifier) = &end.notifier {
                notifier.set_ready(Ready::READABLE | Ready::READ_CLOSED);
            }
        });
        Ok(())
    }

    fn short_read_means_drained(&self) -> bool {
        true
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.wires.closed.set(self.wires.closed.get() + 1);
        let now = IoLoop::try_current().map(|io_loop| io_loop.now());
        self.wires.end(self.number, |end| end.closed_at = now);
    }
}

/// The most that a loop has done from one look at its events to the next, since this began to look.
pub(crate) struct Longest(Rc<Cell<Counters>>);

impl Longest {
    pub(crate) fn watch(time: &VirtualLoop) -> Longest {
        let (most, before) = (Rc::new(Cell::new(Counters::default())), Cell::new(time.counters()));
        let seen = Rc::clone(&most);
        time.set_turn_hook(move |_| {
            let now = IoLoop::current().counters();
            let before = before.replace(now);
            let mut most = seen.get();
            most.task_polls = most.task_polls.max(now.task_polls - before.task_polls);
            most.timers_fired = most.timers_fired.max(now.timers_fired - before.timers_fired);
            seen.set(most);
        });
        Longest(most)
    }

    /// Polls of tasks, and timers that fired.
    pub(crate) fn turn(&self) -> (u64, u64) {
        let most = self.0.get();
        (most.task_polls, most.timers_fired)
    }
}
