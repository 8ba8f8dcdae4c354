//! Reading to the end (IO18).

mod support;

use std::io::ErrorKind;

use ioloop::IoLoop;
use iostream::{CloseReason, StreamError, StreamOptions};
use support::{assert_failed_with, in_every_way, noise, poll_once, run, stream, stream_with, turns};

#[test]
fn io18_everything_up_to_the_end_then_nothing_as_often_as_it_is_asked() {
    in_every_way(b"abcdef", async |stream| {
        assert_eq!(stream.read_bytes(1).await.unwrap(), "a");
        assert_eq!(stream.read_until_close().await.unwrap(), "bcdef");
        assert_eq!(stream.read_until_close().await.unwrap(), "");
        assert_eq!(stream.read_until_close().await.unwrap(), "");
        stream.close();
        assert_eq!(stream.read_until_close().await.unwrap(), "");
    });
}

#[test]
fn io18_closing_here_ends_it_too_with_what_there_is() {
    run(async {
        let (stream, script) = stream();
        script.send("so far");
        let reader = {
            let stream = stream.clone();
            IoLoop::current().spawn(async move { stream.read_until_close().await })
        };
        turns(3).await;
        stream.close();
        assert_eq!(reader.await.unwrap().unwrap(), "so far");
        assert_eq!(stream.read_until_close().await.unwrap(), "");
    });
}

#[test]
fn io18_a_reset_is_an_error_and_what_came_before_stays_buffered() {
    run(async {
        let (stream, script) = stream();
        script.send("so far");
        script.fail_behind(ErrorKind::ConnectionReset);
        assert_failed_with(stream.read_until_close().await, ErrorKind::ConnectionReset);
        assert!(stream.is_closed());
        assert_failed_with(stream.read_until_close().await, ErrorKind::ConnectionReset);
        assert_eq!(stream.read_bytes(6).await.unwrap(), "so far");
    });
}

#[test]
fn an_error_of_the_transport_reaches_the_reader_who_meets_it() {
    // Tornado's test_read_until_close_with_error and test_inline_read_error.
    run(async {
        let (stream, script) = stream();
        script.fail(ErrorKind::PermissionDenied);
        assert_failed_with(stream.read_until_close().await, ErrorKind::PermissionDenied);
        assert_failed_with(stream.read_bytes(1).await, ErrorKind::PermissionDenied);
        assert!(matches!(stream.close_reason(), Some(CloseReason::Io(_))));
        assert_eq!(script.calls().reads, 1);
    });
}

#[test]
fn io8_an_error_is_the_same_whether_it_is_met_at_once_or_later() {
    run(async {
        for later in [false, true] {
            let (stream, script) = stream();
            let mut reading = std::pin::pin!(stream.read_bytes(1));
            if later {
                assert!(poll_once(reading.as_mut()).await.is_none());
            }
            script.fail(ErrorKind::PermissionDenied);
            assert_failed_with(reading.await, ErrorKind::PermissionDenied);
            assert!(stream.is_closed());
        }
    });
}

#[test]
fn io20_more_than_the_buffer_holds_closes_the_stream_with_the_cause_each_time() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_buffer_size(8));
        script.send("123456789");
        for _ in 0..2 {
            match stream.read_until_close().await {
                Err(StreamError::Closed(CloseReason::ReadBufferFull(8))) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(script.is_closed());
        assert_eq!(stream.read_bytes(8).await.unwrap(), "12345678");
    });
}

#[test]
fn three_megabytes_come_as_one_piece() {
    run(async {
        let (stream, script) = stream();
        let data = noise(3 << 20);
        script.send_in_segments(&data, 70_000);
        script.finish();
        assert!(stream.read_until_close().await.unwrap() == data);
        assert_eq!(iostream::leased_blocks(), 0);
    });
}
