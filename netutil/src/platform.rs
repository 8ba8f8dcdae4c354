//! What differs between systems: constants, and socket options that some of them lack.

use std::io;

use socket2::Socket;

/// `getaddrinfo` flag: no address means all interfaces, for sockets that listen. The default of
/// [`BindOptions::flags`](crate::BindOptions::flags).
pub const AI_PASSIVE: i32 = sys::AI_PASSIVE;

/// `getaddrinfo` flag: only families that this host has a non-loopback address of. Never set by default: `::`
/// is to be bound on a host without global IPv6 too.
pub const AI_ADDRCONFIG: i32 = sys::AI_ADDRCONFIG;

/// `getaddrinfo` flag: the address must be a literal; no name is looked up, so nothing blocks on DNS.
pub const AI_NUMERICHOST: i32 = sys::AI_NUMERICHOST;

pub(crate) const AI_CANONNAME: i32 = sys::AI_CANONNAME;

/// `getaddrinfo` result: no answer for now.
pub(crate) const EAI_AGAIN: i32 = sys::EAI_AGAIN;

/// Whether `set_reuse_port` can work here (NU1.1). The list follows socket2.
pub(crate) const HAS_REUSE_PORT: bool = cfg!(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin", target_os = "nuttx"))
));

#[cfg(unix)]
mod sys {
    pub(super) use libc::{AI_ADDRCONFIG, AI_CANONNAME, AI_NUMERICHOST, AI_PASSIVE, EAFNOSUPPORT, EAI_AGAIN};
}

#[cfg(windows)]
mod sys {
    //! The values of ws2def.h and winerror.h.
    pub(super) const AI_PASSIVE: i32 = 0x1;
    pub(super) const AI_CANONNAME: i32 = 0x2;
    pub(super) const AI_NUMERICHOST: i32 = 0x4;
    pub(super) const AI_ADDRCONFIG: i32 = 0x400;
    pub(super) const EAFNOSUPPORT: i32 = 10047;
    pub(super) const EAI_AGAIN: i32 = 11002;
}

/// Whether `socket` failed because the kernel lacks the address family.
pub(crate) fn is_family_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(sys::EAFNOSUPPORT)
}

/// Sets SO_REUSEADDR, so that a restarted server gets its port back while old connections sit in TIME_WAIT.
///
/// Not on Windows, where the option of that name lets strangers take a port that is in use (NU1.8).
#[cfg(unix)]
pub(crate) fn set_reuse_address(socket: &Socket) -> io::Result<()> {
    forgive_unknown_option(socket.set_reuse_address(true))
}

#[cfg(not(unix))]
pub(crate) fn set_reuse_address(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// GNU Hurd knows SO_REUSEADDR by name and refuses it with ENOPROTOOPT; it works without (NU1.8).
#[cfg(unix)]
fn forgive_unknown_option(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin", target_os = "nuttx"))
))]
pub(crate) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin", target_os = "nuttx"))
)))]
pub(crate) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn nu1_8_only_enoprotoopt_from_reuse_address_is_forgiven() {
        assert!(forgive_unknown_option(Ok(())).is_ok());
        assert!(forgive_unknown_option(Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT))).is_ok());
        assert!(forgive_unknown_option(Err(io::Error::from_raw_os_error(libc::EINVAL))).is_err());
        assert!(forgive_unknown_option(Err(io::ErrorKind::Other.into())).is_err());
    }
}
