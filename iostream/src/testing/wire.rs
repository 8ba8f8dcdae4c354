//! The transport of a pair: two queues of bytes, and everything that can happen to them on the way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, Notifier, Ready, Registration};

use super::Calls;
use super::faults::Faults;
use super::pair::Side;
use crate::transport::Transport;

/// A storm is at most this long.
const STORM_CALLS: usize = 8;

/// One stream's transport.
pub(super) struct End {
    side: Side,
    state: Rc<RefCell<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    faults: Faults,
    /// By who writes.
    directions: [Direction; 2],
    /// By who owns it.
    ends: [EndState; 2],
    was_reset: bool,
}

/// From one side to the other.
///
/// ```text
///   read ◀── arrived ──┬── under way, part by part ◀── written
/// ```
#[derive(Debug, Default)]
struct Direction {
    bytes: VecDeque<u8>,
    arrived: usize,
    /// The parts that are still to arrive, one with each timer, so in order whichever fires first; an empty one is the end.
    under_way: VecDeque<usize>,
    written: u64,
    /// Nothing more will be written. The reader sees it behind everything that was.
    ended: bool,
    reader_gone: bool,
}

impl Direction {
    fn end_arrived(&self) -> bool {
        self.ended && self.under_way.is_empty()
    }
}

#[derive(Default)]
struct EndState {
    notifier: Option<Notifier>,
    calls: Calls,
    /// Calls that are still to find nothing, whatever there is: reads and writes.
    storm: [usize; 2],
}

impl std::fmt::Debug for EndState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndState")
            .field("calls", &self.calls)
            .field("storm", &self.storm)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(faults: Faults) -> Rc<RefCell<State>> {
        let mut state =
            State { faults, directions: Default::default(), ends: Default::default(), was_reset: false };
        state.break_where_due(Side::Left);
        state.break_where_due(Side::Right);
        Rc::new(RefCell::new(state))
    }

    pub(super) fn calls(&self, side: Side) -> Calls {
        self.ends[side as usize].calls
    }

    pub(super) fn in_flight(&self, side: Side) -> usize {
        self.directions[side as usize].bytes.len()
    }

    pub(super) fn reset_now(&mut self) {
        for direction in &mut self.directions {
            direction.bytes.clear();
            direction.under_way.clear();
            direction.arrived = 0;
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.was_reset = true;
        self.notify(Side::Left);
        self.notify(Side::Right);
    }

    /// Tells the stream on `side` of everything that is so: once too often is allowed to any poller.
    fn notify(&self, side: Side) {
        let (outgoing, incoming) = (&self.directions[side as usize], &self.directions[side.other() as usize]);
        let mut ready = Ready::EMPTY;
        if incoming.arrived > 0 {
            ready |= Ready::READABLE;
        }
        if incoming.end_arrived() {
            ready |= Ready::READABLE | Ready::READ_CLOSED;
        }
        if outgoing.bytes.len() < self.faults.capacity {
            ready |= Ready::WRITABLE;
        }
        if outgoing.reader_gone {
            ready |= Ready::WRITABLE | Ready::WRITE_CLOSED;
        }
        if self.was_reset {
            ready |=
                Ready::READABLE | Ready::WRITABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR;
        }
        if let Some(notifier) = &self.ends[side as usize].notifier {
            notifier.set_ready(ready);
        }
    }

    /// Whether a call that could succeed shall not; then an event follows.
    fn is_storm(&mut self, side: Side, writes: bool) -> bool {
        let Some(one_in) = self.faults.storms else { return false };
        let random = &mut self.faults.random;
        let left = &mut self.ends[side as usize].storm[usize::from(writes)];
        match *left {
            0 if !random.one_in(one_in) => return false,
            0 => *left = random.below(STORM_CALLS),
            _ => *left -= 1,
        }
        self.notify(side);
        true
    }

    fn read(&mut self, side: Side, buffer: &mut [u8]) -> io::Result<usize> {
        self.ends[side as usize].calls.reads += 1;
        let incoming = &self.directions[side.other() as usize];
        if incoming.arrived == 0 && incoming.under_way.is_empty() {
            if self.was_reset {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if incoming.end_arrived() {
                return Ok(0);
            }
        }
        if incoming.arrived == 0 || self.is_storm(side, false) {
            self.ends[side as usize].calls.reads_blocked += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let incoming = &mut self.directions[side.other() as usize];
        let most = self.faults.largest_read.map_or(usize::MAX, |most| self.faults.random.up_to(most));
        let n = incoming.arrived.min(buffer.len()).min(most);
        let was_full = incoming.bytes.len() >= self.faults.capacity;
        for (to, byte) in buffer.iter_mut().zip(incoming.bytes.drain(..n)) {
            *to = byte;
        }
        incoming.arrived -= n;
        if was_full {
            self.notify(side.other());
        }
        Ok(n)
    }

    fn write(&mut self, side: Side, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.ends[side as usize].calls.writes += 1;
        if self.was_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let outgoing = &self.directions[side as usize];
        if outgoing.reader_gone || outgoing.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = self.faults.capacity.saturating_sub(outgoing.bytes.len());
        if room == 0 || self.is_storm(side, true) {
            self.ends[side as usize].calls.writes_blocked += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = self.faults.largest_write.map_or(usize::MAX, |most| self.faults.random.up_to(most));
        let mut left = room.min(most).min(self.left_until_break(side));
        let outgoing = &mut self.directions[side as usize];
        let before = outgoing.bytes.len();
        for slice in slices {
            let n = slice.len().min(left);
            outgoing.bytes.extend(&slice[..n]);
            left -= n;
        }
        let n = outgoing.bytes.len() - before;
        outgoing.written += n as u64;
        Ok(n)
    }

    /// Has the next part of what `from` has written arrive.
    fn next_arrives(&mut self, from: Side) {
        if let Some(n) = self.directions[from as usize].under_way.pop_front() {
            self.arrive(from, n);
        }
    }

    fn arrive(&mut self, from: Side, n: usize) {
        self.directions[from as usize].arrived += n;
        self.notify(from.other());
    }

    /// Bytes that `side` may still write before the connection breaks.
    fn left_until_break(&self, side: Side) -> usize {
        let written = self.directions[side as usize].written;
        let faults = [self.faults.end_after[side as usize], self.faults.reset_after[side as usize]];
        let first = faults.into_iter().flatten().min().unwrap_or(u64::MAX);
        usize::try_from(first - written).unwrap_or(usize::MAX)
    }

    /// Ends or resets what `side` has written, if it has come that far.
    fn break_where_due(&mut self, side: Side) {
        let written = Some(self.directions[side as usize].written);
        if self.faults.end_after[side as usize] == written {
            self.directions[side as usize].ended = true;
            self.notify(side.other());
        }
        if self.faults.reset_after[side as usize] == written {
            self.reset();
        }
    }
}

impl End {
    pub(super) fn new(side: Side, state: &Rc<RefCell<State>>) -> End {
        End { side, state: Rc::clone(state) }
    }

    /// Sends `n` bytes that were just written on their way, or the end.
    fn dispatch(&self, n: usize) {
        let (side, mut state) = (self.side, self.state.borrow_mut());
        let most = state.faults.delay.as_micros() as usize;
        let io_loop = if most == 0 { None } else { IoLoop::try_current() };
        let Some(io_loop) = io_loop else { return state.arrive(side, n) };
        let delay = Duration::from_micros(state.faults.random.below(most + 1) as u64);
        state.directions[side as usize].under_way.push_back(n);
        drop(state);
        let state = Rc::downgrade(&self.state);
        io_loop.call_later(delay, move || {
            if let Some(state) = state.upgrade() {
                state.borrow_mut().next_arrives(side);
            }
        });
    }
}

impl Transport for End {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let end = &mut state.ends[self.side as usize];
        end.calls.attaches += 1;
        end.notifier = Some(registration.notifier());
        state.notify(self.side);
        Ok(())
    }

    fn detach(&mut self, _registration: &Registration) -> io::Result<()> {
        self.state.borrow_mut().ends[self.side as usize].notifier = None;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state.borrow_mut().read(self.side, buffer)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = self.state.borrow_mut().write(self.side, slices)?;
        self.dispatch(n);
        self.state.borrow_mut().break_where_due(self.side);
        Ok(n)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.state.borrow_mut().directions[self.side as usize].ended = true;
        self.dispatch(0);
        Ok(())
    }

    fn short_read_means_drained(&self) -> bool {
        self.state.borrow().faults.largest_read.is_none()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        let incoming = &mut state.directions[self.side.other() as usize];
        incoming.reader_gone = true;
        incoming.bytes.clear();
        incoming.under_way.clear();
        incoming.arrived = 0;
        state.notify(self.side.other());
        let already = std::mem::replace(&mut state.directions[self.side as usize].ended, true);
        drop(state);
        if !already {
            self.dispatch(0);
        }
    }
}
