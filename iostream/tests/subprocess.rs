//! Child processes, their streams and their end: Tornado's process_test.
#![cfg(unix)]

use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ioloop::{ChildError, IoLoop, SignalKind, exit_code};
use iostream::{IoStream, StreamError, StreamOptions, Subprocess};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

#[track_caller]
fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

/// A shell with streams for all three.
fn shell(script: &str) -> Subprocess {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Subprocess::spawn(&mut command).unwrap()
}

#[test]
fn pr9_test_subprocess_a_dialogue_and_the_end_of_the_output_when_the_child_exits() {
    run(async {
        let child = shell("while read line; do echo \"<$line>\"; [ \"$line\" = bye ] && exit; done");
        let (input, output) = (child.stdin.unwrap(), child.stdout.unwrap());
        for word in ["hello", "world", "bye"] {
            input.write(format!("{word}\n")).await.unwrap();
            assert_eq!(output.read_until(b"\n").await.unwrap(), format!("<{word}>\n"));
        }
        assert!(output.read_until_close().await.unwrap().is_empty());
        child.process.wait_for_exit().await.unwrap();
    });
}

#[test]
fn pr9_test_close_stdin_the_end_of_our_side_reaches_the_child() {
    run(async {
        let child = shell("cat; echo end");
        let (input, output) = (child.stdin.unwrap(), child.stdout.unwrap());
        input.write("half a line").await.unwrap();
        input.close();
        assert_eq!(output.read_until_close().await.unwrap(), "half a lineend\n");

        let child = shell("cat");
        let (input, output) = (child.stdin.unwrap(), child.stdout.unwrap());
        drop(input.write("unsent until the end"));
        input.shutdown_write().await.unwrap(); // the stream itself lives on
        assert_eq!(output.read_until_close().await.unwrap(), "unsent until the end");
    });
}

#[test]
fn pr9_test_stderr_is_a_stream_of_its_own() {
    run(async {
        let child = shell("echo out; echo err >&2");
        assert_eq!(child.stderr.unwrap().read_until_close().await.unwrap(), "err\n");
        assert_eq!(child.stdout.unwrap().read_until_close().await.unwrap(), "out\n");
    });
}

#[test]
fn pr9_only_what_is_piped_has_a_stream_and_it_goes_one_way() {
    run(async {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = Subprocess::spawn(&mut command).unwrap();
        assert!(child.stdin.is_none() && child.stderr.is_none());
        let refused = child.stdout.unwrap().write("this is not its input").await;
        assert!(matches!(refused, Err(StreamError::NotWritable)));
    });
}

#[test]
fn pr9_a_child_may_die_before_it_has_read_its_input() {
    run(async {
        let child = shell("exit 3");
        let input = child.stdin.unwrap();
        input.closed().await;
        let failure = loop {
            match input.write(vec![0; 100_000]).await {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(failure.is_disconnect(), "{failure}");
        assert_eq!(exit_code(child.process.wait().await.unwrap()), 3);
    });
}

#[test]
fn pr9_a_megabyte_goes_in_and_comes_out_at_once() {
    run(async {
        let child = shell("cat");
        let (input, output) = (child.stdin.unwrap(), child.stdout.unwrap());
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
        let sent = data.clone();
        IoLoop::current().spawn_detached(async move { input.write(sent).await.unwrap() });
        assert!(output.read_until_close().await.unwrap() == data);
        child.process.wait_for_exit().await.unwrap();
    });
}

#[test]
fn pr9_input_and_output_make_one_stream() {
    run(async {
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let process = ioloop::ChildProcess::new(child);
        let stream = IoStream::new(pipes).unwrap();
        stream.write("there and back").await.unwrap();
        assert_eq!(stream.read_bytes(14).await.unwrap(), "there and back");
        stream.shutdown(AT_MOST).await.unwrap();
        process.wait_for_exit().await.unwrap();
    });
}

#[test]
fn pr10_a_child_with_streams_that_is_told_to_end_ends_its_streams() {
    run(async {
        let child = shell("exec cat");
        child.process.signal(SignalKind::Terminate).unwrap();
        assert!(child.stdout.unwrap().read_until_close().await.unwrap().is_empty());
        let ended = child.process.wait_for_exit().await;
        assert!(matches!(ended, Err(ChildError::Failed(status)) if exit_code(status) == -15));
    });
}

#[test]
fn pr9_a_spawn_that_fails_is_an_error_and_limits_are_heeded() {
    run(async {
        let missing = Subprocess::spawn(Command::new("/no/such/program").stdin(Stdio::piped()));
        assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);

        let mut yes = Command::new("yes");
        yes.stdout(Stdio::piped());
        let mut options = StreamOptions::default();
        options.max_buffer_size = 1000;
        let child = Subprocess::spawn_with_options(&mut yes, &Rc::new(options)).unwrap();
        let refused = child.stdout.as_ref().unwrap().read_bytes(1001).await;
        assert!(matches!(refused, Err(StreamError::ReadTooLarge { .. })));
        child.process.kill().unwrap();

        options.max_buffer_size = 0;
        let refused = Subprocess::spawn_with_options(&mut yes, &Rc::new(options));
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}
