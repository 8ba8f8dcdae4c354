//! Limits: what is bounded, and what happens exactly there (IO2, IO3, IO20, invariant 7).

mod support;

use std::io::ErrorKind;
use std::rc::Rc;

use iostream::testing::scripted;
use iostream::{CloseReason, IoStream, StreamError, StreamOptions};
use support::{poll_once, run, stream_with, turns};

#[test]
fn io2_a_buffer_that_is_exactly_full_is_allowed() {
    for chunk in [1, 3, 7, 8, 9, 65_536] {
        run(async {
            let options = StreamOptions::new().max_buffer_size(8).read_chunk_size(chunk);
            let (stream, script) = stream_with(options);
            script.send("1234567\n");
            assert_eq!(stream.read_until(b"\n").await.unwrap(), "1234567\n");
            script.send("12345678");
            assert!(poll_once(stream.read_until(b"\n")).await.is_none());
            turns(3).await;
            assert!(poll_once(stream.read_until(b"\n")).await.is_none(), "full, and nothing more has come");
            assert!(!stream.is_closed());
            assert_eq!(stream.read_bytes(8).await.unwrap(), "12345678");
            script.send("12345678");
            script.finish();
            assert_eq!(stream.read_until_close().await.unwrap(), "12345678");
        });
    }
}

#[test]
fn io20_one_byte_more_closes_the_stream_even_if_it_would_have_been_the_delimiter() {
    for chunk in [1, 3, 7, 8, 9, 65_536] {
        run(async {
            let options = StreamOptions::new().max_buffer_size(8).read_chunk_size(chunk);
            let (stream, script) = stream_with(options);
            script.send("12345678\n");
            match stream.read_until(b"\n").await {
                Err(StreamError::Closed(CloseReason::ReadBufferFull(8))) => {}
                other => panic!("chunk {chunk}: {other:?}"),
            }
            assert!(matches!(stream.close_reason(), Some(CloseReason::ReadBufferFull(8))));
            assert!(script.is_closed());
            assert_eq!(stream.buffered(), 8, "what was within the limit stays readable");
        });
    }
}

#[test]
fn the_buffer_never_holds_more_than_its_limit_whatever_arrives() {
    for (limit, chunk) in [(1, 1), (10, 64), (100, 33), (65_536, 65_536), (70_000, 65_536), (200_000, 65_536)]
    {
        run(async {
            let options = StreamOptions::new().max_buffer_size(limit).read_chunk_size(chunk);
            let (stream, script) = stream_with(options);
            script.send(vec![1; limit + 1]);
            while stream.buffered() < limit {
                stream.fill().await.unwrap();
                assert!(stream.buffered() <= limit);
            }
            let result = stream.fill().await;
            assert!(matches!(result, Err(StreamError::Closed(CloseReason::ReadBufferFull(_)))), "{result:?}");
        });
    }
}

#[test]
fn limits_out_of_range_are_refused_by_the_stream_too() {
    run(async {
        let mut options = StreamOptions::new();
        options.read_chunk_size = 0;
        let refused = IoStream::with_options(scripted().0, Rc::new(options)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        for size in [0, (1 << 32) - 63, 1 << 32] {
            let mut options = StreamOptions::new();
            options.max_buffer_size = size;
            let refused = IoStream::with_options(scripted().0, Rc::new(options)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
#[should_panic(expected = "max_buffer_size must be 1 to 4 GiB - 64")]
fn a_limit_out_of_range_is_refused_where_it_is_set() {
    let _ = StreamOptions::new().max_buffer_size(0);
}

#[test]
fn a_chunk_larger_than_the_buffer_is_cut_to_it() {
    run(async {
        let options = StreamOptions::new().max_buffer_size(10).read_chunk_size(usize::MAX);
        let (stream, script) = stream_with(options);
        script.send("0123456789abcdef");
        assert_eq!(stream.read_bytes(10).await.unwrap(), "0123456789");
        assert_eq!(stream.read_partial(10).await.unwrap(), "abcdef");
    });
}

#[test]
fn a_line_that_comes_byte_by_byte_is_parked_between_its_bytes_and_arrives_whole() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new());
        let line = [&[b'x'; 20_000][..], b"\n"].concat();
        let peer = ioloop::IoLoop::current().spawn({
            let line = line.clone();
            async move {
                for (sent, byte) in line.iter().enumerate() {
                    script.send([*byte]);
                    turns(2).await;
                    if sent < 16 * 1024 && sent + 1 < line.len() {
                        assert_eq!(iostream::leased_blocks(), 0, "while {sent} bytes wait for more");
                    }
                }
            }
        });
        assert_eq!(stream.read_until(b"\n").await.unwrap(), line);
        peer.await.unwrap();
    });
}

#[test]
fn io2_io3_io4_the_defaults_are_tornados_and_output_has_a_limit_too() {
    let options = StreamOptions::default();
    assert_eq!(options.max_buffer_size, 104_857_600);
    assert_eq!(options.read_chunk_size, 65_536);
    assert_eq!(options.max_write_buffer_size, 104_857_600);
}
