//! A stream that is taken apart loses nothing, and one that cannot be stays as it was.

mod support;

use std::any::Any;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, Registration};
use iostream::testing::Scripted;
use iostream::{CloseReason, DetachError, DetachedTransport, IoStream, StreamError, Transport};
use support::{poll_once, stream, turns};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

#[test]
fn a_tcp_stream_gives_its_socket_back_with_what_was_read_and_not_taken() {
    let io_loop = IoLoop::new().unwrap();
    let (ours, mut peer) = tcp_pair();
    let parts = io_loop.run_sync_timeout(AT_MOST, async {
        let stream = IoStream::new(ours).unwrap();
        let waits = poll_once(stream.read_until(b"\n")).await; // so that the socket is registered
        assert!(waits.is_none());
        peer.write_all(b"line\nrest").unwrap();
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "line\n");
        stream.write("answer\n").await.unwrap();
        let parts = stream.detach().unwrap();
        assert!(matches!(stream.read_bytes(1).await, Err(StreamError::Closed(CloseReason::Detached))));
        assert!(matches!(stream.detach(), Err(DetachError::Closed(CloseReason::Detached))));
        parts
    });
    let parts = parts.unwrap();
    assert_eq!(parts.unread, "rest");
    assert_eq!(io_loop.counters().sources, 0);
    let DetachedTransport::Tcp(mut socket) = parts.transport else { panic!("{:?}", parts.transport) };
    socket.set_nonblocking(false).unwrap();
    socket.write_all(b"more").unwrap();
    drop(socket);
    let mut received = String::new();
    peer.read_to_string(&mut received).unwrap();
    assert_eq!(received, "answer\nmore");
}

#[test]
fn a_socket_that_was_taken_out_makes_a_new_stream_on_the_same_loop() {
    let run = IoLoop::new().unwrap().run_sync_timeout(AT_MOST, async {
        let (ours, mut peer) = tcp_pair();
        let mut stream = IoStream::new(ours).unwrap();
        for _ in 0..3 {
            assert!(poll_once(stream.read_bytes(1)).await.is_none()); // registers
            stream = IoStream::new(stream.detach().unwrap().transport).unwrap();
        }
        let reader = stream.clone();
        let waiting = IoLoop::current().spawn(async move { reader.read_bytes(2).await });
        turns(2).await;
        peer.write_all(b"hi").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "hi");
    });
    run.unwrap();
}

#[cfg(unix)]
#[test]
fn a_unix_socket_comes_back_too() {
    let run = IoLoop::new().unwrap().run_sync_timeout(AT_MOST, async {
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let stream = IoStream::new(ours).unwrap();
        let DetachedTransport::Unix(mut socket) = stream.detach().unwrap().transport else { panic!() };
        drop(stream);
        socket.write_all(b"alive").unwrap();
        let mut received = [0; 5];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"alive");
    });
    run.unwrap();
}

#[test]
fn a_transport_of_ones_own_comes_back_as_what_it_was() {
    support::run(async {
        let (stream, script) = stream();
        assert!(poll_once(stream.read_bytes(1)).await.is_none());
        script.send("one two");
        assert_eq!(stream.read_bytes(4).await.unwrap(), "one ");
        let parts = stream.detach().unwrap();
        assert_eq!(parts.unread, "two");
        let DetachedTransport::Other(transport) = parts.transport else { panic!() };
        assert!(!script.is_closed());
        let transport = (transport as Box<dyn Any>).downcast::<Scripted>().unwrap();
        let again = IoStream::new(transport).unwrap();
        assert!(poll_once(again.read_bytes(1)).await.is_none());
        script.send("three");
        assert_eq!(again.read_bytes(5).await.unwrap(), "three");
        // A box whose type is not known makes a stream as well.
        let DetachedTransport::Other(transport) = again.detach().unwrap().transport else { panic!() };
        let again = IoStream::new(transport).unwrap();
        script.send("four");
        assert_eq!(again.read_bytes(4).await.unwrap(), "four");
    });
}

#[test]
fn a_stream_that_others_hold_or_that_is_at_work_stays_whole() {
    support::run(async {
        let (stream, script) = stream();
        let other = stream.clone();
        assert!(matches!(stream.detach(), Err(DetachError::Shared)));
        drop(other);

        script.set_room(Some(2));
        let mut unsent = stream.write("abc");
        assert!(poll_once(&mut unsent).await.is_none());
        assert!(matches!(stream.detach(), Err(DetachError::Unsent(1))));
        script.set_room(None);
        unsent.await.unwrap();

        let mut reading = Box::pin(stream.read_bytes(1));
        assert!(poll_once(&mut reading).await.is_none());
        assert!(matches!(stream.detach(), Err(DetachError::Busy)));
        script.send("x");
        assert_eq!(reading.await.unwrap(), "x");

        stream.detach().unwrap();
        assert_eq!(script.received(), b"abc");
    });
}

#[test]
fn a_close_callback_is_dropped_and_a_wait_for_the_end_is_done() {
    support::run(async {
        let (stream, _script) = stream();
        let called = Rc::new(Cell::new(false));
        let call = Rc::clone(&called);
        stream.set_close_callback(Some(Box::new(move || call.set(true))));
        let mut closed = Box::pin(stream.closed());
        assert!(poll_once(&mut closed).await.is_none());
        let _parts = stream.detach().unwrap();
        closed.await;
        turns(3).await;
        assert!(!called.get());
        assert_eq!(Rc::strong_count(&called), 1);
    });
}

struct Clinging(Box<Scripted>);

impl Transport for Clinging {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        self.0.attach(registration)
    }
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown_write()
    }
}

#[test]
fn a_transport_that_cannot_be_detached_stays_in_its_stream() {
    support::run(async {
        let (transport, script) = iostream::testing::scripted();
        let stream = IoStream::new(Box::new(Clinging(transport))).unwrap();
        assert!(poll_once(stream.read_bytes(1)).await.is_none());
        let refused = stream.detach().unwrap_err();
        assert!(
            matches!(refused, DetachError::Transport(cause) if cause.kind() == io::ErrorKind::Unsupported)
        );
        script.send("on");
        assert_eq!(stream.read_bytes(2).await.unwrap(), "on");
    });
}

#[cfg(unix)]
#[test]
fn a_pair_of_pipes_comes_out_and_works_in_another_stream() {
    let run = IoLoop::new().unwrap().run_sync_timeout(AT_MOST, async {
        let (reader, mut their_writer) = io::pipe().unwrap();
        let (mut their_reader, writer) = io::pipe().unwrap();
        let mut stream = IoStream::new((reader, writer)).unwrap();
        for _ in 0..2 {
            assert!(poll_once(stream.read_bytes(1)).await.is_none());
            stream = IoStream::new(stream.detach().unwrap().transport).unwrap();
        }
        their_writer.write_all(b"in").unwrap();
        assert_eq!(stream.read_bytes(2).await.unwrap(), "in");
        stream.write("out").await.unwrap();
        drop(stream);
        let mut received = String::new();
        their_reader.read_to_string(&mut received).unwrap();
        assert_eq!(received, "out");
    });
    run.unwrap();
}
