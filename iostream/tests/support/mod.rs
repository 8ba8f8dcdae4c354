//! What the tests share: streams over scripted transports, and every way in which bytes can arrive.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::needless_pass_by_value, reason = "results are asserted where they are made")]

pub(crate) mod random;
pub(crate) mod transports;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ioloop::testing::VirtualLoop;
use iostream::testing::{Script, scripted};
use iostream::{CloseReason, IoStream, StreamError, StreamOptions};

/// Runs `test` on a loop of its own with virtual time. A test that waits for what never comes fails at once.
#[track_caller]
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    VirtualLoop::new().run(test)
}

/// A stream with the default limits, and its peer.
pub(crate) fn stream() -> (IoStream, Script) {
    stream_with(StreamOptions::default())
}

pub(crate) fn stream_with(options: StreamOptions) -> (IoStream, Script) {
    let (transport, script) = scripted();
    (IoStream::with_options(transport, Rc::new(options)).unwrap(), script)
}

/// Polls `future` once, in the task that runs, and drops it.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Lets `turns` turns of the loop pass.
pub(crate) async fn turns(turns: usize) {
    for _ in 0..turns {
        ioloop::yield_now().await;
    }
}

/// Has `check` read `data`, followed by the end of the stream: whole, byte by byte, and cut in two everywhere; each of
/// these there before the read begins, and arriving while it waits.
pub(crate) fn in_every_way(data: &[u8], check: impl AsyncFn(IoStream)) {
    let mut ways: Vec<Vec<&[u8]>> = vec![vec![data], data.chunks(1).collect()];
    ways.extend((1..data.len()).map(|at| vec![&data[..at], &data[at..]]));
    for way in ways {
        run(async {
            let (stream, script) = stream();
            way.iter().for_each(|segment| script.send(segment));
            script.finish();
            check(stream).await;
        });
        run(async {
            let (stream, script) = stream();
            let segments: Vec<Vec<u8>> = way.iter().map(|segment| segment.to_vec()).collect();
            let peer = ioloop::IoLoop::current().spawn(async move {
                for segment in segments {
                    turns(2).await;
                    script.send(segment);
                }
                script.finish();
            });
            check(stream).await;
            peer.await.unwrap();
        });
    }
}

/// Bytes in which no stretch repeats soon.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[track_caller]
pub(crate) fn assert_end_of_stream<T: std::fmt::Debug>(result: Result<T, StreamError>) {
    assert!(matches!(result, Err(StreamError::Closed(CloseReason::EndOfStream))), "{result:?}");
}

#[track_caller]
pub(crate) fn assert_closed_here<T: std::fmt::Debug>(result: Result<T, StreamError>) {
    assert!(matches!(result, Err(StreamError::Closed(CloseReason::Local))), "{result:?}");
}

#[track_caller]
pub(crate) fn assert_failed_with<T: std::fmt::Debug>(
    result: Result<T, StreamError>,
    kind: std::io::ErrorKind,
) {
    match &result {
        Err(StreamError::Closed(CloseReason::Io(error))) => assert_eq!(error.kind(), kind),
        other => panic!("{other:?}"),
    }
}
