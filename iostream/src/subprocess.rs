//! Child processes with streams for their standard input, output and error: Tornado's `Subprocess` (PR9).

use std::io;
use std::process::Command;
use std::rc::Rc;

use ioloop::ChildProcess;

use crate::options::StreamOptions;
use crate::stream::IoStream;
use crate::transport::IntoTransport;

/// A child process and the streams to talk to it.
///
/// ```
/// use std::process::{Command, Stdio};
/// use ioloop::IoLoop;
/// use iostream::Subprocess;
///
/// let output = IoLoop::new()?.run_sync(async {
///     let mut cat = Subprocess::spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()))?;
///     let (input, output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
///     input.write("hello").await?;
///     drop(input); // the end of its input
///     let output = output.read_until_close().await?;
///     cat.process.wait_for_exit().await?;
///     Ok::<_, Box<dyn std::error::Error>>(output)
/// })??;
/// assert_eq!(output, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A child that fills a pipe waits until somebody reads it: read its output while you write its input, in two tasks,
/// where either may be more than some tens of KiB.
#[derive(Debug)]
#[non_exhaustive]
pub struct Subprocess {
    /// Writes to the child's standard input, where that is `Stdio::piped()`. Dropping the stream, or ending it with
    /// [`shutdown_write`](IoStream::shutdown_write), is the end of the child's input.
    pub stdin: Option<IoStream>,
    /// Reads the child's standard output, where that is `Stdio::piped()`.
    pub stdout: Option<IoStream>,
    /// Reads the child's standard error, where that is `Stdio::piped()`.
    pub stderr: Option<IoStream>,
    /// The process: its id, its end, and signals to it.
    pub process: ChildProcess,
}

impl Subprocess {
    /// Starts `command`, with a stream for each standard descriptor that is [`Stdio::piped()`](std::process::Stdio::piped)
    /// (Tornado's `Subprocess.STREAM`), on the current loop. Blocks for the time that starting takes.
    ///
    /// The child's ends are closed on this side, so that a stream ends when the child and its heirs have closed theirs.
    /// What was given to the command as an open descriptor (`Stdio::from`) stays open until the command is dropped.
    ///
    /// # Errors
    ///
    /// When there is no such program, or the operating system refuses. No pipe and no process is left over.
    ///
    /// # Panics
    ///
    /// As [`IoStream::new`].
    pub fn spawn(command: &mut Command) -> io::Result<Subprocess> {
        Subprocess::spawn_with_options(command, &Rc::new(StreamOptions::default()))
    }

    /// [`spawn`](Subprocess::spawn) with limits for the streams.
    ///
    /// # Errors
    ///
    /// As for `spawn`, and `InvalidInput` for limits that are out of range.
    pub fn spawn_with_options(command: &mut Command, options: &Rc<StreamOptions>) -> io::Result<Subprocess> {
        options.check().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = ChildProcess::new(child);
        let streams = (stream(pipes.0, options), stream(pipes.1, options), stream(pipes.2, options));
        match streams {
            (Ok(stdin), Ok(stdout), Ok(stderr)) => Ok(Subprocess { stdin, stdout, stderr, process }),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
                let _ = process.kill(); // nobody else could end it
                Err(error)
            }
        }
    }
}

fn stream(pipe: Option<impl IntoTransport>, options: &Rc<StreamOptions>) -> io::Result<Option<IoStream>> {
    pipe.map(|pipe| IoStream::with_options(pipe, Rc::clone(options))).transpose()
}
