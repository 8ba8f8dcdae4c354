//! Why there is no connection, with every address that was tried.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use netutil::{Family, ResolveError};
use thiserror::Error;

#[cfg(feature = "tls")]
use crate::error::StreamError;

/// A host in an error is cut at this many characters: it may come from a peer and be of any length.
const SHOWN_HOST_CHARS: usize = 255;

/// Why [`TcpClient::connect`](crate::TcpClient::connect) gave no stream. Becomes an [`io::Error`] with `?`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Two options contradict each other, or one is out of range. Nothing was tried.
    #[error("{0}")]
    InvalidOption(&'static str),
    /// The host has no address to try.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address could be connected to. The source is the last failure (TC6).
    #[error("no connection to {host:?} (port {port}) after {} failed attempts, the last: {last}", earlier.len() + 1)]
    AllFailed {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The attempts that failed before the last, in the order in which they did.
        earlier: Vec<FailedAttempt>,
        /// The one that failed last.
        #[source]
        last: FailedAttempt,
    },
    /// The time allowed was over first. The sockets of `pending` are closed.
    #[error(
        "no connection to {host:?} (port {port}) within {limit:?}, while {step}; {} attempts failed, {} were under way",
        failed.len(), pending.len()
    )]
    TimedOut {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The time that was allowed.
        limit: Duration,
        /// What was being done.
        step: ConnectStep,
        /// The attempts that had failed by then, in the order in which they did.
        failed: Vec<FailedAttempt>,
        /// The addresses that had not answered, in the order in which they were tried.
        pending: Vec<SocketAddr>,
    },
    /// A connection stood, but not TLS on it: the name is none that a certificate could be for, or the handshake failed.
    /// The connection is closed.
    #[cfg(feature = "tls")]
    #[error("no TLS with {host:?} (port {port}): {error}")]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What failed, a [`TlsError`](crate::tls::TlsError) as a rule.
        #[source]
        error: StreamError,
    },
}

/// What became of one address.
#[derive(Debug, Error)]
#[error("{address}, {step}: {error}")]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The address.
    pub address: SocketAddr,
    /// What failed: [`Bind`](ConnectStep::Bind) or [`Connect`](ConnectStep::Connect).
    pub step: ConnectStep,
    /// What the operating system said.
    #[source]
    pub error: io::Error,
}

/// The steps to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStep {
    /// The name is looked up.
    Resolve,
    /// A socket is made and bound to the source address that was asked for.
    Bind,
    /// The address is connected to.
    Connect,
    /// The connection stands, and TLS begins on it.
    #[cfg(feature = "tls")]
    Handshake,
}

impl std::fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ConnectStep::Resolve => "looking it up",
            ConnectStep::Bind => "binding the source address",
            ConnectStep::Connect => "connecting",
            #[cfg(feature = "tls")]
            ConnectStep::Handshake => "beginning TLS",
        })
    }
}

impl ConnectError {
    /// The kind of error, as std names it: that of the last attempt where all have failed.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            ConnectError::InvalidOption(_) => io::ErrorKind::InvalidInput,
            ConnectError::Resolve(error) => error.kind(),
            ConnectError::AllFailed { last, .. } => last.error.kind(),
            ConnectError::TimedOut { .. } => io::ErrorKind::TimedOut,
            #[cfg(feature = "tls")]
            ConnectError::Tls { error, .. } => io::Error::from(error.clone()).kind(),
        }
    }
}

/// Keeps the kind and the message; the [`ConnectError`] is inside ([`io::Error::get_ref`]).
impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

/// What was asked for, to be named in an error.
pub(super) struct Question<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) family: Family,
    pub(super) limit: Option<Duration>,
}

impl Question<'_> {
    pub(super) fn all_failed(&self, mut failed: Vec<FailedAttempt>) -> ConnectError {
        match failed.pop() {
            Some(last) => {
                let (host, port) = (self.shown_host(), self.port);
                ConnectError::AllFailed { host, port, earlier: failed, last }
            }
            None => ResolveError::no_address(self.host, self.port, self.family).into(),
        }
    }

    pub(super) fn timed_out(
        &self,
        step: ConnectStep,
        failed: Vec<FailedAttempt>,
        pending: Vec<SocketAddr>,
    ) -> ConnectError {
        let limit = self.limit.unwrap_or(Duration::MAX);
        ConnectError::TimedOut { host: self.shown_host(), port: self.port, limit, step, failed, pending }
    }

    #[cfg(feature = "tls")]
    pub(super) fn no_tls(&self, error: StreamError) -> ConnectError {
        ConnectError::Tls { host: self.shown_host(), port: self.port, error }
    }

    fn shown_host(&self) -> String {
        self.host.chars().take(SHOWN_HOST_CHARS).collect()
    }
}
