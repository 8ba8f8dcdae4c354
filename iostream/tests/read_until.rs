//! Reading up to a delimiter (IO14-IO16, IO21).

mod support;

use iostream::{CloseReason, StreamError};
use support::{assert_end_of_stream, in_every_way, noise, run, stream};

#[test]
fn io14_it_gives_everything_up_to_and_including_the_delimiter_however_the_bytes_arrive() {
    in_every_way(b"first\r\nsecond\r\ntail", async |stream| {
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "first\r\n");
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "second\r\n");
        assert_end_of_stream(stream.read_until(b"\r\n").await);
        assert_eq!(stream.read_until_close().await.unwrap(), "tail");
    });
}

#[test]
fn io14_a_delimiter_that_begins_like_itself_is_found_wherever_it_is_cut() {
    in_every_way(b"aaabaab", async |stream| {
        assert_eq!(stream.read_until(b"aab").await.unwrap(), "aaab");
        assert_eq!(stream.read_until(b"aab").await.unwrap(), "aab");
    });
    in_every_way(b"\r\n\r\r\n\r\n", async |stream| {
        assert_eq!(stream.read_until(b"\r\n\r\n").await.unwrap(), "\r\n\r\r\n\r\n");
    });
}

#[test]
fn io14_a_line_may_be_nothing_but_its_delimiter() {
    in_every_way(b"\n\n", async |stream| {
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "\n");
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "\n");
        assert_end_of_stream(stream.read_until(b"\n").await);
    });
}

#[test]
fn io14_an_empty_delimiter_is_refused_and_costs_nothing() {
    run(async {
        let (stream, script) = stream();
        script.send("text\n");
        assert!(matches!(stream.read_until(b"").await, Err(StreamError::EmptyDelimiter)));
        assert!(matches!(stream.read_until_max(b"", 5).await, Err(StreamError::EmptyDelimiter)));
        assert_eq!(script.calls().reads, 0);
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "text\n");
    });
}

#[test]
fn io15_the_limit_is_for_the_result_with_its_delimiter() {
    // Tornado's test_read_until_max_bytes, _inline and _ignores_extra.
    in_every_way(b"abcdef\r\nrest", async |stream| {
        assert_eq!(stream.read_until_max(b"\r\n", 8).await.unwrap(), "abcdef\r\n");
        assert_eq!(stream.read_bytes(4).await.unwrap(), "rest");
    });
}

#[test]
fn io15_a_delimiter_that_ends_beyond_the_limit_does_not_count_even_when_it_is_there() {
    in_every_way(b"abcdef\r\nrest", async |stream| {
        for max_bytes in [0, 1, 5, 7] {
            match stream.read_until_max(b"\r\n", max_bytes).await {
                Err(StreamError::DelimiterNotFound { max_bytes: limit }) => assert_eq!(limit, max_bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stream.read_until_max(b"\r\n", 8).await.unwrap(), "abcdef\r\n");
    });
}

#[test]
fn io15_it_fails_as_soon_as_that_many_bytes_are_there_without_a_match() {
    run(async {
        let (stream, script) = stream();
        script.send("abcdefgh"); // and no end, and nothing more
        let result = stream.read_until_max(b"\r\n", 8).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 8 })));
    });
}

#[test]
fn io16_a_limit_that_is_passed_leaves_the_stream_open_and_the_bytes_where_they_are() {
    run(async {
        let (stream, script) = stream();
        script.send("far too long\nnext\n");
        assert!(stream.read_until_max(b"\n", 5).await.is_err());
        assert!(!stream.is_closed());
        assert_eq!(stream.buffered(), 18);
        stream.write("431\n").await.unwrap();
        assert_eq!(script.received(), b"431\n");
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "far too long\n");
        assert_eq!(stream.read_until_max(b"\n", 5).await.unwrap(), "next\n");
    });
}

#[test]
fn io16_a_limit_that_is_passed_may_also_close_the_stream_and_is_then_the_cause() {
    in_every_way(b"short\nfar too long\nnext\n", async |stream| {
        assert_eq!(stream.read_until_or_close(b"\n", 6).await.unwrap(), "short\n");
        let refused = stream.read_until_or_close(b"\n", 6).await;
        assert!(
            matches!(refused, Err(StreamError::Closed(CloseReason::DelimiterNotFound(6)))),
            "{refused:?}"
        );
        assert!(!refused.unwrap_err().is_disconnect(), "it was our doing");
        assert!(matches!(stream.close_reason(), Some(CloseReason::DelimiterNotFound(6))));
        let written = stream.write("x").await;
        assert!(matches!(written, Err(StreamError::Closed(CloseReason::DelimiterNotFound(6)))));
        assert_eq!(stream.read_bytes(6).await.unwrap(), "far to", "what was read stays readable");
    });
    run(async {
        let (stream, _script) = stream();
        assert!(matches!(stream.read_until_or_close(b"", 6).await, Err(StreamError::EmptyDelimiter)));
        assert!(!stream.is_closed());
    });
}

#[test]
fn io21_the_end_before_the_delimiter_is_an_error_and_what_came_stays_readable() {
    in_every_way(b"no end", async |stream| {
        assert_end_of_stream(stream.read_until(b"\n").await);
        assert_end_of_stream(stream.read_until_max(b"\n", 100).await);
        assert_eq!(stream.read_bytes(2).await.unwrap(), "no");
        assert_eq!(stream.read_until_close().await.unwrap(), " end");
    });
}

#[test]
fn four_megabytes_before_the_delimiter_arrive_intact_and_are_searched_once() {
    // Tornado's test_large_read_until. In segments of 1000 bytes a search from the start would look at 8 GB.
    run(async {
        let (stream, script) = stream();
        let mut data = noise(4 << 20);
        data.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'.');
        data.extend(b"\r\n");
        script.send_in_segments(&data, 1000);
        script.send("next\r\n");
        let line = stream.read_until(b"\r\n").await.unwrap();
        assert!(line == data, "the line was changed");
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "next\r\n");
    });
}

#[test]
fn lines_go_into_memory_that_is_used_again() {
    in_every_way(b"one\r\ntwo\r\nthree\r\nrest", async |stream| {
        let mut lines = b">".to_vec();
        for length in [5, 5, 7] {
            assert_eq!(stream.read_until_into(b"\r\n", 7, &mut lines).await.unwrap(), length);
        }
        assert_eq!(lines, b">one\r\ntwo\r\nthree\r\n");
        assert_end_of_stream(stream.read_until_into(b"\r\n", 7, &mut lines).await);
        assert_eq!(stream.read_until_close().await.unwrap(), "rest");
    });
}

#[test]
fn a_line_that_is_too_long_for_its_target_stays_where_it_is() {
    in_every_way(b"a long line\r\n", async |stream| {
        let mut line = Vec::new();
        let result = stream.read_until_into(b"\r\n", 12, &mut line).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 12 })), "{result:?}");
        assert!(matches!(stream.read_until_into(b"", 12, &mut line).await, Err(StreamError::EmptyDelimiter)));
        assert!(line.is_empty());
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "a long line\r\n");
    });
}

#[test]
fn a_line_is_shown_where_it_lies_and_then_taken() {
    in_every_way(b"one\r\ntwo\r\nrest", async |stream| {
        for expected in ["one\r\n", "two\r\n"] {
            let look = |line: &[u8]| (line.to_vec(), stream.buffered());
            let (line, left) = stream.read_until_with(b"\r\n", 5, look).await.unwrap();
            assert_eq!((line, left), (expected.into(), 0), "meanwhile the buffer seems empty");
        }
        let unseen = |line: &[u8]| panic!("shown {line:?}");
        let result: Result<(), _> = stream.read_until_with(b"\r\n", 4, unseen).await;
        assert!(matches!(result, Err(StreamError::DelimiterNotFound { max_bytes: 4 })), "{result:?}");
        assert_eq!(stream.read_until_close().await.unwrap(), "rest");
    });
}

#[test]
fn a_line_that_was_shown_to_somebody_who_panicked_is_still_there() {
    run(async {
        let (stream, script) = stream();
        script.send("a line\nthe next\n");
        let shown = ioloop::IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_until_with(b"\n", 100, |_| panic!("not this one")).await }
        });
        let result: Result<Result<(), _>, _> = shown.await;
        assert!(matches!(result, Err(ioloop::JoinError::Panicked(..))));
        assert!(!stream.is_reading());
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "a line\n");
    });
}

#[test]
fn a_line_that_is_there_is_not_taken_from_under_a_read_that_waits() {
    run(async {
        let (stream, script) = stream();
        let waiting = ioloop::IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(6).await }
        });
        script.send("a\nb");
        ioloop::yield_now().await;
        assert!(matches!(stream.read_until(b"\n").await, Err(StreamError::AlreadyReading)));
        script.send("\nc\n");
        assert_eq!(waiting.await.unwrap().unwrap(), "a\nb\nc\n");
    });
}
