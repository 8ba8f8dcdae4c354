//! Pipes and what is like them: the same contract as over sockets, one way only.
#![cfg(unix)]

mod support;

use std::cell::Cell;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ioloop::{IoLoop, yield_now};
use iostream::{IoStream, NotPollable, StreamError};
use rustix::fs::{OFlags, fcntl_getfl};
use support::{assert_end_of_stream, assert_failed_with, noise, poll_once};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

#[track_caller]
fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

/// A stream that reads, and the other end.
fn reading() -> (IoStream, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (IoStream::new(reader).unwrap(), writer)
}

/// A stream that writes, and the other end.
fn writing() -> (IoStream, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (IoStream::new(writer).unwrap(), reader)
}

/// Two streams that are the two ends of one pipe.
fn both() -> (IoStream, IoStream) {
    let (reader, writer) = std::io::pipe().unwrap();
    (IoStream::new(reader).unwrap(), IoStream::new(writer).unwrap())
}

/// A close callback that counts.
fn count(stream: &IoStream) -> Rc<Cell<usize>> {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    stream.set_close_callback(Some(Box::new(move || counted.set(counted.get() + 1))));
    calls
}

fn is_blocking(descriptor: impl AsFd) -> bool {
    !fcntl_getfl(descriptor).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn io55_test_pipe_iostream_the_reads_work_as_over_a_socket() {
    run(async {
        let (reader, writer) = both();
        writer.write("hel").await.unwrap();
        writer.write("lo\r\nworld!!").await.unwrap();
        assert_eq!(reader.read_until(b"\r\n").await.unwrap(), "hello\r\n");
        assert_eq!(reader.read_bytes(5).await.unwrap(), "world");
        assert_eq!(reader.read_partial(10).await.unwrap(), "!!");
        let waiting = IoLoop::current().spawn({
            let reader = reader.clone();
            async move { reader.read_bytes(3).await }
        });
        yield_now().await;
        writer.write("abcdef").await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "abc");
        drop(writer);
        assert_eq!(reader.read_until_close().await.unwrap(), "def");
        assert_end_of_stream(reader.read_bytes(1).await);
    });
}

#[test]
fn io55_test_pipe_iostream_big_write_a_megabyte_arrives_whole() {
    run(async {
        let (reader, writer) = both();
        let data = noise(1_000_000);
        let sent = data.clone();
        let sender = IoLoop::current().spawn(async move { writer.write(sent).await });
        assert!(reader.read_bytes(data.len()).await.unwrap() == data);
        sender.await.unwrap().unwrap();
        assert_end_of_stream(reader.read_bytes(1).await);
    });
}

#[test]
fn io55_bytes_from_a_thread_that_writes_one_at_a_time_arrive_in_order_and_the_end_behind_them() {
    run(async {
        let (reader, mut writer) = reading();
        let peer = thread::spawn(move || {
            b"one\ntwo\nlast".chunks(1).for_each(|byte| writer.write_all(byte).unwrap());
        });
        assert_eq!(reader.read_until(b"\n").await.unwrap(), "one\n");
        assert_eq!(reader.read_until(b"\n").await.unwrap(), "two\n");
        assert_eq!(reader.read_until_close().await.unwrap(), "last");
        peer.join().unwrap();
    });
}

#[test]
fn io55_the_wrong_direction_is_refused_and_costs_nothing() {
    run(async {
        let (reader, mut peer) = reading();
        assert!(matches!(reader.write("no").await, Err(StreamError::NotWritable)));
        assert!(matches!(reader.queue("no"), Err(StreamError::NotWritable)));
        peer.write_all(b"yes").unwrap();
        assert_eq!(reader.read_bytes(3).await.unwrap(), "yes");

        let (writer, mut peer) = writing();
        assert!(matches!(writer.read_partial(1).await, Err(StreamError::NotReadable)));
        assert!(matches!(writer.read_until_close().await, Err(StreamError::NotReadable)));
        drop(writer.write("yes"));
        writer.shutdown(Duration::MAX).await.unwrap(); // nothing can come that would be worth the wait
        reader.shutdown(Duration::MAX).await.unwrap();
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        assert_eq!(received, "yes");
    });
}

#[test]
fn io55_a_writer_whose_reader_goes_is_told_and_the_next_write_is_a_broken_pipe() {
    run(async {
        let (writer, peer) = writing();
        let calls = count(&writer);
        writer.write("unread").await.unwrap();
        yield_now().await;
        assert_eq!(calls.get(), 0);
        drop(peer);
        writer.closed().await;
        while calls.get() == 0 {
            yield_now().await;
        }
        let failure = writer.write("nobody").await.unwrap_err();
        assert!(failure.is_disconnect());
        assert_failed_with(Err::<(), _>(failure), ErrorKind::BrokenPipe);
        assert!(writer.is_closed());
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io55_a_write_that_waits_for_a_reader_that_goes_fails() {
    run(async {
        let (writer, peer) = writing();
        let waiting = IoLoop::current().spawn({
            let writer = writer.clone();
            async move { writer.write(noise(1_000_000)).await }
        });
        while writer.bytes_sent() == 0 {
            yield_now().await;
        }
        drop(peer);
        assert_failed_with(waiting.await.unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn io55_a_reader_whose_writers_go_is_told_however_much_is_unread() {
    run(async {
        let (reader, mut peer) = reading();
        let calls = count(&reader);
        peer.write_all(b"unread").unwrap();
        drop(peer);
        while calls.get() == 0 {
            yield_now().await;
        }
        reader.closed().await;
        assert_eq!(reader.read_until_close().await.unwrap(), "unread");
    });
}

#[test]
fn io55_a_regular_file_is_refused_and_the_error_says_what_to_do() {
    let file = File::open("/proc/self/exe").or_else(|_| File::open("/etc/passwd")).unwrap();
    let refused = IoStream::new(OwnedFd::from(file)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<NotPollable>));
    assert!(refused.to_string().contains("run_in_executor"));
    let directory = IoStream::new(OwnedFd::from(File::open("/").unwrap())).unwrap_err();
    assert!(directory.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<NotPollable>));
}

#[test]
fn io55_what_the_poller_refuses_but_never_blocks_works() {
    run(async {
        let null = || OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
        let stream = IoStream::new(null()).unwrap();
        let calls = count(&stream); // has the stream registered
        stream.write(noise(100_000)).await.unwrap();
        assert!(stream.read_until_close().await.unwrap().is_empty());
        assert!(!stream.is_closed());
        stream.shutdown(AT_MOST).await.unwrap();
        while calls.get() == 0 {
            yield_now().await;
        }

        let (reader, writer) = std::io::pipe().unwrap();
        let pair = IoStream::new((null(), writer)).unwrap();
        let calls = count(&pair);
        pair.write("through").await.unwrap();
        assert_end_of_stream(pair.read_bytes(1).await);
        drop((reader, calls));
    });
}

#[test]
fn io55_a_descriptor_is_non_blocking_only_while_it_is_a_stream() {
    run(async {
        let (reader, writer) = std::io::pipe().unwrap();
        let shared = reader.try_clone().unwrap();
        let stream = IoStream::new(reader).unwrap();
        assert!(!is_blocking(&shared));
        drop(stream);
        assert!(is_blocking(&shared), "whoever shares it expects it as it was");

        rustix::fs::fcntl_setfl(&shared, OFlags::NONBLOCK).unwrap();
        drop(IoStream::new(shared.try_clone().unwrap()).unwrap());
        assert!(!is_blocking(&shared), "as it was");
        drop(writer);
    });
}

#[test]
fn io55_a_terminal_is_read_line_by_line_and_written_to() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    run(async {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let terminal = IoStream::new(OwnedFd::from(terminal)).unwrap();
        let keyboard = IoStream::new(master).unwrap();
        assert!(support::poll_once(terminal.read_bytes(1)).await.is_none()); // waits for an event from now on
        keyboard.write("first\nsecond\n").await.unwrap();
        let there = || terminal.with_descriptor(|tty| rustix::io::ioctl_fionread(tty).unwrap()).unwrap();
        while there() < 13 {
            yield_now().await;
        }
        yield_now().await; // the loop has heard of both
        // Each read gives one line, however large the buffer; both are there, so the second must not wait for
        // another event.
        assert_eq!(terminal.read_until(b"\n").await.unwrap(), "first\n");
        assert_eq!(terminal.read_until(b"\n").await.unwrap(), "second\n");
        terminal.write("prompt>").await.unwrap();
        keyboard.read_until(b"prompt>").await.unwrap(); // behind the echo
    });
}

#[test]
fn io55_a_fifo_has_a_name_and_its_end_comes_when_the_last_writer_goes() {
    let path = std::env::temp_dir().join(format!("iostream-fifo-{}", std::process::id()));
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    run(async {
        // Opening for both directions waits for nobody.
        let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let keeper = open();
        let reader = File::open(&path).unwrap();
        let writers = [(); 2].map(|()| OpenOptions::new().write(true).open(&path).unwrap());
        drop(keeper);
        let reader = IoStream::new(OwnedFd::from(reader)).unwrap();
        for (writer, word) in writers.into_iter().zip(["one,", "two,"]) {
            IoStream::new(OwnedFd::from(writer)).unwrap().write(word).await.unwrap();
            assert_eq!(reader.read_bytes(4).await.unwrap(), word);
        }
        assert_end_of_stream(reader.read_bytes(1).await);
    });
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn io55_two_pipes_make_one_stream_whose_directions_end_apart() {
    run(async {
        let (reader, mut their_writer) = std::io::pipe().unwrap();
        let (mut their_reader, writer) = std::io::pipe().unwrap();
        let stream = IoStream::new((reader, writer)).unwrap();
        let calls = count(&stream);
        let waiting = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(4).await }
        });
        yield_now().await;
        their_writer.write_all(b"ping").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "ping");

        drop(their_writer);
        assert_end_of_stream(stream.read_bytes(1).await);
        while calls.get() == 0 {
            yield_now().await;
        }
        assert!(!stream.is_peer_gone(), "the writer's peer is there");
        let answer = noise(300_000); // more than the pipe holds, so that it waits for room
        let peer = thread::spawn(move || {
            let mut received = Vec::new();
            their_reader.read_to_end(&mut received).unwrap();
            received
        });
        stream.write(answer.clone()).await.unwrap();
        stream.shutdown(AT_MOST).await.unwrap();
        assert!(peer.join().unwrap() == answer);
    });
}

#[test]
fn io55_a_pair_hears_that_its_reader_is_readable_while_its_writer_is_stuck() {
    run(async {
        let (reader, mut their_writer) = std::io::pipe().unwrap();
        let (their_reader, writer) = std::io::pipe().unwrap();
        let stream = IoStream::new((reader, writer)).unwrap();
        let stuck = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.write(noise(1_000_000)).await }
        });
        for i in 0..100_u8 {
            let waiting = IoLoop::current().spawn({
                let stream = stream.clone();
                async move { stream.read_bytes(1).await }
            });
            yield_now().await;
            their_writer.write_all(&[i]).unwrap();
            assert_eq!(waiting.await.unwrap().unwrap()[0], i);
        }
        drop(their_reader);
        assert_failed_with(stuck.await.unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_pair_that_is_gone_leaves_no_source_behind() {
    let io_loop = IoLoop::new().unwrap();
    io_loop
        .run_sync_timeout(AT_MOST, async {
            let (reader, their_writer) = std::io::pipe().unwrap();
            let (their_reader, writer) = std::io::pipe().unwrap();
            let stream = IoStream::new((reader, writer)).unwrap();
            let _calls = count(&stream);
            yield_now().await;
            assert_eq!(IoLoop::current().counters().sources, 2);
            drop(stream);
            yield_now().await;
            assert_eq!(IoLoop::current().counters().sources, 0);
            drop((their_writer, their_reader));
        })
        .unwrap();
}

#[test]
fn a_pair_in_the_wrong_order_is_refused() {
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(IoStream::new((writer, reader)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn io55_a_stream_socket_is_taken_as_one() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stream = IoStream::new(OwnedFd::from(ours)).unwrap();
        stream.write("a").await.unwrap();
        stream.shutdown_write().await.unwrap();
        let mut received = String::new();
        theirs.read_to_string(&mut received).unwrap();
        theirs.write_all(b"b").unwrap();
        assert_eq!(stream.read_bytes(1).await.unwrap(), "b");
        assert_eq!(received, "a");
    });
}

#[test]
fn io55_mios_pipes_are_taken_too() {
    run(async {
        let (sender, receiver) = mio::unix::pipe::new().unwrap();
        let (writer, reader) = (IoStream::new(sender).unwrap(), IoStream::new(receiver).unwrap());
        writer.write("through").await.unwrap();
        assert_eq!(reader.read_bytes(7).await.unwrap(), "through");
    });
}

/// A copy of `original` with the number `wanted`, if nobody else in this process has that.
fn copy_with_number(original: impl AsFd, wanted: RawFd) -> Option<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(original, wanted).unwrap();
    (copy.as_raw_fd() == wanted).then_some(copy)
}

/// Reads through a stream over a copy of `original` until that has to wait, and again over another copy that has the number of
/// the first. `false` if somebody else has taken the number meanwhile.
async fn read_through_two_copies(original: OwnedFd, mut peer: impl Write) -> bool {
    let mut number = None;
    for _ in 0..2 {
        let copy = match number {
            None => Some(original.try_clone().unwrap()),
            Some(number) => copy_with_number(&original, number),
        };
        let Some(copy) = copy else { return false };
        number = Some(copy.as_raw_fd());
        let stream = IoStream::new(copy).unwrap();
        {
            let mut line = std::pin::pin!(stream.read_until(b"\n"));
            assert!(poll_once(line.as_mut()).await.is_none(), "it waits for its event");
            peer.write_all(b"hello\n").unwrap();
            assert_eq!(line.await.unwrap(), "hello\n");
        }
    }
    true
}

/// epoll goes on with the first copy's registration for as long as there are others.
#[test]
fn io1_what_was_a_stream_by_a_copy_of_its_descriptor_can_be_one_by_the_next_copy() {
    let pipe = || {
        let (reader, writer) = std::io::pipe().unwrap();
        (OwnedFd::from(reader), File::from(OwnedFd::from(writer)))
    };
    let socket = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (OwnedFd::from(ours), File::from(OwnedFd::from(theirs)))
    };
    for pair in [&pipe as &dyn Fn() -> (OwnedFd, File), &socket] {
        while !run(async {
            let (original, peer) = pair();
            read_through_two_copies(original, peer).await
        }) {}
    }
}
