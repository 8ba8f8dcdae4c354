//! Giving up: a future that is dropped has taken nothing and is in nobody's way (IO6, IO9, invariant 3).

mod support;

use std::time::Duration;

use ioloop::{IoLoop, timeout};
use iostream::{IoStream, StreamError, leased_blocks};
use support::{assert_closed_here, poll_once, run, stream, turns};

const SECOND: Duration = Duration::from_secs(1);

/// Begins every kind of read that cannot be satisfied yet, and gives it up.
async fn give_up_every_read(stream: &IoStream) {
    assert!(poll_once(stream.read_until(b"\r\n")).await.is_none());
    assert!(poll_once(stream.read_until_max(b"\r\n", 50)).await.is_none());
    assert!(poll_once(stream.read_bytes(14)).await.is_none());
    assert!(poll_once(stream.read_exact(&mut [0; 14])).await.is_none());
    assert!(poll_once(stream.read_until_close()).await.is_none());
    assert!(poll_once(stream.fill()).await.is_none());
    if stream.buffered() == 0 {
        assert!(poll_once(stream.read_partial(5)).await.is_none());
        assert!(poll_once(stream.read_into(&mut [0; 5])).await.is_none());
    }
    assert!(!stream.is_reading());
}

#[test]
fn io9_reads_that_are_given_up_after_every_byte_take_nothing() {
    run(async {
        let (stream, script) = stream();
        let text = b"hello, world\r";
        for byte in text {
            give_up_every_read(&stream).await;
            script.send([*byte]);
            turns(2).await;
            give_up_every_read(&stream).await;
        }
        assert_eq!(stream.buffered(), text.len());
        script.send("\nnext");
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "hello, world\r\n");
        assert_eq!(stream.read_bytes(4).await.unwrap(), "next");
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn io9_a_read_that_timed_out_leaves_everything_to_the_next() {
    // Tornado's issue 1334: there the next read is "already reading" and the bytes are lost.
    run(async {
        let (stream, script) = stream();
        script.send("half a li");
        assert!(timeout(SECOND, stream.read_until(b"\n")).await.is_err());
        script.send("ne\n");
        assert_eq!(timeout(SECOND, stream.read_until(b"\n")).await.unwrap().unwrap(), "half a line\n");
    });
}

#[test]
fn io9_a_reader_that_gave_up_is_in_nobodys_way() {
    run(async {
        let (stream, script) = stream();
        let first = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { timeout(SECOND, stream.read_bytes(1)).await.is_err() }
        });
        assert!(first.await.unwrap());
        let second = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(1).await }
        });
        turns(2).await;
        script.send("x");
        assert_eq!(second.await.unwrap().unwrap(), "x");
    });
}

#[test]
fn io9_a_task_that_is_aborted_while_it_reads_frees_the_stream() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_until_close().await }
        });
        script.send("abc");
        turns(3).await;
        assert!(stream.is_reading());
        reader.abort();
        turns(1).await;
        assert!(!stream.is_reading());
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
    });
}

#[test]
fn io6_a_second_read_is_refused_and_does_not_disturb_the_first() {
    run(async {
        let (stream, script) = stream();
        let first = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(3).await }
        });
        turns(2).await;
        for _ in 0..2 {
            assert!(matches!(stream.read_until(b"\n").await, Err(StreamError::AlreadyReading)));
            assert!(matches!(stream.read_bytes(1).await, Err(StreamError::AlreadyReading)));
            assert!(matches!(stream.read_into(&mut [0]).await, Err(StreamError::AlreadyReading)));
            assert!(matches!(stream.fill().await, Err(StreamError::AlreadyReading)));
        }
        assert!(stream.is_reading());
        script.send("abc");
        assert_eq!(first.await.unwrap().unwrap(), "abc");
    });
}

#[test]
fn io6_on_a_closed_stream_closed_comes_first() {
    run(async {
        let (stream, _script) = stream();
        let first = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(3).await }
        });
        turns(2).await;
        stream.close();
        assert_closed_here(stream.read_bytes(1).await);
        assert_closed_here(first.await.unwrap());
    });
}

#[test]
fn one_task_reads_while_another_writes_and_either_may_give_up() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        let writer = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                assert!(timeout(SECOND, stream.write("one ")).await.is_err());
                assert!(timeout(SECOND, stream.flush()).await.is_err());
                stream.write("two").await
            }
        });
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                assert!(timeout(SECOND * 3, stream.read_bytes(1)).await.is_err());
                stream.read_bytes(1).await
            }
        });
        ioloop::sleep(SECOND * 5).await;
        script.send("x");
        assert_eq!(reader.await.unwrap().unwrap(), "x");
        script.set_room(None);
        writer.await.unwrap().unwrap();
        assert_eq!(script.received(), b"one two");
    });
}
