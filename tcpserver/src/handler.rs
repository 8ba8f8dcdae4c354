//! What a protocol author writes: a function from a stream to a future.
//! Step 2 of path 2 through the house (see ARCHITECTURE.md).

use std::fmt;
use std::future::Future;

use iostream::IoStream;

use crate::context::ConnectionContext;

/// Serves one connection: Tornado's `handle_stream`.
///
/// Functions and closures `Fn(IoStream, ConnectionContext) -> impl Future` implement it; a type implements it to keep
/// state of its own. The future runs as one task on the loop that accepted the connection. When it ends, the stream
/// is closed, after what was written has been sent (TS9); so is that of a future that failed or panicked, at once.
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

/// How serving a connection ended: `()`, or a result whose error is worth a line in the log.
pub trait Outcome: sealed::Sealed {
    /// The error to log, in words; `None` if all went well, or if the peer simply went away.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display + 'static> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        let error = self.err()?;
        let stream_error = (&error as &dyn std::any::Any).downcast_ref::<iostream::StreamError>();
        let went_away = stream_error.is_some_and(iostream::StreamError::is_disconnect);
        (!went_away).then(|| error.to_string())
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}
