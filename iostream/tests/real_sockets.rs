//! Over the kernel's sockets, with blocking peers in threads.
#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ioloop::{IoLoop, RunError};
use iostream::{CloseReason, IoStream, StreamError, leased_blocks};
use support::{assert_end_of_stream, assert_failed_with, noise, poll_once};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

#[track_caller]
fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// A stream over TCP, and its peer in a thread.
fn tcp<T: Send + 'static>(peer: impl FnOnce(TcpStream) -> T + Send + 'static) -> (IoStream, JoinHandle<T>) {
    let (ours, theirs) = tcp_pair();
    (IoStream::new(ours).unwrap(), thread::spawn(move || peer(theirs)))
}

fn unix<T: Send + 'static>(peer: impl FnOnce(UnixStream) -> T + Send + 'static) -> (IoStream, JoinHandle<T>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (IoStream::new(ours).unwrap(), thread::spawn(move || peer(theirs)))
}

fn echo_until_end(mut peer: impl Read + Write) {
    let mut buffer = [0; 10_000];
    loop {
        match peer.read(&mut buffer).unwrap() {
            0 => return,
            n => peer.write_all(&buffer[..n]).unwrap(),
        }
    }
}

async fn talk(stream: &IoStream) {
    for size in [1, 100, 70_000] {
        let data = noise(size);
        stream.write(data.clone()).await.unwrap();
        assert!(stream.read_bytes(size).await.unwrap() == data);
    }
    stream.shutdown_write().await.unwrap();
    assert_end_of_stream(stream.read_bytes(1).await);
}

#[test]
fn tcp_carries_bytes_both_ways_and_both_ends() {
    run(async {
        let (stream, peer) = tcp(echo_until_end);
        assert!(stream.peer_addr().is_some() && stream.local_addr().is_some());
        assert!(stream.with_descriptor(|_| ()).is_some());
        stream.set_nodelay(true).unwrap();
        talk(&stream).await;
        peer.join().unwrap();
    });
}

#[test]
fn a_unix_socket_does_too() {
    run(async {
        let (stream, peer) = unix(echo_until_end);
        talk(&stream).await;
        assert_eq!(stream.peer_addr(), None);
        stream.set_nodelay(true).unwrap();
        peer.join().unwrap();
    });
}

/// Twenty megabytes each way at once: one task writes, one reads, and the peer echoes.
async fn flood(stream: IoStream) {
    let data = noise(20 << 20);
    let writer = IoLoop::current().spawn({
        let (stream, data) = (stream.clone(), data.clone());
        async move {
            for part in data.chunks(300_000) {
                stream.write(part.to_vec()).await.unwrap();
            }
            stream.shutdown_write().await.unwrap();
        }
    });
    let mut received = Vec::with_capacity(data.len());
    while received.len() < data.len() {
        received.extend_from_slice(&stream.read_partial(usize::MAX).await.unwrap());
    }
    writer.await.unwrap();
    assert!(received == data);
    assert_end_of_stream(stream.read_bytes(1).await);
    assert_eq!(IoLoop::current().counters().registrations, 1);
    assert_eq!(leased_blocks(), 0);
}

#[test]
fn twenty_megabytes_go_both_ways_at_once_over_tcp() {
    let (ours, theirs) = tcp_pair();
    let peer = thread::spawn(move || echo_until_end(theirs));
    run(async { flood(IoStream::new(ours).unwrap()).await });
    peer.join().unwrap();
}

#[test]
fn twenty_megabytes_go_both_ways_at_once_over_a_unix_socket() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || echo_until_end(theirs));
    run(async { flood(IoStream::new(ours).unwrap()).await });
    peer.join().unwrap();
}

#[test]
fn a_thousand_exchanges_register_a_socket_once_and_insert_no_timer() {
    let (ours, mut theirs) = tcp_pair();
    let peer = thread::spawn(move || {
        let mut answer = [0; 8];
        for _ in 0..1_000 {
            theirs.write_all(b"request\n").unwrap();
            theirs.read_exact(&mut answer).unwrap();
        }
    });
    let io_loop = IoLoop::new().unwrap();
    io_loop
        .run_sync(async {
            let stream = IoStream::new(ours).unwrap();
            while let Ok(line) = stream.read_until(b"\n").await {
                stream.write(line).await.unwrap();
            }
        })
        .unwrap();
    peer.join().unwrap();
    let counters = io_loop.counters();
    assert_eq!((counters.registrations, counters.reregistrations, counters.timers_inserted), (1, 0, 0));
}

#[test]
fn data_and_the_end_that_came_before_anybody_read_are_both_found() {
    run(async {
        let (stream, peer) = tcp(|mut peer| peer.write_all(b"bye\n").unwrap());
        peer.join().unwrap(); // sent and closed
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "bye\n");
        assert_end_of_stream(stream.read_bytes(1).await);
    });
}

#[test]
fn data_and_the_end_that_come_while_somebody_reads_are_both_found() {
    run(async {
        let (go, wait) = std::sync::mpsc::channel();
        let (stream, peer) = tcp(move |mut peer| {
            wait.recv().unwrap();
            peer.write_all(b"bye\n").unwrap();
        });
        assert!(support::poll_once(stream.read_bytes(1)).await.is_none()); // attached, nothing there
        go.send(()).unwrap();
        peer.join().unwrap();
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "bye\n");
        assert_end_of_stream(stream.read_bytes(1).await);
    });
}

#[test]
fn io36_a_client_that_ended_its_side_gets_its_answer() {
    run(async {
        let (stream, peer) = tcp(|mut peer| {
            peer.write_all(b"question").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).unwrap();
            answer
        });
        let question = stream.read_until_close().await.unwrap();
        stream.write([b"you asked: ", &question[..]].concat()).await.unwrap();
        stream.shutdown(AT_MOST).await.unwrap();
        assert_eq!(peer.join().unwrap(), "you asked: question");
    });
}

/// Closes with unread bytes, which makes the kernel send a reset.
fn reset(mut peer: TcpStream) {
    peer.read_exact(&mut [0]).unwrap(); // they have arrived
    drop(peer);
}

#[test]
fn io39_a_reset_is_told_as_one_and_counts_as_a_peer_that_went_away() {
    run(async {
        let (stream, peer) = tcp(reset);
        stream.write("unread").await.unwrap();
        let result = stream.read_bytes(1).await;
        assert!(result.as_ref().unwrap_err().is_disconnect());
        assert_failed_with(result, ErrorKind::ConnectionReset);
        peer.join().unwrap();
    });
}

/// What a server does that refuses an upload: it answers, and closes with bytes unread, so that a reset follows the answer.
async fn read_behind_a_failed_write(stream: IoStream, mut peer: impl Read + Write) {
    stream.write("the beginning of much").await.unwrap();
    peer.read_exact(&mut [0]).unwrap();
    peer.write_all(b"too much").unwrap();
    drop(peer);
    let refused = loop {
        if let Err(error) = stream.write("more").await {
            break error;
        }
    };
    assert!(refused.is_disconnect() && stream.is_closed());
    assert_eq!(stream.read_bytes(8).await.unwrap(), "too much");
    assert!(stream.read_bytes(1).await.unwrap_err().is_disconnect());
}

#[test]
fn io33_what_the_peer_said_last_can_be_read_although_a_write_met_the_end_first() {
    run(async {
        let (ours, theirs) = tcp_pair();
        read_behind_a_failed_write(IoStream::new(ours).unwrap(), theirs).await;
        let (ours, theirs) = UnixStream::pair().unwrap();
        read_behind_a_failed_write(IoStream::new(ours).unwrap(), theirs).await;
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn io39_the_classes_of_a_peer_that_went_away_are_told_from_other_failures() {
    use iostream::{CloseReason, StreamError};
    let closed = |kind: ErrorKind| {
        StreamError::Closed(CloseReason::Io(std::sync::Arc::new(std::io::Error::from(kind))))
    };
    let went_away = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::TimedOut,
    ];
    assert!(went_away.into_iter().all(|kind| closed(kind).is_disconnect()));
    let others = [ErrorKind::PermissionDenied, ErrorKind::StorageFull, ErrorKind::Other];
    assert!(!others.into_iter().any(|kind| closed(kind).is_disconnect()));
    let ours = [CloseReason::Local, CloseReason::WriteAbandoned, CloseReason::ReadBufferFull(1)];
    assert!(!ours.into_iter().any(|reason| StreamError::Closed(reason).is_disconnect()));
}

#[test]
fn io5_a_stream_sets_no_option_and_reads_nothing_until_somebody_reads() {
    run(async {
        let (ours, mut theirs) = tcp_pair();
        let shared = ours.try_clone().unwrap();
        let stream = IoStream::new(ours).unwrap();
        theirs.write_all(b"early").unwrap();
        for _ in 0..3 {
            ioloop::yield_now().await;
        }
        assert!(!shared.nodelay().unwrap());
        shared.set_nonblocking(false).unwrap();
        let mut untouched = [0; 5];
        assert_eq!(shared.peek(&mut untouched).unwrap(), 5);
        shared.set_nonblocking(true).unwrap();
        assert_eq!(stream.buffered(), 0);
        assert_eq!(stream.read_bytes(5).await.unwrap(), "early");
    });
}

#[test]
fn io40_nodelay_is_set_for_tcp_and_the_descriptor_can_be_had_while_the_stream_is_open() {
    run(async {
        let (ours, _theirs) = tcp_pair();
        let shared = ours.try_clone().unwrap();
        let stream = IoStream::new(ours).unwrap();
        for nodelay in [true, false] {
            stream.set_nodelay(nodelay).unwrap();
            assert_eq!(shared.nodelay().unwrap(), nodelay);
        }
        let through = stream.with_descriptor(|descriptor| {
            TcpStream::from(descriptor.try_clone_to_owned().unwrap()).local_addr().unwrap()
        });
        assert_eq!(through, stream.local_addr());
        stream.close();
        assert!(stream.with_descriptor(|_| ()).is_none());
    });
}

#[test]
fn io18_a_reset_behind_data_is_an_error_and_the_data_stays() {
    run(async {
        let (stream, peer) = tcp(|mut peer| {
            peer.write_all(b"so far").unwrap();
            reset(peer);
        });
        stream.write("unread").await.unwrap();
        peer.join().unwrap();
        assert_failed_with(stream.read_until_close().await, ErrorKind::ConnectionReset);
        // Linux keeps what came before a reset, others drop it; what was read is not lost either way.
        let kept = stream.take_buffered(100);
        assert!(kept == "so far" || kept.is_empty(), "{kept:?}");
    });
}

#[test]
fn a_reset_after_the_end_of_the_peers_side_is_noticed_without_reading() {
    run(async {
        let (stream, peer) = tcp(|peer| {
            peer.shutdown(Shutdown::Write).unwrap();
            reset(peer);
        });
        assert_end_of_stream(stream.read_bytes(1).await);
        assert!(support::poll_once(stream.closed()).await.is_none());
        stream.write("unread").await.unwrap();
        stream.closed().await;
        assert!(stream.is_peer_gone());
        peer.join().unwrap();
    });
}

#[test]
fn a_shutdown_lets_the_last_answer_arrive_although_the_client_goes_on_sending() {
    run(async {
        let (stream, peer) = tcp(|mut peer| {
            peer.write_all(&noise(3 << 20)).unwrap(); // more than the kernel's buffers hold
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).map(|_| answer)
        });
        stream.read_bytes(100).await.unwrap();
        drop(stream.write("413 too large"));
        stream.shutdown(AT_MOST).await.unwrap();
        assert_eq!(peer.join().unwrap().unwrap(), b"413 too large");
    });
}

/// With both sides ended the kernel says that the connection is gone, whatever is still to be read of it.
#[test]
fn a_shutdown_leaves_the_rest_to_a_task_that_reads() {
    run(async {
        let (ours, mut theirs) = tcp_pair();
        let stream = IoStream::new(ours).unwrap();
        let reading = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                let mut bytes = 0;
                while let Ok(piece) = stream.read_partial(1000).await {
                    bytes += piece.len();
                    support::turns(3).await;
                }
                bytes
            }
        });
        support::turns(2).await;
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown(AT_MOST).await }
        });
        support::turns(2).await;
        theirs.write_all(&[b'x'; 200_000]).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reading.await.unwrap(), 200_000);
        ending.await.unwrap().unwrap();
    });
}

#[test]
fn io42_io25_connect_write_and_read_as_futures() {
    // Tornado's test_future_interface.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let peer = thread::spawn(move || echo_until_end(listener.accept().unwrap().0));
    run(async {
        let stream = IoStream::connect(addr).await.unwrap();
        assert_eq!(stream.peer_addr(), Some(addr));
        talk(&stream).await;
    });
    peer.join().unwrap();
}

#[test]
fn io29_what_is_written_while_connecting_goes_out_when_the_connection_stands() {
    // Tornado's test_write_while_connecting.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let peer = thread::spawn(move || echo_until_end(listener.accept().unwrap().0));
    run(async {
        let stream = IoStream::new(mio::net::TcpStream::connect(addr).unwrap()).unwrap();
        stream.write("early").await.unwrap();
        assert_eq!(stream.read_bytes(5).await.unwrap(), "early");
    });
    peer.join().unwrap();
}

#[test]
fn io44_what_is_read_while_connecting_waits_for_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    run(async {
        let stream = IoStream::new(mio::net::TcpStream::connect(addr).unwrap()).unwrap();
        let mut reading = std::pin::pin!(stream.read_bytes(5));
        assert!(support::poll_once(reading.as_mut()).await.is_none());
        let peer = thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
        assert_eq!(reading.await.unwrap(), "hello");
        peer.join().unwrap();
    });
}

#[test]
fn io42_connect_unix_reaches_a_path_and_an_abstract_name_and_does_not_wait_for_a_server_that_is_full() {
    let unique = format!("iostream-connect-{}", std::process::id());
    let path = std::env::temp_dir().join(&unique);
    run(async {
        let listener = UnixListener::bind(&path).unwrap();
        let stream = IoStream::connect_unix(&path).await.unwrap();
        let peer = thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || echo_until_end(listener.accept().unwrap().0)
        });
        talk(&stream).await;
        peer.join().unwrap();

        rustix::net::listen(&listener, 0).unwrap();
        let _queued = IoStream::connect_unix(&path).await.unwrap();
        assert_failed_with(IoStream::connect_unix(&path).await, ErrorKind::WouldBlock);
        drop(listener);
        assert_failed_with(IoStream::connect_unix(&path).await, ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        assert_failed_with(IoStream::connect_unix(&path).await, ErrorKind::NotFound);

        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            let name = std::os::unix::net::SocketAddr::from_abstract_name(&unique).unwrap();
            let listener = UnixListener::bind_addr(&name).unwrap();
            let peer = thread::spawn(move || echo_until_end(listener.accept().unwrap().0));
            talk(&IoStream::connect_unix(format!("\0{unique}")).await.unwrap()).await;
            peer.join().unwrap();
        }
    });
}

#[test]
fn io43_a_refused_connection_says_so() {
    let addr: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    run(async {
        assert_failed_with(IoStream::connect(addr).await, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn io41_a_stream_that_is_dropped_closes_its_socket() {
    run(async {
        let (stream, peer) = tcp(|mut peer| peer.read(&mut [0; 10]).unwrap());
        drop(stream);
        assert_eq!(peer.join().unwrap(), 0, "the peer sees the end");
    });
}

/// Whether this is how a stream says that its loop has closed.
fn is_of_closed_loop(error: &StreamError) -> bool {
    let StreamError::Closed(CloseReason::Io(error)) = error else { return false };
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .is_some_and(|inner| matches!(inner, RunError::Closed))
}

#[test]
fn who_waits_on_a_stream_that_has_outlived_its_loop_is_told_and_what_was_read_stays() {
    let ((ours, mut theirs), (full, takes_nothing)) = (tcp_pair(), tcp_pair());
    let (reader, writer, watched) = run(async {
        let [reader, writer] = [ours, full].map(|socket| IoStream::new(socket).unwrap());
        assert!(poll_once(reader.read_bytes(1)).await.is_none(), "it has asked to be told");
        theirs.write_all(b"one\ntwo").unwrap();
        assert_eq!(reader.read_until(b"\n").await.unwrap(), "one\n");
        assert!(poll_once(writer.write(vec![0; 64 << 20])).await.is_none(), "there is no room");
        let (watched, other) = UnixStream::pair().unwrap();
        let watched = IoStream::new(watched).unwrap();
        assert!(poll_once(watched.closed()).await.is_none());
        (reader, writer, (watched, other))
    });
    theirs.write_all(b"three").unwrap();
    run(async {
        assert_eq!(reader.read_bytes(3).await.unwrap(), "two");
        assert!(is_of_closed_loop(&reader.read_bytes(1).await.unwrap_err()));
        assert!(is_of_closed_loop(&writer.flush().await.unwrap_err()));
        watched.0.closed().await;
        assert!(watched.0.is_closed());
    });
    drop(takes_nothing);
}

#[test]
fn io1_a_socket_of_the_standard_library_is_made_non_blocking() {
    run(async {
        let (ours, _theirs) = tcp_pair();
        let stream = IoStream::new(ours).unwrap();
        assert!(support::poll_once(stream.read_bytes(1)).await.is_none(), "a blocking read would hang here");
    });
}
