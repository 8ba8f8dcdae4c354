//! Reading by length, whole or what there is (IO2, IO10-IO12).

mod support;

use ioloop::IoLoop;
use iostream::{StreamError, StreamOptions};
use support::{
    assert_closed_here, assert_end_of_stream, in_every_way, noise, run, stream, stream_with, turns,
};

#[test]
fn io12_exactly_as_many_bytes_as_asked_for_however_they_arrive() {
    in_every_way(b"abcdefghij", async |stream| {
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "d");
        assert_eq!(stream.read_bytes(0).await.unwrap(), "");
        assert_eq!(stream.read_bytes(6).await.unwrap(), "efghij");
        assert_end_of_stream(stream.read_bytes(1).await);
    });
}

#[test]
fn io11_zero_bytes_take_nothing_and_never_wait_even_on_a_closed_stream() {
    run(async {
        let (stream, script) = stream();
        assert_eq!(stream.read_bytes(0).await.unwrap(), "");
        assert_eq!(stream.read_partial(0).await.unwrap(), "");
        assert_eq!(script.calls().reads, 0);
        stream.close();
        assert_eq!(stream.read_bytes(0).await.unwrap(), "");
        assert_eq!(stream.read_partial(0).await.unwrap(), "");
        assert_closed_here(stream.read_bytes(1).await);
        assert_closed_here(stream.read_partial(1).await);
    });
}

#[test]
fn io21_the_end_before_enough_bytes_is_an_error_and_a_smaller_read_still_gets_them() {
    in_every_way(b"abc", async |stream| {
        assert_end_of_stream(stream.read_bytes(4).await);
        assert_eq!(stream.read_bytes(2).await.unwrap(), "ab");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "c");
    });
}

#[test]
fn io12_a_partial_read_gives_what_there_is_and_keeps_the_surplus() {
    run(async {
        let (stream, script) = stream();
        script.send("hello");
        assert_eq!(stream.read_partial(50).await.unwrap(), "hello");
        script.send("worlds");
        assert_eq!(stream.read_partial(5).await.unwrap(), "world");
        assert_eq!(stream.read_partial(5).await.unwrap(), "s");
        script.finish();
        assert_end_of_stream(stream.read_partial(5).await);
    });
}

#[test]
fn io12_a_partial_read_waits_for_the_first_byte() {
    run(async {
        let (stream, script) = stream();
        let reader = {
            let stream = stream.clone();
            IoLoop::current().spawn(async move { stream.read_partial(10).await })
        };
        turns(3).await;
        assert!(stream.is_reading());
        script.send("x");
        assert_eq!(reader.await.unwrap().unwrap(), "x");
        assert!(!stream.is_reading());
    });
}

#[test]
fn more_than_the_buffer_holds_is_refused_at_once_and_the_stream_stays_as_it_was() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_buffer_size(10));
        script.send("0123456789");
        let result = stream.read_bytes(11).await;
        assert!(matches!(result, Err(StreamError::ReadTooLarge { asked: 11, limit: 10 })), "{result:?}");
        assert_eq!(script.calls().reads, 0);
        assert_eq!(stream.read_bytes(10).await.unwrap(), "0123456789");
    });
}

#[test]
fn io10_no_more_is_read_than_one_chunk_beyond_what_satisfies() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().read_chunk_size(100));
        script.send(vec![b'x'; 1000]);
        stream.read_bytes(150).await.unwrap();
        assert_eq!((script.calls().reads, stream.buffered()), (2, 50));
    });
}

#[test]
fn io10_no_read_takes_more_from_the_peer_than_it_needs_but_for_the_rest_of_a_chunk() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().read_chunk_size(100));
        script.send([vec![b'x'; 149], vec![b'\n'; 1], vec![b'y'; 850]].concat());
        assert_eq!(stream.read_partial(10).await.unwrap().len(), 10);
        assert_eq!((script.calls().reads, stream.buffered()), (1, 90));
        assert_eq!(stream.read_until(b"\n").await.unwrap().len(), 140);
        assert_eq!((script.calls().reads, stream.buffered()), (2, 50));
        assert!(stream.read_until_max(b"\n", 120).await.is_err());
        assert_eq!((script.calls().reads, stream.buffered()), (3, 150));
        assert_eq!(stream.read_into(&mut [0; 150]).await.unwrap(), 150);
        assert_eq!(stream.read_into(&mut [0; 30]).await.unwrap(), 30);
        assert_eq!((script.calls().reads, stream.buffered()), (4, 0), "straight into the target");
    });
}

#[test]
fn a_large_amount_goes_through_a_small_buffer_in_small_reads() {
    // Tornado's test_small_reads_from_large_buffer and test_small_read_untils_from_large_buffer.
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_buffer_size(10_000));
        let mut line = vec![b'a'; 99];
        line.push(b'\n');
        script.send(line.repeat(1_000));
        for round in 0..1_000 {
            let read =
                if round % 2 == 0 { stream.read_bytes(100).await } else { stream.read_until(b"\n").await };
            assert_eq!(read.unwrap(), line);
            assert!(stream.buffered() <= 10_000);
        }
    });
}

#[test]
fn io5_a_slow_reader_gets_everything_and_what_it_has_not_asked_for_stays_with_the_peer() {
    // Tornado's test_flow_control: 10 MB through a buffer of 5 MB.
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_buffer_size(5 << 20));
        let data = noise(10 << 20);
        script.send(&data);
        script.finish();
        for part in data.chunks(1 << 20) {
            let reads = script.calls().reads;
            turns(3).await;
            assert_eq!(script.calls().reads, reads, "nobody asked");
            assert!(stream.read_bytes(1 << 20).await.unwrap() == part);
        }
        assert_end_of_stream(stream.read_bytes(1).await);
    });
}

#[test]
fn what_the_kernel_holds_when_the_peer_closes_is_still_read() {
    // Tornado's test_close_buffered_data.
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().read_chunk_size(256));
        script.send([b'A'; 512]);
        assert_eq!(stream.read_bytes(256).await.unwrap(), vec![b'A'; 256]);
        script.finish();
        turns(3).await;
        assert_eq!(stream.read_bytes(256).await.unwrap(), vec![b'A'; 256]);
        assert_end_of_stream(stream.read_bytes(1).await);
    });
}

#[test]
fn a_buffer_that_is_exactly_consumed_gives_its_memory_back_however_large_it_was() {
    run(async {
        let (stream, script) = stream();
        script.send(vec![1; 20 << 20]);
        stream.read_bytes(1 << 20).await.unwrap();
        while stream.buffered() < 5 << 20 {
            stream.fill().await.unwrap();
        }
        stream.consume(usize::MAX);
        assert_eq!((stream.buffered(), iostream::leased_blocks()), (0, 0));
    });
}
