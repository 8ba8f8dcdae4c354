//! What a server counts, as plain numbers: to be read, added up over loops, and sent elsewhere.

use std::cell::RefCell;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::rc::Rc;

/// What a server has done up to now: [`TcpServer::metrics`](crate::TcpServer::metrics). All but
/// [`active`](Metrics::active) only ever grow.
///
/// A server lives on one loop, so these are the numbers of that loop; they are plain data that go to another thread, and
/// `+` or `sum` makes those of several loops one.
///
/// Every connection that was accepted is in exactly one place: `accepted` if it was let in (and in `active` while
/// it is open), `shed` if it was closed at the door. One whose PROXY protocol header or TLS handshake
/// comes to nothing was let in; one that is shed when such a header has said who its client is, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that are open now, those that are about to end in good order included.
    pub active: u64,
    /// Connections that were closed at the door, by reason.
    pub shed: Shed,
    /// Times that the server became full and stopped accepting for it: see [`WhenFull::Wait`](crate::WhenFull::Wait).
    pub paused: u64,
    /// Attempts to accept that failed for want of descriptors or memory; after each there is a pause.
    pub accept_failures: u64,
    /// Times that a listener was looked at for nothing: another loop was faster, or a timer had it looked at. Many of them are what
    /// several loops at one listener cost: see [`AcceptStrategy`](crate::AcceptStrategy).
    pub wakes_in_vain: u64,
    /// What did not end in its time, by phase.
    pub timed_out: Timeouts,
    /// Bytes received, on connections open and ended; with TLS those of the conversation.
    pub bytes_received: u64,
    /// Bytes sent, likewise.
    pub bytes_sent: u64,
    /// Connections that were closed for their PROXY protocol header: it was missing, malformed, too long, late, or from somebody
    /// who may not send one.
    pub proxy_failures: u64,
    /// TLS handshakes that failed because of what the peer sent, or did not have.
    pub handshake_errors: u64,
    /// Handlers that ended with an error: neither because the peer went away, nor because this side had closed the stream, nor because
    /// time ran out.
    pub handler_errors: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
}

/// Connections closed at the door: see [`Metrics::shed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shed {
    /// The server was full: [`TcpServer::max_connections`](crate::TcpServer::max_connections), with
    /// [`WhenFull::Close`](crate::WhenFull::Close).
    pub max_connections: u64,
    /// So many came from there already:
    /// [`TcpServer::max_connections_per_ip`](crate::TcpServer::max_connections_per_ip).
    pub per_ip: u64,
    /// There was no descriptor for it but the one in reserve, with [`WhenFull::Close`](crate::WhenFull::Close).
    pub descriptors: u64,
    /// Its TLS handshake had lasted too long while others waited: see `TcpServer::max_handshakes`. Such a connection was let in, and
    /// is counted there too.
    pub handshakes: u64,
    /// It was idle and did not take what it had been sent, when the loop's [`MemoryBudget`](iostream::MemoryBudget) was exhausted. Such a
    /// connection was let in, and is counted there too.
    pub memory: u64,
    /// It was told to leave for newcomers, because it idled longest: see [`WhenFull`](crate::WhenFull). Such a connection was let in, and is
    /// counted there too; one that asked for something in that moment is counted, and stays.
    pub idle: u64,
}

/// What did not end in its time: see [`Metrics::timed_out`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// PROXY protocol headers: see [`ProxyProtocol::timeout`](crate::ProxyProtocol::timeout).
    pub proxy_header: u64,
    /// TLS handshakes, the wait for their turn included.
    pub handshake: u64,
    /// Handlers that ended with a timeout as their error: [`ioloop::TimedOut`], or an [`io::Error`](std::io::Error) of that kind.
    pub handler: u64,
    /// Connections that were not done with sending, or with hearing the peer out, within
    /// [`TcpServer::linger`](crate::TcpServer::linger).
    pub closing: u64,
}

/// The metrics while they grow, shared by all that count for one server. What is open is looked up when somebody asks.
#[derive(Clone, Default)]
pub(crate) struct Tally(Rc<RefCell<Metrics>>);

impl Tally {
    pub(crate) fn count<R>(&self, counting: impl FnOnce(&mut Metrics) -> R) -> R {
        counting(&mut self.0.borrow_mut())
    }

    pub(crate) fn metrics(&self) -> Metrics {
        *self.0.borrow()
    }
}

impl Shed {
    /// All of them, whatever the reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.max_connections + self.per_ip + self.descriptors + self.handshakes + self.memory + self.idle
    }
}

// Taken apart in full, so that a counter which is added is not forgotten here.
impl AddAssign for Metrics {
    fn add_assign(&mut self, other: Metrics) {
        let Metrics {
            accepted,
            active,
            shed,
            paused,
            accept_failures,
            wakes_in_vain,
            timed_out,
            bytes_received,
            bytes_sent,
            proxy_failures,
            handshake_errors,
            handler_errors,
            handler_panics,
        } = other;
        self.accepted += accepted;
        self.active += active;
        self.shed += shed;
        self.paused += paused;
        self.accept_failures += accept_failures;
        self.wakes_in_vain += wakes_in_vain;
        self.timed_out += timed_out;
        self.bytes_received += bytes_received;
        self.bytes_sent += bytes_sent;
        self.proxy_failures += proxy_failures;
        self.handshake_errors += handshake_errors;
        self.handler_errors += handler_errors;
        self.handler_panics += handler_panics;
    }
}

impl AddAssign for Shed {
    fn add_assign(&mut self, other: Shed) {
        let Shed { max_connections, per_ip, descriptors, handshakes, memory, idle } = other;
        self.max_connections += max_connections;
        self.per_ip += per_ip;
        self.descriptors += descriptors;
        self.handshakes += handshakes;
        self.memory += memory;
        self.idle += idle;
    }
}

impl AddAssign for Timeouts {
    fn add_assign(&mut self, other: Timeouts) {
        let Timeouts { proxy_header, handshake, handler, closing } = other;
        self.proxy_header += proxy_header;
        self.handshake += handshake;
        self.handler += handler;
        self.closing += closing;
    }
}

impl Add for Metrics {
    type Output = Metrics;

    fn add(mut self, other: Metrics) -> Metrics {
        self += other;
        self
    }
}

impl Sum for Metrics {
    fn sum<I: Iterator<Item = Metrics>>(all: I) -> Metrics {
        all.fold(Metrics::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts12_the_metrics_of_several_loops_add_up_counter_by_counter_and_may_change_threads() {
        fn plain_data<T: Send + Sync + Copy + 'static>(_: &T) {}
        let one = Metrics {
            accepted: 1,
            active: 2,
            shed: Shed {
                max_connections: 3,
                per_ip: 4,
                descriptors: 5,
                handshakes: 14,
                memory: 20,
                idle: 21,
            },
            paused: 6,
            accept_failures: 7,
            wakes_in_vain: 19,
            timed_out: Timeouts { proxy_header: 17, handshake: 15, handler: 8, closing: 9 },
            bytes_received: 10,
            bytes_sent: 11,
            proxy_failures: 18,
            handshake_errors: 16,
            handler_errors: 12,
            handler_panics: 13,
        };
        plain_data(&one);
        let three = Metrics {
            accepted: 3,
            active: 6,
            shed: Shed {
                max_connections: 9,
                per_ip: 12,
                descriptors: 15,
                handshakes: 42,
                memory: 60,
                idle: 63,
            },
            paused: 18,
            accept_failures: 21,
            wakes_in_vain: 57,
            timed_out: Timeouts { proxy_header: 51, handshake: 45, handler: 24, closing: 27 },
            bytes_received: 30,
            bytes_sent: 33,
            proxy_failures: 54,
            handshake_errors: 48,
            handler_errors: 36,
            handler_panics: 39,
        };
        assert_eq!([one, one, one].into_iter().sum::<Metrics>(), three);
        assert_eq!(three.shed.total(), 201);
    }
}
