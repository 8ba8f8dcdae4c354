//! Listening sockets for the process that takes over from this one: the giving end. The receiving end is `activated_sockets`.
//!
//! ```text
//!   this process                                     its successor
//!   a pair of sockets: one end ───────────────────▶  is its standard input
//!   listeners and their names, in one message ────▶  activated_sockets()
//!   waits                                            … does what it takes to serve …
//!   goes on when told, and knows an end for what ◀── ready()
//!   it is: nobody has taken over
//! ```

mod message;

use std::env;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::activation::ACTIVATION_VARIABLES;

pub(crate) use message::{Named, receive};

/// The variable by which a process knows that its standard input holds sockets for it.
pub(crate) const HANDOVER_VARIABLE: &str = "LISTEN_HANDOVER";

/// What a successor says when it serves.
pub(crate) const READY: u8 = b'r';

/// How long a successor that has given up may take to end by itself.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Listening sockets for the process that takes over from this one, so that a program can be replaced while it serves: nobody who
/// connects meanwhile is refused, or reset (Linux).
///
/// Both processes have the same sockets then, with the same queues of connections. The new one finds them by
/// [`activated_sockets`](crate::activated_sockets), as it would find those of systemd, and says when it is
/// [ready](crate::ActivatedSockets::ready). The old one stops accepting then, and serves those whom it has to their end; if
/// the new one does not come to be ready, it goes on as if nothing had happened.
///
/// ```no_run
/// use std::time::Duration;
/// use netutil::{BindOptions, Handover, activated_sockets, bind_sockets};
///
/// // When the program starts:
/// let mut sockets = activated_sockets()?;
/// let mut listeners = sockets.take_tcp("http")?;
/// if listeners.is_empty() {
///     listeners = bind_sockets(8080, &BindOptions::new())?;
/// }
/// // … it begins to serve …
/// sockets.ready()?;
///
/// // When it is to be replaced, on SIGHUP perhaps:
/// let handover = Handover::of_this_program()?.pass("http", &listeners[0])?;
/// match handover.start(Duration::from_secs(30)) {
///     Ok(successor) => println!("{} has taken over", successor.id()), // stop accepting, and end
///     Err(error) => eprintln!("it goes on as it is: {error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Handover {
    command: Command,
    sockets: Named,
}

/// Why nobody has taken over. No process is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// More than 253 sockets, names with a colon or a control character, or names of more than 8 KiB together.
    #[error("so many sockets, or such names, cannot be handed over")]
    Unsendable,
    /// The sockets could not be sent.
    #[error("the sockets cannot be handed over: {0}")]
    Send(#[source] io::Error),
    /// The program could not be started.
    #[error("the successor cannot be started: {0}")]
    Spawn(#[source] io::Error),
    /// The successor has ended, or given up its sockets, before it was ready.
    #[error("the successor ended before it was ready: {0}")]
    Ended(ExitStatus),
    /// The successor was not ready in time, and was killed.
    #[error("the successor was not ready within {0:?}")]
    TimedOut(Duration),
}

impl Handover {
    /// To the program that `command` starts, which says where its output goes and what else it is given. Its standard input is
    /// that of the handover; the program finds `/dev/null` there once it has taken the sockets.
    #[must_use]
    pub fn new(command: Command) -> Handover {
        Handover { command, sockets: Vec::new() }
    }

    /// To this program, started anew with the same arguments from the file it was started from, which may have been replaced
    /// since. By its path, as it was when the program was started, where that has a slash; so the working directory should
    /// be what it was.
    ///
    /// # Errors
    ///
    /// When the system does not say which file that is.
    pub fn of_this_program() -> io::Result<Handover> {
        let mut arguments = env::args_os();
        // The system follows links, and a link is how programs are replaced.
        let program = match arguments.next().filter(|program| program.as_encoded_bytes().contains(&b'/')) {
            Some(program) => program,
            None => env::current_exe()?.into(),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(Handover::new(command))
    }

    /// Passes a listening socket on, TCP or Unix, by a name without a colon; several may share one. The socket stays this
    /// process's too.
    ///
    /// The file of a Unix socket must stay where it is: see [`UnlinkOnDrop::keep`](crate::UnlinkOnDrop::keep).
    ///
    /// # Errors
    ///
    /// When there is no descriptor for it.
    pub fn pass(mut self, name: &str, socket: impl AsFd) -> io::Result<Handover> {
        self.sockets.push((name.to_owned(), socket.as_fd().try_clone_to_owned()?));
        Ok(self)
    }

    /// Starts the successor and waits until it is ready; blocks so long. Then both processes have the sockets, and it is time
    /// for this one to close its own.
    ///
    /// # Errors
    ///
    /// See [`HandoverError`]: nobody has taken over, and no process is left.
    pub fn start(self, within: Duration) -> Result<Child, HandoverError> {
        let Handover { mut command, sockets } = self;
        if !message::can_carry(sockets.iter().map(|(name, _)| &**name)) {
            return Err(HandoverError::Unsendable);
        }
        let (mut ours, theirs) = UnixStream::pair().map_err(HandoverError::Send)?;
        message::send(&ours, &sockets).map_err(HandoverError::Send)?;
        for variable in ACTIVATION_VARIABLES {
            command.env_remove(variable);
        }
        command.env(HANDOVER_VARIABLE, "stdin").stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut child = command.spawn().map_err(HandoverError::Spawn)?;
        drop(command); // it holds the other end
        match wait_ready(&mut ours, within) {
            Ok(true) => Ok(child),
            Ok(false) => {
                Err(HandoverError::Ended(end(&mut child, LAST_MOMENTS).map_err(HandoverError::Spawn)?))
            }
            Err(_) => {
                end(&mut child, Duration::ZERO).map_err(HandoverError::Spawn)?;
                Err(HandoverError::TimedOut(within))
            }
        }
    }
}

/// Whether the successor is ready; it is not if it lets go of its end.
fn wait_ready(ours: &mut UnixStream, within: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    loop {
        let left = within.saturating_sub(begin.elapsed());
        ours.set_read_timeout(Some(left.max(Duration::from_micros(1))))?; // none would be for ever
        let mut said = [0];
        match ours.read(&mut said) {
            Ok(n) => return Ok(n == 1 && said == [READY]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It has ended with the message unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Sees a process to its end, by itself if it comes to that in time.
fn end(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() >= patience {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(Duration::from_millis(5));
    }
}
