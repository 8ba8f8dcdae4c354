//! Signals as events of the loop: each a byte through a pipe of its own.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::{Context, Poll};

use mio::net::UnixStream;
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::{pipe, unregister};

use crate::IoLoop;
use crate::ready::{Interest, Ready};
use crate::registration::Registration;

/// The signals that a server lives by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SignalKind {
    /// SIGTERM: an operator or a supervisor asks for an orderly end.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGHUP: reload, by custom.
    Hangup,
    /// SIGCHLD: a child process has ended.
    Child,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl SignalKind {
    fn number(self) -> i32 {
        match self {
            SignalKind::Terminate => SIGTERM,
            SignalKind::Interrupt => SIGINT,
            SignalKind::Hangup => SIGHUP,
            SignalKind::Child => SIGCHLD,
            SignalKind::User1 => SIGUSR1,
            SignalKind::User2 => SIGUSR2,
        }
    }
}

/// A signal that a task waits for. Made by [`signal`].
///
/// While it lives the signal's default action (ending the process, for most) is off, and stays off afterwards:
/// the operating system's handler is not put back.
#[derive(Debug)]
pub struct Signal {
    // First, so that it is dropped first: the slot goes before the descriptor.
    registration: Registration,
    receiver: UnixStream,
    id: SigId,
}

/// Starts to listen for a signal, on the current loop. Signals that come from now on are not lost.
///
/// Takes two descriptors and one registration. The successor of `add_callback_from_signal` (IL15).
///
/// # Errors
///
/// When the operating system has no descriptor left or refuses the handler, or the loop has closed.
#[doc(alias = "add_callback_from_signal")]
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let (receiver, sender) = StdUnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    let mut receiver = UnixStream::from_std(receiver);
    let registration = Registration::new(&IoLoop::current());
    registration.attach(&mut receiver)?;
    let id = pipe::register(kind.number(), sender)?;
    Ok(Signal { registration, receiver, id })
}

impl Signal {
    /// Waits for the signal to arrive. Several that arrive before this is awaited count as one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a signal that has arrived waits for the next call.
    pub async fn recv(&mut self) {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await;
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut arrived = false;
        let mut bytes = [0; 64];
        loop {
            match self.receiver.read(&mut bytes) {
                // A full buffer: perhaps there are more, which are all the same signal. The sender lives in the
                // signal handler for as long as this does, so there is no end of stream.
                Ok(n) if n == bytes.len() => arrived = true,
                Ok(_) => return Poll::Ready(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if arrived => return Poll::Ready(()),
                Err(_) => {
                    self.registration.clear(Ready::READABLE);
                    std::task::ready!(self.registration.poll_ready(cx, Interest::READ));
                }
            }
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        unregister(self.id);
    }
}
