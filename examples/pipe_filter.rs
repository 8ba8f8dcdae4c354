//! A filter: reads lines from standard input and writes them to standard output in capitals, through streams. With a command
//! behind it, what that prints is filtered instead, and its exit status is the program's.
//!
//! Run it:  printf 'hello\nworld\n' | cargo run --release --example pipe_filter
//!          cargo run --release --example pipe_filter -- ls /
//!
//! A file as standard input or output is refused, because it cannot be waited for: use `cat file | …` and `… | cat >file`.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};

use ioloop::{IoLoop, exit_code};
use iostream::{IoStream, StreamError, Subprocess};

/// The longest line that is taken as one. What is longer ends the program.
const LONGEST_LINE: usize = 1024 * 1024;

/// A stream over one of our own standard descriptors. Only the duplicate is closed with it.
fn standard(descriptor: impl AsFd) -> io::Result<IoStream> {
    let duplicate: OwnedFd = descriptor.as_fd().try_clone_to_owned()?;
    IoStream::new(duplicate)
}

/// Until the input ends, or nobody reads the output any more.
async fn capitals(input: &IoStream, output: &IoStream) -> Result<(), StreamError> {
    match copy(input, output).await {
        Err(error) if error.is_disconnect() => Ok(()),
        result => result,
    }
}

/// Writes at the pace of the reader: the next line is read when this one has been sent.
async fn copy(input: &IoStream, output: &IoStream) -> Result<(), StreamError> {
    loop {
        match input.read_until_max(b"\n", LONGEST_LINE).await {
            Ok(line) => output.write(line.to_ascii_uppercase()).await?,
            Err(error) if error.is_disconnect() => break,
            Err(error) => return Err(error),
        }
    }
    // A last line without its end.
    let rest = input.read_until_close().await?;
    output.write(rest.to_ascii_uppercase()).await
}

async fn filter() -> Result<ExitCode, Box<dyn Error>> {
    let output = standard(io::stdout())?;
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        capitals(&standard(io::stdin())?, &output).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut child = Subprocess::spawn(Command::new(program).args(arguments).stdout(Stdio::piped()))?;
    let input = child.stdout.take().ok_or("the child has no output")?;
    capitals(&input, &output).await?;
    drop(input);
    let code = exit_code(child.process.wait().await?);
    Ok(ExitCode::from(code.rem_euclid(256) as u8))
}

fn main() -> ExitCode {
    let run = IoLoop::current().run_sync(filter());
    match run.unwrap_or_else(|error| Err(error.into())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pipe_filter: {error}");
            ExitCode::FAILURE
        }
    }
}
