//! Transports and closures of the user's own that call the stream they serve (invariant 8).

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ioloop::{IoLoop, Registration};
use iostream::testing::{Script, Scripted, scripted};
use iostream::{CloseReason, IoStream, StreamError, Transport, leased_blocks};
use support::{assert_closed_here, poll_once, run, stream, turns};

type Deed = Rc<RefCell<Option<Box<dyn FnMut(&IoStream)>>>>;

/// A scripted transport that does something to its own stream in each of its calls.
struct Meddler {
    inner: Box<Scripted>,
    stream: Rc<RefCell<Option<IoStream>>>,
    deed: Deed,
}

impl Meddler {
    fn meddle(&self) {
        let stream = self.stream.borrow().clone();
        let deed = self.deed.borrow_mut().take(); // out of its place: a deed may cause the next call
        if let (Some(stream), Some(mut deed)) = (stream, deed) {
            deed(&stream);
            self.deed.borrow_mut().get_or_insert(deed);
        }
    }
}

impl Transport for Meddler {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        self.meddle();
        self.inner.attach(registration)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meddle();
        self.inner.read(buffer)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.meddle();
        self.inner.write(data)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.meddle();
        self.inner.write_vectored(slices)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.meddle();
        self.inner.shutdown_write()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

fn meddled(deed: impl FnMut(&IoStream) + 'static) -> (IoStream, Script, Deed) {
    let (inner, script) = scripted();
    let own = Rc::new(RefCell::new(None));
    let deed: Deed = Rc::new(RefCell::new(Some(Box::new(deed))));
    let transport = Meddler { inner, stream: Rc::clone(&own), deed: Rc::clone(&deed) };
    let stream = IoStream::new(Box::new(transport)).unwrap();
    own.replace(Some(stream.clone()));
    (stream, script, deed)
}

/// A waker that only notes that it was used.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls a future that may not wait, from where there is no task.
fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn a_transport_may_ask_its_stream_anything_from_inside_any_call() {
    run(async {
        let (stream, script, _) = meddled(|stream| {
            let _ = (stream.buffered(), stream.pending(), stream.is_reading(), stream.is_writing());
            let _ = (stream.peer_addr(), stream.local_addr(), stream.bytes_sent(), stream.is_peer_gone());
            let _ = (stream.set_nodelay(true), format!("{stream:?}"), stream.close_reason());
            stream.consume(usize::MAX);
            let _ = stream.take_buffered(1);
            stream.read_with(|_| (0, ()));
        });
        script.send("abc");
        stream.write("x").await.unwrap();
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
        assert!(poll_once(stream.read_bytes(1)).await.is_none());
        stream.shutdown_write().await.unwrap();
        stream.close();
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn what_a_transport_writes_from_inside_its_own_calls_is_sent_behind_the_rest() {
    run(async {
        let mut left = 3;
        let (stream, script, _) = meddled(move |stream| {
            if left > 0 {
                left -= 1;
                drop(stream.write("[inside]"));
                let _ = stream.write_with(|out| out.extend_from_slice(b"[in place]"));
                assert!(now_or_never(stream.flush()).is_none(), "the transport is at work");
            }
        });
        script.set_largest_write(Some(4));
        stream.write("outside").await.unwrap();
        while stream.is_writing() {
            turns(1).await;
        }
        let expected = format!("outside{}", "[inside][in place]".repeat(3));
        assert_eq!(String::from_utf8(script.received()).unwrap(), expected);
        assert_eq!((stream.pending(), leased_blocks()), (0, 0));
    });
}

#[test]
fn what_a_transport_writes_while_it_takes_what_was_not_queued_is_sent_behind_that() {
    run(async {
        let mut left = 2;
        let (stream, script, _) = meddled(move |stream| {
            if left > 0 {
                left -= 1;
                drop(stream.write_now(b"[inside]"));
                drop(stream.write("[large]".repeat(5_000)));
            }
        });
        script.set_largest_write(Some(4));
        let write = stream.write_now(b"outside");
        assert_eq!(stream.bytes_sent(), 4);
        write.await.unwrap();
        stream.flush().await.unwrap();
        let inside = format!("[inside]{}", "[large]".repeat(5_000));
        assert!(script.received() == format!("outside{}", inside.repeat(2)).as_bytes());
        assert_eq!((stream.pending(), leased_blocks()), (0, 0));
    });
}

#[test]
fn who_waits_from_inside_a_write_for_what_it_takes_is_told_when_it_is_sent() {
    for large in [false, true] {
        run(async {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut is_first = true;
            let (stream, script, _) = meddled(move |stream| {
                if std::mem::take(&mut is_first) {
                    let polled = stream.poll_flush_to(&mut Context::from_waker(&waker), 0);
                    assert!(polled.is_pending(), "the transport is at work");
                }
            });
            drop(if large { stream.write(vec![1; 50_000]) } else { stream.write_now(b"all of it") });
            assert_eq!(stream.pending(), 0);
            assert!(woken.0.load(Ordering::Relaxed));
            assert!(!script.received().is_empty());
        });
    }
}

#[test]
fn a_transport_that_closes_its_stream_in_a_write_and_has_no_room_keeps_nothing_of_it() {
    /// Has no room, and closes.
    struct Full(Rc<RefCell<Option<IoStream>>>);
    impl Transport for Full {
        fn attach(&mut self, _: &Registration) -> io::Result<()> {
            Ok(())
        }
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            if let Some(stream) = self.0.take() {
                stream.close();
            }
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            self.write(b"").map(drop)
        }
    }
    run(async {
        let sources = IoLoop::current().counters().sources;
        for way in 0..3 {
            let own = Rc::default();
            let stream = IoStream::new(Box::new(Full(Rc::clone(&own)))).unwrap();
            own.replace(Some(stream.clone()));
            match way {
                0 => assert_closed_here(stream.write("queued").await),
                1 => assert_closed_here(stream.write_now(b"at once").await),
                _ => assert_closed_here(stream.shutdown_write().await),
            }
            drop(stream);
            turns(2).await;
            assert_eq!(IoLoop::current().counters().sources, sources, "{way}");
        }
    });
}

#[test]
fn a_transport_that_sets_a_watch_from_inside_a_read_is_attached_all_the_same() {
    run(async {
        let called = Rc::new(Cell::new(false));
        let told = Rc::clone(&called);
        let (stream, script, _) = meddled(move |stream| {
            let told = Rc::clone(&told);
            stream.set_close_callback(Some(Box::new(move || told.set(true))));
        });
        assert!(poll_once(stream.read_bytes(3)).await.is_none());
        script.send("abc");
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
        script.finish();
        turns(3).await;
        assert!(called.get());
    });
}

#[test]
fn a_transport_that_closes_its_stream_in_a_read_ends_that_read() {
    run(async {
        let (stream, script, deed) = meddled(IoStream::close);
        script.send("abc");
        assert_closed_here(stream.read_bytes(4).await);
        assert!(script.is_closed());
        deed.take();
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc", "what that read brought is not lost");
    });
}

#[test]
fn a_transport_that_closes_its_stream_in_a_write_ends_that_write() {
    run(async {
        let (stream, script, deed) = meddled(IoStream::close);
        script.set_largest_write(Some(2));
        assert_closed_here(stream.write("abcdef").await);
        assert_eq!((script.received(), stream.pending()), (b"ab".to_vec(), 0));
        assert!(script.is_closed());
        deed.take();
        assert_eq!(leased_blocks(), 0);
    });
    run(async {
        let (stream, script, deed) = meddled(IoStream::close);
        script.set_largest_write(Some(2));
        let write = stream.write_now(b"abcdef");
        assert!(stream.is_closed());
        assert_closed_here(write.await);
        assert_eq!((script.received(), stream.pending()), (b"ab".to_vec(), 0));
        deed.take();
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_transport_that_closes_its_stream_while_that_closes_changes_nothing() {
    run(async {
        let (stream, script, _) = meddled(IoStream::close);
        drop(stream.write("last words"));
        stream.close();
        assert!(matches!(stream.close_reason(), Some(CloseReason::Local)));
        assert_eq!(script.received(), b"last words");
        assert!(script.is_closed());
        turns(2).await;
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_transport_that_closes_its_stream_while_it_is_attached_ends_the_wait() {
    run(async {
        let mut calls = 0;
        let (stream, script, _) = meddled(move |stream| {
            calls += 1;
            if calls == 2 {
                stream.close(); // the read found nothing, so this is the attach
            }
        });
        assert_closed_here(stream.read_bytes(1).await);
        assert!(script.is_closed());
    });
}

#[test]
fn a_read_from_inside_a_read_is_refused() {
    run(async {
        let (stream, script, _) = meddled(|stream| {
            if stream.is_reading() {
                assert!(matches!(now_or_never(stream.read_bytes(1)), Some(Err(StreamError::AlreadyReading))));
                let polled = stream.poll_fill(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Ready(Err(StreamError::AlreadyReading))));
            }
        });
        script.send("abc");
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
    });
}

#[test]
fn a_transport_that_panics_costs_its_stream_and_nothing_else() {
    run(async {
        let (stream, script, _) = meddled(|_| panic!("in the transport"));
        script.send("abc");
        let waiting = IoLoop::current().spawn(stream.write("never sent"));
        let caught = catch_unwind(AssertUnwindSafe(|| now_or_never(stream.read_bytes(1))));
        assert!(caught.is_err());
        assert!(script.is_closed());
        assert!(matches!(stream.close_reason(), Some(CloseReason::Io(_))));
        assert!(waiting.await.unwrap().is_err(), "who waits is told");
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_look_at_the_buffer_may_read_more_and_the_order_stays() {
    run(async {
        let (stream, script) = stream();
        script.set_largest_read(Some(3));
        script.send("abcdef");
        stream.fill().await.unwrap();
        stream.read_with(|shown| {
            assert_eq!((shown, stream.buffered()), (&b"abc"[..], 0));
            assert!(matches!(now_or_never(stream.fill()), Some(Ok(3))));
            assert_eq!(stream.buffered(), 3);
            (1, ())
        });
        assert_eq!(stream.read_bytes(5).await.unwrap(), "bcdef");
    });
}

#[test]
fn a_look_at_the_buffer_that_panics_or_claims_too_much_uses_nothing_up() {
    run(async {
        let (stream, script) = stream();
        script.send("abc");
        stream.fill().await.unwrap();
        let in_the_parser = || stream.read_with(|_| -> (usize, ()) { panic!("in the parser") });
        assert!(catch_unwind(AssertUnwindSafe(in_the_parser)).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| stream.read_with(|_| (4, ())))).is_err());
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
    });
}

#[test]
fn a_read_from_inside_another_call_is_refused_and_does_not_use_up_the_news_of_input() {
    run(async {
        let refused = Rc::new(Cell::new(false));
        let told = Rc::clone(&refused);
        let (stream, script, deed) = meddled(|_| {});
        assert!(poll_once(stream.read_bytes(1)).await.is_none()); // from here on it waits for news
        script.send("abc");
        turns(2).await; // which has come
        deed.replace(Some(Box::new(move |stream| {
            let within = now_or_never(poll_fn(|cx| stream.poll_fill(cx)));
            told.set(told.get() | matches!(within, Some(Err(StreamError::AlreadyReading))));
        })));
        stream.write("x").await.unwrap();
        assert!(refused.get(), "the transport was at work");
        deed.replace(Some(Box::new(|_| {})));
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc"); // or nothing would ever wake it
    });
}

#[test]
fn a_transport_that_claims_more_than_it_was_given_shows_nobody_stale_bytes() {
    struct Liar;
    impl Transport for Liar {
        fn attach(&mut self, _: &Registration) -> io::Result<()> {
            Ok(())
        }
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len() * 2)
        }
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            Ok(data.len() * 2)
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    run(async {
        let stream = IoStream::new(Box::new(Liar)).unwrap();
        let mut target = [0; 10];
        assert_eq!(stream.read_into(&mut target).await.unwrap(), 10);
        assert!(stream.read_bytes(100_000).await.unwrap().iter().all(|byte| *byte == b'x'));
        stream.write("abc").await.unwrap();
        assert_eq!(stream.bytes_sent(), 3);
    });
}

#[test]
fn a_transport_that_takes_nothing_fails_instead_of_spinning() {
    struct Stubborn;
    impl Transport for Stubborn {
        fn attach(&mut self, _: &Registration) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    run(async {
        let stream = IoStream::new(Box::new(Stubborn)).unwrap();
        support::assert_failed_with(stream.write("x").await, io::ErrorKind::WriteZero);
        let stream = IoStream::new(Box::new(Stubborn)).unwrap();
        support::assert_failed_with(stream.read_bytes(1).await, io::ErrorKind::Unsupported);
        let stream = IoStream::new(Box::new(Stubborn)).unwrap();
        stream.closed().await;
        assert!(stream.is_closed());
    });
}
