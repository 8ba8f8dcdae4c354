//! Sockets that systemd has opened for us, or the process before this one.

#[cfg(target_os = "linux")]
mod handed_over;
#[cfg(target_os = "linux")]
mod passed;

use std::io;
use std::net::TcpListener;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::{mem, slice, vec};

/// The variables by which systemd says what it passes.
///
/// They stay in the environment: taking them out is not safe once there are threads. That is harmless for
/// child processes, since `LISTEN_PID` names us and not them. Only a program that *replaces* this one (`exec`)
/// has our PID too; remove them there, with [`Command::env_remove`](std::process::Command::env_remove).
pub const ACTIVATION_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// Takes the sockets that systemd has opened for this process (socket activation), or that the process before it hands over
/// ([`Handover`](crate::Handover)).
///
/// With them a service needs no rights to bind its port, may start when somebody first connects, and loses
/// no connection while it restarts. A socket has the name that its unit gives it (`FileDescriptorName=`,
/// otherwise the unit's own name), and several sockets may share one.
///
/// Empty when the process was not started either way, which is no error: then bind. A program that serves says so by
/// [`ready`](ActivatedSockets::ready).
///
/// ```
/// use netutil::{BindOptions, activated_sockets, bind_sockets};
///
/// let mut activated = activated_sockets()?;
/// let mut listeners = activated.take_tcp("http")?;
/// if listeners.is_empty() {
///     listeners = bind_sockets(0, &BindOptions::new())?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Every descriptor is made close-on-exec, every listener nonblocking. How they are bound is the unit's
/// affair: with `ListenStream=80` alone, one socket takes IPv4 and IPv6 both.
///
/// Call it once and early. The descriptors are taken by the first call that finds some. It trusts the
/// environment as far as it must, and checks what it can: a descriptor that is not open, or that is
/// close-on-exec already, was not passed to us but belongs to some other part of the program.
///
/// The protocol is that of sd_listen_fds(3). Elsewhere than on Linux the result is always empty.
///
/// # Errors
///
/// - [`Variable`](ActivationError::Variable), [`TooMany`](ActivationError::TooMany): the environment is
///   malformed. Nothing was touched.
/// - [`AlreadyTaken`](ActivationError::AlreadyTaken): there were sockets, and an earlier call has taken them.
/// - [`NotPassed`](ActivationError::NotPassed): the environment names a descriptor that was not passed. Those
///   that were are closed.
/// - [`System`](ActivationError::System), [`Handover`](ActivationError::Handover): a system call failed. All of them are closed.
#[doc(alias = "sd_listen_fds")]
#[doc(alias = "LISTEN_FDS")]
pub fn activated_sockets() -> Result<ActivatedSockets, ActivationError> {
    #[cfg(target_os = "linux")]
    return passed::take();
    #[cfg(not(target_os = "linux"))]
    Ok(ActivatedSockets::default())
}

/// What [`activated_sockets`] found, in the order of the descriptors.
///
/// Take what the program knows by name, then look at the rest by iterating: a socket that nobody takes closes
/// when this is dropped, and a configuration that passes it may deserve an error.
#[derive(Debug, Default)]
pub struct ActivatedSockets {
    sockets: Vec<ActivatedSocket>,
    #[cfg(target_os = "linux")]
    predecessor: Option<handed_over::Predecessor>,
}

impl ActivatedSockets {
    /// Takes the TCP listeners of that name; none if there is no such name.
    ///
    /// # Errors
    ///
    /// [`WrongKind`](ActivationError::WrongKind), if something else has the name. What has it is closed then.
    pub fn take_tcp(&mut self, name: &str) -> Result<Vec<TcpListener>, ActivationError> {
        self.take(name, "listening TCP socket", |socket| match socket {
            Activated::Tcp(listener) => Some(listener),
            _ => None,
        })
    }

    /// Takes the Unix stream listeners of that name; none if there is no such name.
    ///
    /// # Errors
    ///
    /// [`WrongKind`](ActivationError::WrongKind), if something else has the name. What has it is closed then.
    pub fn take_unix(&mut self, name: &str) -> Result<Vec<UnixListener>, ActivationError> {
        self.take(name, "listening Unix stream socket", |socket| match socket {
            Activated::Unix(listener) => Some(listener),
            _ => None,
        })
    }

    /// Tells the process that has handed the sockets over that this one serves, so that it may end; harmless where none
    /// has, and when repeated. When this value is dropped before, the other takes it that this program has failed: it goes on
    /// serving, and ends this process.
    ///
    /// So call it last, when what can fail has succeeded: the configuration is read, the listeners accept.
    ///
    /// # Errors
    ///
    /// When the other process has ended meanwhile, or has lost its patience. Serve on: there is nobody else.
    pub fn ready(&mut self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(predecessor) = self.predecessor.take() {
            return predecessor.tell();
        }
        Ok(())
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Looks at what is left, without taking it.
    pub fn iter(&self) -> slice::Iter<'_, ActivatedSocket> {
        self.sockets.iter()
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        convert: fn(Activated) -> Option<T>,
    ) -> Result<Vec<T>, ActivationError> {
        let (named, rest): (Vec<_>, Vec<_>) =
            mem::take(&mut self.sockets).into_iter().partition(|socket| socket.name == name);
        self.sockets = rest;
        let convert = |ActivatedSocket { name, descriptor, socket }| {
            convert(socket).ok_or(ActivationError::WrongKind { descriptor, name, expected })
        };
        named.into_iter().map(convert).collect()
    }
}

/// Takes what is left. Say that you are [`ready`](ActivatedSockets::ready) before, or never.
impl IntoIterator for ActivatedSockets {
    type Item = ActivatedSocket;
    type IntoIter = vec::IntoIter<ActivatedSocket>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

/// Looks at what is left.
impl<'a> IntoIterator for &'a ActivatedSockets {
    type Item = &'a ActivatedSocket;
    type IntoIter = slice::Iter<'a, ActivatedSocket>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One descriptor that systemd has passed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ActivatedSocket {
    /// Its name; `"unknown"` if the supervisor gives none.
    pub name: String,
    /// Its number: from systemd 3 and up, in the order of the unit.
    pub descriptor: RawFd,
    /// The socket itself.
    pub socket: Activated,
}

/// What a passed descriptor is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Activated {
    /// A listening TCP socket, IPv4 or IPv6 (`ListenStream=` with a port); nonblocking.
    Tcp(TcpListener),
    /// A listening Unix stream socket (`ListenStream=` with a path); nonblocking.
    Unix(UnixListener),
    /// Anything else: a datagram socket, one connection (`Accept=yes`), a FIFO, or what the program itself
    /// has left with systemd (`FDSTORE=1`). As it came, but for close-on-exec; std converts it further.
    Other(OwnedFd),
}

/// Why what systemd has passed could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// A variable is there and does not say what it should.
    #[error("{variable}={value:?}: {reason}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What it says, or as much of that as is UTF-8; cut at 255 characters.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },

    /// The environment promises more descriptors than the bound allows: 4096.
    #[error("LISTEN_FDS promises {count} descriptors, more than 4096")]
    TooMany {
        /// How many.
        count: u32,
    },

    /// The environment names a descriptor that is not open, or that is this program's own.
    #[error("descriptor {descriptor} was promised by LISTEN_FDS and not passed")]
    NotPassed {
        /// The first one of these.
        descriptor: RawFd,
    },

    /// An earlier call has taken the sockets.
    #[error("the activated sockets have been taken already")]
    AlreadyTaken,

    /// What has the name is not what was asked for.
    #[error("descriptor {descriptor} ({name:?}) is not a {expected}")]
    WrongKind {
        /// The first descriptor of the name that is something else.
        descriptor: RawFd,
        /// The name.
        name: String,
        /// What was asked for.
        expected: &'static str,
    },

    /// What the process before this one hands over could not be taken.
    #[error("the sockets that are handed over cannot be taken: {0}")]
    Handover(#[source] io::Error),

    /// A passed descriptor could not be made close-on-exec or nonblocking.
    #[error("{step} failed for descriptor {descriptor}: {source}")]
    System {
        /// The descriptor.
        descriptor: RawFd,
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The [`ActivationError`] is inside ([`io::Error::get_ref`]).
impl From<ActivationError> for io::Error {
    fn from(error: ActivationError) -> Self {
        let kind = match &error {
            ActivationError::System { source, .. } | ActivationError::Handover(source) => source.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
