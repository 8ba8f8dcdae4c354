//! What is sent before it is queued: large pieces, and what is to leave now (IO24).

mod support;

use std::io::ErrorKind;

use bytes::Bytes;
use iostream::{StreamOptions, buffered_bytes, leased_blocks};
use support::{assert_closed_here, assert_failed_with, noise, poll_once, run, stream, stream_with, turns};

/// Larger than what is gathered.
const LARGE: usize = 50_000;

#[test]
fn io24_a_large_write_is_sent_at_once_and_what_finds_no_room_waits_where_it_is() {
    run(async {
        let (stream, script) = stream();
        let data = Bytes::from(noise(LARGE));
        script.set_room(Some(45_000));
        let write = stream.write(data.clone());
        assert_eq!((script.calls().writes, stream.bytes_sent(), stream.pending()), (1, 45_000, 5_000));
        assert!(!data.is_unique(), "the stream holds it, not a copy");
        turns(3).await;
        assert_eq!(
            script.calls().writes,
            2,
            "a transport that does not say that it is full is asked once more"
        );
        script.set_room(None);
        write.await.unwrap();
        assert!(data.is_unique());
        assert!(script.received() == data);
        assert_eq!((stream.pending(), leased_blocks()), (0, 0));
    });
}

#[test]
fn io24_what_is_to_leave_now_leaves_now_and_takes_no_memory() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write_now(b"now"));
        assert_eq!((script.received(), script.calls().writes), (b"now".to_vec(), 1));
        assert_eq!((stream.is_writing(), leased_blocks()), (false, 0));
        stream.write_now(b" and again").await.unwrap();
        assert_eq!(script.calls().writes, 2);
        turns(2).await;
        assert_eq!(script.calls().writes, 2, "the end of the turn has nothing to add");
        assert_eq!((script.received(), stream.bytes_sent()), (b" and again".to_vec(), 13));
    });
}

#[test]
fn io25_what_the_kernel_does_not_take_now_is_copied_and_keeps_its_place() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(4));
        let mut memory = b"first ".to_vec();
        let first = stream.write_now(&memory);
        memory.fill(b'?');
        let second = stream.write_now(b"second ");
        assert_eq!((stream.bytes_sent(), stream.pending()), (4, 9));
        let mut third = stream.write("third");
        assert!(poll_once(&mut third).await.is_none());
        script.set_room(None);
        first.await.unwrap();
        second.await.unwrap();
        third.await.unwrap();
        assert_eq!(script.received(), b"first second third");
    });
}

#[test]
fn io24_behind_what_waits_both_are_queued_and_leave_together() {
    run(async {
        let (stream, script) = stream();
        let body = Bytes::from(noise(LARGE));
        drop(stream.write("head "));
        drop(stream.write_now(b"more "));
        drop(stream.write(body.clone()));
        assert_eq!(script.calls().writes, 0);
        turns(1).await;
        assert_eq!(script.calls().writes, 1);
        assert!(script.received() == [b"head more ", &body[..]].concat());
    });
}

#[test]
fn io26_nothing_to_write_now_is_a_barrier() {
    run(async {
        let (stream, script) = stream();
        stream.write_now(b"").await.unwrap();
        assert_eq!(script.calls().writes, 0);
        script.set_room(Some(0));
        drop(stream.write_now(b"before"));
        let mut barrier = stream.write_now(b"");
        assert!(poll_once(&mut barrier).await.is_none());
        script.set_room(None);
        barrier.await.unwrap();
        assert_eq!(script.received(), b"before");
    });
}

#[test]
fn io32_it_waits_for_room_like_any_other_write() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(10));
        script.set_room(Some(0));
        drop(stream.write_now(b"0123456789"));
        assert!(!stream.is_closed(), "it found room");
        drop(stream.write_now(b"x"));
        assert!(stream.is_closed(), "it did not, and nobody waits for any");
    });
}

#[test]
fn io33_a_failure_closes_the_stream_and_what_the_peer_had_said_can_be_read() {
    for large in [false, true] {
        run(async {
            let (stream, script) = stream();
            script.send("last words");
            script.fail_behind(ErrorKind::ConnectionReset);
            let write = if large { stream.write(noise(LARGE)) } else { stream.write_now(b"lost") };
            assert!(stream.is_closed());
            assert_failed_with(write.await, ErrorKind::ConnectionReset);
            assert_eq!(stream.pending(), 0);
            assert_eq!(stream.read_bytes(10).await.unwrap(), "last words");
            assert_failed_with(stream.write_now(b"later").await, ErrorKind::ConnectionReset);
        });
    }
}

#[test]
fn io28_on_a_stream_that_is_closed_or_ended_here_nothing_is_sent() {
    run(async {
        let (stream, script) = stream();
        stream.shutdown_write().await.unwrap();
        assert_closed_here(stream.write_now(b"x").await);
        assert_closed_here(stream.write(noise(LARGE)).await);
        stream.close();
        assert_closed_here(stream.write_now(b"x").await);
        assert_eq!((script.calls().writes, script.received()), (0, Vec::new()));
    });
}

#[test]
fn interruptions_and_a_kernel_without_room_lose_nothing() {
    run(async {
        let (stream, script) = stream();
        let data = noise(LARGE);
        script.block(0, 1);
        let write = stream.write(data.clone());
        assert_eq!((script.calls().writes, stream.pending()), (1, LARGE));
        write.await.unwrap();
        assert!(script.received() == data);
    });
}

#[test]
fn io30_it_takes_part_in_the_share_of_the_turn() {
    run(async {
        let (stream, script) = stream();
        let data = Bytes::from(noise(3 << 20));
        let write = stream.write(data.clone());
        let sent = stream.bytes_sent();
        assert!((1 << 20..2 << 20).contains(&sent), "{sent} bytes in one turn");
        drop(stream.write_now(b"end"));
        assert_eq!(stream.bytes_sent(), sent);
        write.await.unwrap();
        stream.flush().await.unwrap();
        assert!(script.received() == [&data[..], b"end"].concat());
    });
}

#[test]
fn the_last_reference_counts_as_memory_of_the_stream_however_little_of_it_waits() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(LARGE - 1));
        drop(stream.write(noise(LARGE)));
        assert_eq!(stream.pending(), 1);
        assert_eq!((stream.held_bytes(), buffered_bytes()), (LARGE, LARGE), "all of it is kept for that");
        script.set_room(None);
        stream.flush().await.unwrap();
        assert_eq!((stream.held_bytes(), buffered_bytes()), (0, 0));
    });
}

#[test]
fn what_a_stream_that_is_dropped_had_left_to_send_is_given_back() {
    let leased = run(async {
        let (stream, script) = stream();
        script.set_room(Some(1));
        let write = stream.write_now(b"abc");
        drop(stream);
        assert_closed_here(write.await);
        leased_blocks()
    });
    assert_eq!(leased, 0);
}
