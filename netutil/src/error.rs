//! Why a socket could not be bound: which address, which step, which error.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`bind_sockets`](crate::bind_sockets) or `bind_unix_socket` failed.
///
/// The message says everything, down to the words of the operating system, so that printing it is enough; the
/// [`io::Error`] is the [`source`](std::error::Error::source) as well. To tell "the port is taken" from the
/// rest, see [`kind`](Self::kind).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// SO_REUSEPORT was asked for on a system that has no such option.
    #[error("this system has no SO_REUSEPORT")]
    ReusePortUnsupported,

    /// The address could not be resolved.
    #[error("cannot resolve {}: {source}", Host(.address))]
    Resolve {
        /// The address as given in the options; empty means all interfaces.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },

    /// The address resolved, but nothing was left to bind: every result was one that this system cannot have.
    #[error("no address of {} can be bound here{}", Host(.address), Reason(.skipped))]
    NoAddress {
        /// The address as given in the options; empty means all interfaces.
        address: String,
        /// Why the last result was skipped, if binding it was tried: a [`BindError`] in an [`io::Error`].
        #[source]
        skipped: Option<io::Error>,
    },

    /// A system call for a TCP socket failed.
    #[error("{step} failed for {address}: {source}")]
    Socket {
        /// The address that was being bound. A port of 0 means that the kernel had not chosen one yet.
        address: SocketAddr,
        /// The step that failed.
        step: BindStep,
        /// What the system said.
        source: io::Error,
    },

    /// The path cannot be the address of a Unix socket.
    #[error("{path:?} cannot name a Unix socket: {reason}")]
    InvalidPath {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The mode has bits beyond `0o7777`.
    #[error("{mode:#o} is not a file mode")]
    InvalidMode {
        /// The mode as given.
        mode: u32,
    },

    /// A mode was chosen for an abstract name, which has no permissions: everybody in the network namespace
    /// may connect.
    #[error("{path:?} is an abstract name and cannot have a mode")]
    AbstractMode {
        /// The abstract name as given.
        path: PathBuf,
    },

    /// A live socket has this path; it was left alone.
    #[error("a live socket is bound to {path:?}")]
    LiveSocket {
        /// The path as given.
        path: PathBuf,
    },

    /// A file that is not a socket has this path; it was left alone.
    #[error("{path:?} exists and is not a socket")]
    NotASocket {
        /// The path as given.
        path: PathBuf,
    },

    /// A system call for a Unix socket failed.
    #[error("{step} failed for {path:?}: {source}")]
    Unix {
        /// The path as given.
        path: PathBuf,
        /// The step that failed.
        step: BindStep,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    /// The kind of error, as std names it. A taken port and a live Unix socket are both
    /// [`AddrInUse`](io::ErrorKind::AddrInUse).
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::ReusePortUnsupported => io::ErrorKind::Unsupported,
            Self::Resolve { source, .. } | Self::Socket { source, .. } | Self::Unix { source, .. } => {
                source.kind()
            }
            Self::NoAddress { .. } => io::ErrorKind::AddrNotAvailable,
            Self::InvalidPath { .. } | Self::InvalidMode { .. } | Self::AbstractMode { .. } => {
                io::ErrorKind::InvalidInput
            }
            Self::LiveSocket { .. } => io::ErrorKind::AddrInUse,
            Self::NotASocket { .. } => io::ErrorKind::AlreadyExists,
        }
    }
}

/// Keeps the kind and the message; the [`BindError`] is inside ([`io::Error::get_ref`]).
impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// The step at which binding failed. Its text is the name of the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindStep {
    /// Creating the socket.
    Socket,
    /// Making it nonblocking.
    Nonblocking,
    /// Setting SO_REUSEADDR.
    ReuseAddress,
    /// Setting SO_REUSEPORT.
    ReusePort,
    /// Setting IPV6_V6ONLY.
    V6Only,
    /// Looking at what has the path now.
    Stat,
    /// Connecting to the socket that has the path, to see whether it is alive.
    Probe,
    /// Removing the file of a socket that is not alive.
    Unlink,
    /// Binding the socket to its address.
    Bind,
    /// Asking which address the socket got.
    LocalAddress,
    /// Setting the mode of the socket file.
    Chmod,
    /// Starting to listen.
    Listen,
}

impl fmt::Display for BindStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Socket => "socket",
            Self::Nonblocking => "setting nonblocking mode",
            Self::ReuseAddress => "setsockopt(SO_REUSEADDR)",
            Self::ReusePort => "setsockopt(SO_REUSEPORT)",
            Self::V6Only => "setsockopt(IPV6_V6ONLY)",
            Self::Stat => "stat",
            Self::Probe => "probing connect",
            Self::Unlink => "unlink",
            Self::Bind => "bind",
            Self::LocalAddress => "getsockname",
            Self::Chmod => "chmod",
            Self::Listen => "listen",
        })
    }
}

/// An address as the options have it, for a message.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => formatter.write_str("all interfaces"),
            // Debug, because an address from a configuration file may hold anything.
            address => write!(formatter, "{address:?}"),
        }
    }
}

/// The end of a message, where there may be a reason.
struct Reason<'a>(&'a Option<io::Error>);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |reason| write!(formatter, ": {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn port_taken() -> BindError {
        let address = "[::1]:80".parse().expect("an address");
        BindError::Socket { address, step: BindStep::Bind, source: io::ErrorKind::AddrInUse.into() }
    }

    fn holds_bind_error(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<BindError>())
    }

    #[test]
    fn the_message_names_step_address_and_reason() {
        assert_eq!(port_taken().to_string(), "bind failed for [::1]:80: address in use");
        let unresolved =
            BindError::Resolve { address: String::new(), source: io::Error::other("no such thing") };
        assert_eq!(unresolved.to_string(), "cannot resolve all interfaces: no such thing");
        let skipped = BindError::NoAddress { address: "a\nb".into(), skipped: Some(port_taken().into()) };
        let expected = r#"no address of "a\nb" can be bound here: bind failed for [::1]:80: address in use"#;
        assert_eq!(skipped.to_string(), expected);
        let none_found = BindError::NoAddress { address: String::new(), skipped: None };
        assert_eq!(none_found.to_string(), "no address of all interfaces can be bound here");
    }

    #[test]
    fn the_io_error_is_the_source() {
        let error = port_taken();
        let source =
            error.source().and_then(|source| source.downcast_ref::<io::Error>()).expect("an io::Error");
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);

        let outer = BindError::NoAddress { address: "localhost".into(), skipped: Some(port_taken().into()) };
        let skipped =
            outer.source().and_then(|source| source.downcast_ref::<io::Error>()).expect("an io::Error");
        assert!(holds_bind_error(skipped));
    }

    #[test]
    fn as_an_io_error_it_keeps_kind_and_message() {
        let error = io::Error::from(port_taken());
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), port_taken().to_string());
        assert!(holds_bind_error(&error));
    }
}
