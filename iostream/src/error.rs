//! What a stream says when it cannot do what was asked, always with the cause.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why a stream operation failed.
///
/// Cheap to clone, because one cause may end several operations at once.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream is closed, or the peer has ended its side and what is buffered does not satisfy the read.
    /// Tornado's `StreamClosedError`, with its `real_error` inside (IO21, IO35).
    #[error("stream closed: {0}")]
    Closed(CloseReason),
    /// Another read is under way; a stream has one reader at a time (IO6).
    #[error("already reading")]
    AlreadyReading,
    /// What was asked for needs more room than `max_buffer_size`. The stream stays as it was.
    #[error("asked for {asked} bytes, but the read buffer holds at most {limit}")]
    ReadTooLarge {
        /// The bytes asked for.
        asked: usize,
        /// The stream's `max_buffer_size`.
        limit: usize,
    },
    /// The streams of this loop hold as much memory as they may, this one the most of those that would have more, and it
    /// has waited for as long as the [`MemoryBudget`](crate::MemoryBudget) has patience. The stream stays as it was: its peer
    /// can still be told.
    #[error("the streams of this loop hold as much memory as they may")]
    OverBudget,
    /// The delimiter was not found within the bytes allowed. The stream stays open and the bytes stay buffered,
    /// so that the caller can answer, skip or close (IO16).
    #[error("no delimiter within {max_bytes} bytes")]
    DelimiterNotFound {
        /// The limit of this read, delimiter included.
        max_bytes: usize,
    },
    /// An empty delimiter would match everywhere (IO14).
    #[error("the delimiter is empty")]
    EmptyDelimiter,
    /// The transport goes the other way only, as the writing end of a pipe does.
    #[error("this stream can only be written to")]
    NotReadable,
    /// The transport goes the other way only, as the reading end of a pipe does.
    #[error("this stream can only be read from")]
    NotWritable,
    /// TLS could not be begun. The stream stays as it was (IO49).
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

/// Why a stream closed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer has ended its side.
    #[error("end of stream")]
    EndOfStream,
    /// This side called `close`, or dropped the stream.
    #[error("closed by this side")]
    Local,
    /// More bytes arrived than `max_buffer_size` allows without satisfying the read (IO20).
    #[error("the read buffer reached its limit of {0} bytes")]
    ReadBufferFull(usize),
    /// [`read_until_or_close`](crate::IoStream::read_until_or_close) found no delimiter within so many bytes (IO16).
    #[error("no delimiter within {0} bytes")]
    DelimiterNotFound(usize),
    /// A write that found no room was given up, so what follows would leave a gap (IO32).
    #[error("a write was dropped while it waited for room")]
    WriteAbandoned,
    /// The stream was taken apart; its transport lives on ([`IoStream::detach`](crate::IoStream::detach)).
    #[error("taken apart")]
    Detached,
    /// The operating system or the transport failed; a reset is among these (IO39).
    #[error(transparent)]
    Io(#[from] Arc<io::Error>),
    /// TLS failed, or was cut off.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(crate::tls::TlsError),
}

impl CloseReason {
    /// What the error of a transport says.
    pub(crate) fn of(error: io::Error) -> CloseReason {
        #[cfg(feature = "tls")]
        let error = match error.downcast() {
            Ok(error) => return CloseReason::Tls(error),
            Err(error) => error,
        };
        CloseReason::Io(Arc::new(error))
    }

    /// Whether this error of a transport is what the peer itself has to say about the end: an alert of TLS.
    pub(crate) fn is_word_of_peer(error: &io::Error) -> bool {
        #[cfg(feature = "tls")]
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return matches!(error, crate::tls::TlsError::AlertReceived(_));
        }
        let _ = error;
        false
    }

    /// Whether the transport has failed, so that nothing more can be sent.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            CloseReason::Io(_) => true,
            #[cfg(feature = "tls")]
            CloseReason::Tls(_) => true,
            _ => false,
        }
    }
}

impl StreamError {
    pub(crate) fn end_of_stream() -> StreamError {
        StreamError::Closed(CloseReason::EndOfStream)
    }

    /// Whether the peer simply went away, which a server need not log: end of stream, reset, broken pipe, or a
    /// connection that timed out (IO39); with TLS also an end without a word (IO50).
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        match self {
            StreamError::Closed(CloseReason::EndOfStream) => true,
            #[cfg(feature = "tls")]
            StreamError::Closed(CloseReason::Tls(error)) => *error == crate::tls::TlsError::Truncated,
            StreamError::Closed(CloseReason::Io(error)) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
            ),
            _ => false,
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        let kind = match &error {
            StreamError::Closed(CloseReason::Io(cause)) => cause.kind(),
            StreamError::Closed(CloseReason::EndOfStream) => io::ErrorKind::UnexpectedEof,
            #[cfg(feature = "tls")]
            StreamError::Closed(CloseReason::Tls(error)) | StreamError::Tls(error) => error.kind(),
            StreamError::Closed(_) => io::ErrorKind::NotConnected,
            StreamError::ReadTooLarge { .. } | StreamError::EmptyDelimiter => io::ErrorKind::InvalidInput,
            StreamError::NotReadable | StreamError::NotWritable => io::ErrorKind::Unsupported,
            StreamError::AlreadyReading => io::ErrorKind::ResourceBusy,
            StreamError::DelimiterNotFound { .. } => io::ErrorKind::InvalidData,
            StreamError::OverBudget => io::ErrorKind::OutOfMemory,
        };
        io::Error::new(kind, error)
    }
}

/// A descriptor that no stream can be made of, found inside the `InvalidInput` of [`IoStream::new`](crate::IoStream::new).
#[cfg(all(unix, feature = "process"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a regular file is always ready and may block all the same: use it in `run_in_executor`, or behind a pipe"
)]
pub struct NotPollable;
