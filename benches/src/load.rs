//! The load generator: keeps a set of connections busy from one thread, with less work per request than a server has.
//!
//! Closed loop: each connection sends a batch (one request, or `depth` of them pipelined), waits for all its answers,
//! and sends the next. [`Load::run`] begins and ends with no request under way, so that a server's CPU time read
//! before and after it belongs to exactly the answers counted in between.
//!
//! Cost per batch: one recv into a buffer shared by all connections, one send of a slice made once, one clock
//! reading. Everything is bounded: a run that stalls for [`STALL`] or is interrupted ends with an error.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use crate::answer::{AnswerError, Shape};
use crate::connection::Connection;

/// A run in which no answer arrives for this long is given up.
pub const STALL: Duration = Duration::from_secs(10);
/// Large enough that a 1 MiB answer costs few reads, small enough to stay in the cache.
const BUFFER_BYTES: usize = 256 * 1024;
/// Connections opened at once, so that a listen backlog of 128 never overflows (a dropped SYN costs a second).
const OPENING: usize = 64;
/// A server that drops this many connections is not worth timing.
pub const MAX_ERRORS: u64 = 1_000;
const EVENTS: usize = 1024;

/// What is sent on each connection, again and again.
#[derive(Clone, Debug)]
pub struct Wanted {
    batch: Vec<u8>,
    depth: u32,
    answer: Answer,
    over_tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Http,
    HttpThenClose,
    Echo,
}

impl Wanted {
    /// `depth` HTTP requests at a time on kept-alive connections. A depth of 0 counts as 1.
    pub fn http(request: &[u8], depth: u32) -> Wanted {
        Wanted::batches(request, depth, Answer::Http)
    }

    /// One HTTP request per connection: the server closes after its answer, and the next request opens anew.
    pub fn http_then_close(request: &[u8]) -> Wanted {
        Wanted::batches(request, 1, Answer::HttpThenClose)
    }

    /// `depth` lines at a time, each to come back as it is.
    pub fn echo(line: &[u8], depth: u32) -> Wanted {
        Wanted::batches(line, depth, Answer::Echo)
    }

    /// The same over TLS: see [`Over::Tls`](crate::scenario::Over).
    #[must_use]
    pub fn over_tls(self) -> Wanted {
        Wanted { over_tls: true, ..self }
    }

    fn batches(one: &[u8], depth: u32, answer: Answer) -> Wanted {
        let depth = depth.max(1);
        Wanted { batch: one.repeat(depth as usize), depth, answer, over_tls: false }
    }

    pub(crate) fn batch(&self) -> &[u8] {
        &self.batch
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn kept_alive(&self) -> bool {
        self.answer != Answer::HttpThenClose
    }

    pub(crate) fn is_over_tls(&self) -> bool {
        self.over_tls
    }

    pub(crate) fn is_echo(&self) -> bool {
        self.answer == Answer::Echo
    }
}

/// When a run stops starting new batches.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many requests (rounded up to whole batches).
    Requests(u64),
}

/// What one run counted.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Whole answers with status 200, or echoed lines.
    pub answers: u64,
    /// Whole answers with another status.
    pub refused: u64,
    /// Connections that broke, or that the server closed although they were to be kept.
    pub errors: u64,
    /// What the answers' bodies add up to (framing not counted).
    pub body_bytes: u64,
    /// From the first byte sent to the last one received.
    pub elapsed: Duration,
    /// Nanoseconds from sending a batch (open loop: from when it was due) to its last answer.
    pub latency: Histogram<u64>,
}

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A socket operation failed.
    #[error("load: {0}")]
    Io(#[from] io::Error),
    /// The server answers something that is no HTTP.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The server answers more than it was asked.
    #[error("more answers than requests")]
    TooManyAnswers,
    /// A line came back changed.
    #[error("the echo differs from what was sent")]
    WrongEcho,
    /// No answer for [`STALL`].
    #[error("no answer for {STALL:?} on {0} connections")]
    Stalled(usize),
    /// Nobody listens there, or not for this.
    #[error("no connection gets an answer")]
    NoAnswer,
    /// The server keeps dropping connections.
    #[error("more than {MAX_ERRORS} connections broke")]
    TooManyErrors,
    /// The histogram could not be made.
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Somebody asked the program to end.
    #[error("interrupted")]
    Interrupted,
}

/// A set of open connections to one server, and the loop that drives them.
#[derive(Debug)]
pub struct Load {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) address: SocketAddr,
    pub(crate) wanted: Wanted,
    pub(crate) connections: Vec<Connection>,
    pub(crate) shape: Option<Shape>,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Load {
    /// Opens the connections and has one batch answered on each, so that what follows is the steady state.
    ///
    /// `interrupted` is looked at once a turn; when it is set, every run ends with [`LoadError::Interrupted`].
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn open(
        address: SocketAddr,
        connections: usize,
        wanted: Wanted,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Load, LoadError> {
        let mut load = Load {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            address,
            wanted,
            connections: Vec::with_capacity(connections),
            shape: None,
            buffer: vec![0; BUFFER_BYTES].into(),
            interrupted,
        };
        while load.connections.len() < connections {
            let first = load.connections.len();
            for index in first..connections.min(first + OPENING) {
                let connection = Connection::open(address, load.poll.registry(), Token(index), &load.wanted)?;
                load.connections.push(connection);
            }
            let opened = load.drive(first, Until::Requests(0))?;
            if opened.answers + opened.refused == 0 {
                return Err(LoadError::NoAnswer);
            }
        }
        Ok(load)
    }

    /// Keeps all connections busy until `until` (each gets at least one batch), then waits for what is outstanding.
    ///
    /// # Errors
    /// When the server stalls, answers nonsense or keeps breaking connections, or the run is interrupted.
    pub fn run(&mut self, until: Until) -> Result<Measured, LoadError> {
        self.drive(0, until)
    }

    /// Sends requests at a fixed rate for this long, whatever the answers do, then waits for what is outstanding.
    ///
    /// A request that is due while every connection is busy waits, and its latency counts from when it was due:
    /// a server that stops for a moment pays for every request of that moment. Spins, for the sake of exact times.
    /// A rate that is not above 0 sends nothing.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn run_at_rate(&mut self, per_second: f64, duration: Duration) -> Result<Measured, LoadError> {
        self.drive_at_rate(per_second, duration)
    }
}
