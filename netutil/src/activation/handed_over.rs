//! The receiving end of a [`Handover`](crate::Handover): sockets that have come by the standard input.

use std::env;
use std::fs::File;
use std::io::{self, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::handover::{HANDOVER_VARIABLE, Named, READY, receive};

/// The process that waits to hear whether this one serves. Hears that it does not when this is dropped.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

impl Predecessor {
    pub(super) fn tell(mut self) -> io::Result<()> {
        self.0.write_all(&[READY])
    }
}

/// Whether the environment says that sockets come this way. It says so to child processes as well, which have none.
pub(super) fn is_promised() -> bool {
    env::var_os(HANDOVER_VARIABLE).is_some()
}

/// What has been handed over, if anything has. The standard input is empty afterwards.
pub(super) fn take() -> io::Result<Option<(Named, Predecessor)>> {
    let stdin = stdin();
    let Some(sockets) = receive(stdin.as_fd())? else { return Ok(None) };
    // A descriptor that no child process inherits, so that the end of this process is heard.
    let predecessor = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some((sockets, Predecessor(predecessor))))
}
