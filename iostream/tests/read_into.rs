//! Reading into the caller's memory (IO11, IO13).

mod support;

use iostream::{StreamError, StreamOptions, leased_blocks};
use support::{assert_closed_here, assert_end_of_stream, in_every_way, run, stream, stream_with};

#[test]
fn io13_what_is_buffered_comes_first_then_what_the_transport_has() {
    run(async {
        let (stream, script) = stream();
        script.send("abcdef");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "a");
        let mut target = [0; 10];
        assert_eq!(stream.read_into(&mut target[..3]).await.unwrap(), 3);
        assert_eq!(&target[..3], b"bcd");
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 2, "never more than one of the two");
        assert_eq!(&target[..2], b"ef");
        script.send("ghi");
        assert_eq!(stream.read_into(&mut target[..2]).await.unwrap(), 2);
        assert_eq!(stream.read_into(&mut target[2..]).await.unwrap(), 1);
        assert_eq!(&target[..3], b"ghi");
    });
}

#[test]
fn io13_from_the_transport_it_goes_to_the_target_without_a_block_in_between() {
    run(async {
        let (stream, script) = stream();
        script.send([7; 100]);
        let mut target = [0; 60];
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 60);
        assert_eq!((leased_blocks(), stream.buffered()), (0, 0));
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 40);
        assert_eq!(script.calls().reads, 2);
    });
}

#[test]
fn io13_bytes_come_in_order_however_they_arrive_and_the_end_is_an_error() {
    in_every_way(b"abcdefghij", async |stream| {
        let (mut target, mut filled) = ([0; 16], 0);
        loop {
            match stream.read_into(&mut target[filled..][..3]).await {
                Ok(n) => filled += n,
                end => break assert_end_of_stream(end),
            }
        }
        assert_eq!(&target[..filled], b"abcdefghij");
    });
}

#[test]
fn io11_an_empty_target_is_filled_at_once_even_on_a_closed_stream() {
    run(async {
        let (stream, script) = stream();
        assert_eq!(stream.read_into(&mut []).await.unwrap(), 0);
        stream.read_exact(&mut []).await.unwrap();
        assert_eq!(script.calls().reads, 0);
        stream.close();
        assert_eq!(stream.read_into(&mut []).await.unwrap(), 0);
        assert_closed_here(stream.read_into(&mut [0]).await);
    });
}

#[test]
fn io13_an_exact_read_fills_its_target_or_touches_nothing() {
    in_every_way(b"abcdefgh", async |stream| {
        let mut target = [b'-'; 5];
        stream.read_exact(&mut target).await.unwrap();
        assert_eq!(&target, b"abcde");
        assert_end_of_stream(stream.read_exact(&mut target).await);
        assert_eq!(&target, b"abcde");
        assert_eq!(stream.read_until_close().await.unwrap(), "fgh");
    });
}

#[test]
fn io13_a_target_larger_than_the_buffer_is_refused_up_front() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_buffer_size(4));
        script.send("abcde");
        let result = stream.read_exact(&mut [0; 5]).await;
        assert!(matches!(result, Err(StreamError::ReadTooLarge { asked: 5, limit: 4 })), "{result:?}");
        let mut target = [0; 5];
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 5, "this one needs no buffer");
    });
}

#[test]
fn every_way_of_reading_counts_the_bytes_that_the_transport_gave() {
    run(async {
        let (stream, script) = stream();
        assert_eq!(stream.bytes_received(), 0);
        script.send("line\nabcdef");
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "line\n");
        assert_eq!(stream.bytes_received(), 11, "what is buffered has been received");
        let mut target = [0; 10];
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 6);
        assert_eq!(stream.bytes_received(), 11, "and is not counted again");
        script.send("ghi");
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 3);
        script.finish();
        assert_eq!(stream.fill().await.unwrap(), 0);
        stream.close();
        assert_eq!(stream.bytes_received(), 14);
    });
}
