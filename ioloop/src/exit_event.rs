//! What says that a child process may have ended: a pidfd, or SIGCHLD.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;

use crate::signal::{Signal, SignalKind, signal};
use crate::{Interest, Ready, Registration};

/// What says that it is time to look.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
pub(crate) enum ExitEvent {
    /// Readable once the process has ended. The registration is first, so that it is dropped first: the slot goes before
    /// the descriptor.
    Pidfd(Registration, #[allow(dead_code, reason = "kept open")] OwnedFd),
    /// Some child has ended.
    Signal(Signal),
}

impl ExitEvent {
    /// Too old a kernel and a strict sandbox are no reason to fail, so any refusal leads to the second way.
    pub(crate) fn open(id: u32) -> io::Result<ExitEvent> {
        ExitEvent::pidfd(id).or_else(|_| ExitEvent::signal(id))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn pidfd(id: u32) -> io::Result<ExitEvent> {
        use mio::unix::SourceFd;
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        use std::os::fd::AsRawFd;

        let pid = Pid::from_raw(id.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let registration = Registration::new(&crate::IoLoop::current());
        registration.attach(&mut SourceFd(&pidfd.as_raw_fd()))?;
        Ok(ExitEvent::Pidfd(registration, pidfd))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn pidfd(_id: u32) -> io::Result<ExitEvent> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn signal(_id: u32) -> io::Result<ExitEvent> {
        signal(SignalKind::Child).map(ExitEvent::Signal)
    }

    pub(crate) async fn occurred(&mut self) {
        match self {
            ExitEvent::Pidfd(registration, _) => {
                poll_fn(|cx| registration.poll_ready(cx, Interest::READ)).await;
                registration.clear(Ready::READABLE);
            }
            ExitEvent::Signal(signal) => signal.recv().await,
        }
    }
}
