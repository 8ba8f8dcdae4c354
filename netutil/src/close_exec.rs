//! Keeping a descriptor from child processes.

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

/// Marks `fd` close-on-exec: a program started by this process does not inherit it.
///
/// Sockets and files that std or this crate creates are marked from birth. This is for descriptors that come
/// from elsewhere: inherited from a supervisor, received over a Unix socket, made by a C library.
///
/// # Errors
///
/// What `fcntl` reports; with an open descriptor it does not fail.
#[doc(alias = "FD_CLOEXEC")]
pub fn set_close_exec(fd: &impl AsFd) -> io::Result<()> {
    // SockRef is meant for sockets, but this is fcntl(F_SETFD), which every kind of descriptor has.
    SockRef::from(fd).set_cloexec(true)
}
