//! What a protocol author writes: a function from a stream to a future.
//! Step 2 of path 2 through the house (see ARCHITECTURE.md).

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;

use iostream::{CloseReason, IoStream, StreamError};

use crate::context::ConnectionContext;

/// Serves one connection: Tornado's `handle_stream`.
///
/// Functions and closures `Fn(IoStream, ConnectionContext) -> impl Future` implement it; a type implements it to keep
/// state of its own. The future runs as one task on the loop that accepted the connection, and is the connection's
/// life: when it ends, well or with an error, the stream is closed, whoever else holds a clone of it (TS9). What was
/// written is sent first, and input that the handler has left unread is read and dropped, so that no reset overtakes
/// the last answer; [`TcpServer::linger`](crate::TcpServer::linger) bounds the wait. After a panic the stream is
/// closed at once.
///
/// An error is logged, unless it says that the peer simply went away (TS8), or that this side has closed the stream: a drain whose
/// grace is over, [`abort`](crate::TcpServer::abort), or whoever else called [`close`](IoStream::close).
///
/// ```
/// use iostream::{IoStream, StreamError};
/// use tcpserver::{ConnectionContext, TcpServer};
///
/// async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
///     loop {
///         let line = stream.read_until_max(b"\n", 8192).await?;
///         stream.write(line).await?;
///     }
/// }
///
/// let server = TcpServer::new(echo);
/// # let _ = server;
/// ```
#[doc(alias = "handle_stream")]
pub trait HandleStream: 'static {
    /// Serves the connection until it is done with it.
    fn handle_stream(
        &self,
        stream: IoStream,
        context: ConnectionContext,
    ) -> impl Future<Output: Outcome> + 'static;

    /// Gives back memory that is kept for the next connections, as after a crowd it lies where the crowd's was. Called on the
    /// server's loop when most of a crowd has left and nobody else has for half a second. Does nothing by default.
    fn release_memory(&self) {}
}

impl<F, Fut> HandleStream for F
where
    F: Fn(IoStream, ConnectionContext) -> Fut + 'static,
    Fut: Future<Output: Outcome> + 'static,
{
    fn handle_stream(
        &self,
        stream: IoStream,
        context: ConnectionContext,
    ) -> impl Future<Output: Outcome> + 'static {
        self(stream, context)
    }
}

/// A handler without its type, which [`Entrance::handler`](crate::entrance::Entrance::handler) knows again, and as far as a server
/// calls it when there is no connection to serve.
pub(crate) trait AnyHandler: Any {
    fn release(&self);
}

impl<H: HandleStream> AnyHandler for H {
    fn release(&self) {
        self.release_memory();
    }
}

/// How serving a connection ended: `()`, or a result whose error is worth a line in the log.
///
/// The error may be anything that `?` turns into a `Box<dyn Error>`: an error type of your own, `StreamError`,
/// `io::Error`, a text, the box itself.
pub trait Outcome: sealed::Sealed {
    /// What to log; `None` if all went well, or if the peer simply went away.
    fn failure(self) -> Option<Failure>;
}

impl Outcome for () {
    fn failure(self) -> Option<Failure> {
        None
    }
}

impl<E: Into<Box<dyn Error>> + 'static> Outcome for Result<(), E> {
    fn failure(self) -> Option<Failure> {
        let error = self.err()?;
        // The usual end of a connection makes no box.
        if (&error as &dyn Any).downcast_ref().is_some_and(StreamError::is_disconnect) {
            return None;
        }
        let error = error.into();
        let (is_timeout, met) = (is_timeout(&*error), stream_error_behind(&*error));
        if met.is_some_and(StreamError::is_disconnect) {
            return None;
        }
        let says_closed = matches!(met, Some(StreamError::Closed(CloseReason::Local)));
        Some(Failure { words: error.to_string(), is_timeout, says_closed })
    }
}

/// Why serving a connection failed, in words: those of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    words: String,
    is_timeout: bool,
    says_closed: bool,
}

impl Failure {
    /// Whether time ran out: [`ioloop::TimedOut`], or an [`io::Error`] of that kind, is the error or lies behind it, as far
    /// as it shows its sources. A connection that the operating system gave up is a peer that went away, and no failure.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.is_timeout
    }

    /// Whether it is what a handler meets whose stream this side has closed, or has ended its side of.
    pub(crate) fn says_closed(&self) -> bool {
        self.says_closed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What a stream said that lies behind `error`, as far as it shows its sources.
fn stream_error_behind<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e StreamError> {
    let stream_error = match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        None => error.downcast_ref(),
    };
    stream_error.or_else(|| error.source().and_then(stream_error_behind))
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let is_kind = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    error.is::<ioloop::TimedOut>()
        || error.downcast_ref().is_some_and(is_kind)
        || error.source().is_some_and(is_timeout)
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}
