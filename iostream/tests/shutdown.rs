//! Ending in good order: everything is sent, the peer is told, and its last bytes do not become a reset.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, Registration, timeout};
use iostream::testing::{Scripted, scripted};
use iostream::{IoStream, Transport};
use support::{assert_closed_here, assert_failed_with, poll_once, run, stream, turns};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn it_sends_everything_ends_its_side_waits_for_the_peers_and_closes() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("the rest"));
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown(SECOND).await }
        });
        turns(3).await;
        assert!(!script.is_shut());
        script.set_room(None);
        turns(3).await;
        assert_eq!(script.received(), b"the rest");
        assert!(script.is_shut() && !script.is_closed());
        script.send("what the peer still has to say");
        turns(3).await;
        assert_eq!(stream.buffered(), 0, "it is read and dropped");
        script.finish();
        ending.await.unwrap().unwrap();
        assert!(script.is_closed());
    });
}

/// A transport whose end needs room, as that of TLS does.
struct Reluctant {
    wire: Box<Scripted>,
    refusals: Rc<Cell<usize>>,
    attachable: bool,
}

impl Transport for Reluctant {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        if self.attachable { self.wire.attach(registration) } else { Err(ErrorKind::PermissionDenied.into()) }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.read(buffer)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.wire.write(data)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        if self.refusals.get() == 0 {
            return self.wire.shutdown_write();
        }
        self.refusals.set(self.refusals.get() - 1);
        Err(ErrorKind::WouldBlock.into())
    }
}

#[test]
fn a_transport_whose_end_needs_room_is_asked_again_when_there_is_some() {
    run(async {
        let (wire, script) = scripted();
        let refusals = Rc::new(Cell::new(3));
        let transport = Reluctant { wire, refusals: Rc::clone(&refusals), attachable: true };
        let stream = IoStream::new(Box::new(transport)).unwrap();
        script.set_room(Some(0));
        let ending = IoLoop::current().spawn(async move { stream.shutdown_write().await });
        for left in [2, 1, 0] {
            turns(5).await;
            assert_eq!((refusals.get(), script.is_shut()), (left, false), "asked once for each event");
            script.set_room(Some(1));
        }
        ending.await.unwrap().unwrap();
        assert!(script.is_shut());
    });
}

#[test]
fn who_has_given_up_waiting_for_that_room_may_ask_again() {
    run(async {
        let (wire, script) = scripted();
        let transport = Reluctant { wire, refusals: Rc::new(Cell::new(2)), attachable: true };
        let stream = IoStream::new(Box::new(transport)).unwrap();
        assert!(poll_once(stream.shutdown_write()).await.is_none());
        assert!(poll_once(stream.shutdown_write()).await.is_none(), "the end has not been told");
        let ending = IoLoop::current().spawn(async move { stream.shutdown_write().await });
        turns(5).await;
        ending.await.unwrap().unwrap();
        assert!(script.is_shut());
    });
}

#[test]
fn who_waits_for_that_room_hears_of_a_stream_that_closes_over_it() {
    run(async {
        let (wire, _script) = scripted();
        let transport = Reluctant { wire, refusals: Rc::new(Cell::new(1)), attachable: false };
        let stream = IoStream::new(Box::new(transport)).unwrap();
        assert_failed_with(stream.shutdown_write().await, ErrorKind::PermissionDenied);
    });
}

#[test]
fn there_is_one_deadline_for_all_of_it() {
    for sent_after in [0, 6, 9] {
        let test = VirtualLoop::new();
        test.run(async {
            let (stream, script) = stream();
            script.set_room(Some(0));
            drop(stream.write("x"));
            IoLoop::current().call_later(SECOND * sent_after, {
                let script = script.clone();
                move || script.set_room(None)
            });
            stream.shutdown(SECOND * 10).await.unwrap();
            assert!(script.is_closed());
        });
        assert_eq!(test.elapsed(), SECOND * 10, "the peer never ended its side");
    }
}

#[test]
fn at_the_deadline_it_closes_and_says_if_not_everything_was_sent() {
    let test = VirtualLoop::new();
    test.run(async {
        let (stream, script) = stream();
        script.set_room(Some(1));
        drop(stream.write("xy"));
        assert_closed_here(stream.shutdown(SECOND).await);
        assert!(script.is_closed() && stream.is_closed());
    });
    assert_eq!(test.elapsed(), SECOND);
}

#[test]
fn an_endless_deadline_is_no_accident() {
    run(async {
        let (stream, script) = stream();
        script.finish();
        stream.shutdown(Duration::MAX).await.unwrap();
        assert!(script.is_closed());
    });
}

#[test]
fn a_failure_before_everything_was_sent_is_told() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("x"));
        IoLoop::current().call_later(SECOND, {
            let script = script.clone();
            move || script.reset()
        });
        assert_failed_with(stream.shutdown(SECOND * 5).await, std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_peer_that_sends_for_ever_is_read_until_the_deadline_and_no_longer() {
    let test = VirtualLoop::new();
    test.run(async {
        let (stream, script) = stream();
        let flood = IoLoop::current().spawn({
            let script = script.clone();
            async move {
                loop {
                    script.send([0; 1000]);
                    ioloop::sleep(SECOND / 100).await;
                }
            }
        });
        stream.shutdown(SECOND).await.unwrap();
        flood.abort();
    });
    assert_eq!(test.elapsed(), SECOND);
}

#[test]
fn where_another_task_reads_that_one_gets_the_rest() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_until_close().await }
        });
        turns(2).await;
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown(SECOND).await }
        });
        turns(3).await;
        assert!(script.is_shut() && !stream.is_closed());
        script.send("last words");
        script.finish();
        assert_eq!(reader.await.unwrap().unwrap(), "last words");
        ending.await.unwrap().unwrap();
    });
}

#[test]
fn where_another_task_reads_what_has_come_of_that_is_not_dropped() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_until(b"\n").await }
        });
        script.send("half a ");
        turns(3).await;
        assert_eq!(stream.buffered(), 7);
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown(SECOND).await }
        });
        turns(3).await;
        script.send("line\n");
        script.finish();
        assert_eq!(reader.await.unwrap().unwrap(), "half a line\n");
        drop(stream); // nobody reads on
        ending.await.unwrap().unwrap();
    });
}

/// Its end is known as soon as it has come, and it lies behind more than is read in one turn.
#[test]
fn where_another_task_reads_that_one_gets_all_of_the_rest_however_long_it_takes() {
    run(async {
        let (stream, script) = stream();
        let reading = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                let mut bytes = 0;
                while let Ok(piece) = stream.read_partial(usize::MAX).await {
                    bytes += piece.len();
                    ioloop::sleep(SECOND).await;
                }
                bytes
            }
        });
        turns(2).await;
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown(3600 * SECOND).await }
        });
        turns(2).await;
        script.send(vec![b'x'; 2_000_000]);
        script.finish();
        assert_eq!(reading.await.unwrap(), 2_000_000);
        ending.await.unwrap().unwrap();
        assert!(script.is_closed());
    });
}

#[test]
fn ending_one_side_refuses_further_writes_and_goes_on_reading() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("all"));
        stream.shutdown_write().await.unwrap();
        assert_eq!(script.received(), b"all");
        assert!(script.is_shut());
        stream.shutdown_write().await.unwrap();
        assert_closed_here(stream.write("more").await);
        assert_closed_here(stream.queue("more"));
        assert!(!stream.is_closed());
        script.send("answer\n");
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "answer\n");
    });
}

#[test]
fn what_others_write_while_one_side_is_ending_is_sent_before_the_end() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("one "));
        let ending = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.shutdown_write().await }
        });
        turns(2).await;
        drop(stream.write("two"));
        script.set_room(Some(4));
        turns(4).await;
        assert!(!script.is_shut());
        script.set_room(None);
        ending.await.unwrap().unwrap();
        assert_eq!(script.received(), b"one two");
        assert!(script.is_shut() && !stream.is_closed());
    });
}

#[test]
fn a_shutdown_that_is_given_up_leaves_the_stream_open() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("x"));
        assert!(poll_once(stream.shutdown(SECOND)).await.is_none());
        assert!(timeout(SECOND, stream.shutdown(SECOND * 9)).await.is_err());
        script.set_room(None);
        stream.write("y").await.unwrap();
        assert_eq!(script.received(), b"xy");
        script.finish();
        stream.shutdown(SECOND).await.unwrap();
    });
}
