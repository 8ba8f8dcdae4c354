//! A random mix of all write calls, from outside and from inside the transport, at a transport that takes what it likes: what leaves
//! is what was written, in the order of the calls; the counters agree at every step, and who waits is told, once it is so and not before.
//!
//! `IOSTREAM_SEEDS=10000 cargo test -p iostream --test mixed_writes` tries more; `IOSTREAM_SEED=7` tries that one alone.

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use ioloop::{IoLoop, Registration};
use iostream::testing::{Script, Scripted, scripted};
use iostream::{IoStream, StreamError, Transport, Write, buffered_bytes, leased_blocks};
use support::random::Random;
use support::{run, turns};

/// What was written so far, and who writes.
struct Writer {
    random: Random,
    stream: RefCell<Option<IoStream>>,
    written: RefCell<Vec<u8>>,
    waiting: RefCell<Vec<Waiting>>,
    /// How deep in calls of the transport and of writers in place.
    depth: Cell<usize>,
    /// How often the transport may still meddle, or it would make more than it takes.
    deeds_left: Cell<usize>,
}

/// A write whose end somebody waits for.
struct Waiting {
    write: Write,
    end: u64,
    woken: Arc<Woken>,
    was_polled: bool,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A scripted transport that writes to its own stream now and then while that writes to it.
struct Meddler {
    inner: Box<Scripted>,
    writer: Rc<Writer>,
}

impl Meddler {
    fn meddle(&self) {
        let writer = &self.writer;
        if writer.depth.get() < 2 && writer.deeds_left.get() > 0 && writer.random.one_in(3) {
            writer.deeds_left.set(writer.deeds_left.get() - 1);
            writer.depth.set(writer.depth.get() + 1);
            writer.write_somehow();
            writer.poll_somebody();
            writer.depth.set(writer.depth.get() - 1);
        }
    }
}

impl Transport for Meddler {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        self.meddle();
        self.inner.attach(registration)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.meddle();
        self.inner.write(data)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.meddle();
        let written = self.inner.write_vectored(slices);
        self.meddle();
        written
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.inner.shutdown_write()
    }
}

impl Writer {
    fn stream(&self) -> IoStream {
        self.stream.borrow().clone().expect("it is there until the end")
    }

    /// Some bytes, which are taken for written.
    fn more(&self) -> Vec<u8> {
        let data: Vec<u8> = (0..self.random.size()).map(|_| self.random.next() as u8).collect();
        self.written.borrow_mut().extend_from_slice(&data);
        data
    }

    fn wait_for(&self, write: Write, end: u64) {
        let waiting = Waiting { write, end, woken: Arc::default(), was_polled: false };
        self.waiting.borrow_mut().push(waiting);
    }

    fn end(&self) -> u64 {
        self.written.borrow().len() as u64
    }

    fn write_somehow(&self) {
        let stream = self.stream();
        match self.random.below(7) {
            0 => {
                let data = self.more();
                let end = self.end();
                self.wait_for(stream.write(data), end);
            }
            1 => {
                let data = self.more();
                let end = self.end();
                self.wait_for(stream.write_now(&data), end);
            }
            2 => {
                let data = Bytes::from(self.more());
                let end = self.end();
                self.wait_for(stream.write(data.clone()), end); // others have it too
            }
            3 => stream.queue(self.more()).unwrap(),
            4 => stream.write_with(|out| out.extend_from_slice(&self.more())).unwrap(),
            5 => {
                stream.append_with(|out| out.extend_from_slice(&self.more())).unwrap();
                stream.flush_at_end_of_turn();
            }
            // What a writer in place writes otherwise comes first.
            _ if self.depth.get() < 2 => {
                self.depth.set(self.depth.get() + 1);
                let write = |out: &mut Vec<u8>| {
                    self.write_somehow();
                    out.extend_from_slice(&self.more());
                };
                stream.write_with(write).unwrap();
                self.depth.set(self.depth.get() - 1);
            }
            _ => {
                let write = stream.write_now(b"");
                self.wait_for(write, self.end());
            }
        }
    }

    fn poll_somebody(&self) {
        let mut waiting = self.waiting.take();
        if waiting.is_empty() {
            return;
        }
        let mut one = waiting.swap_remove(self.random.below(waiting.len()));
        self.waiting.borrow_mut().append(&mut waiting);
        let waker = Waker::from(Arc::clone(&one.woken));
        one.woken.0.store(false, Ordering::Relaxed);
        one.was_polled = true;
        let stream = self.stream();
        match Pin::new(&mut one.write).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => {
                assert!(result.is_ok(), "{result:?}");
                assert!(stream.bytes_sent() >= one.end, "told too early");
            }
            Poll::Pending => {
                assert!(stream.bytes_sent() < one.end, "told too late");
                self.waiting.borrow_mut().push(one);
            }
        }
    }

    fn check(&self) {
        let stream = self.stream();
        assert_eq!(stream.bytes_sent() + stream.pending() as u64, self.end());
        assert_eq!(stream.held_bytes(), buffered_bytes());
        for one in self.waiting.borrow().iter().filter(|one| one.was_polled && one.end <= stream.bytes_sent())
        {
            assert!(one.woken.0.load(Ordering::Relaxed), "not told of {}", one.end);
        }
        if stream.pending() == 0 {
            assert_eq!((stream.held_bytes(), leased_blocks()), (0, 0));
        }
    }
}

fn change_something(script: &Script, random: &Random) {
    match random.below(8) {
        0 => script.set_room(Some(random.size())),
        1 => script.set_room(Some(0)),
        2 | 3 => script.set_room(None),
        4 => script.set_largest_write(Some(random.size())),
        5 => script.set_largest_write(None),
        6 => script.block(0, random.below(4)),
        _ => script.notify_spuriously(),
    }
}

async fn mixed_writes(seed: u64) {
    let random = Random::new(seed);
    let (inner, script) = scripted();
    let writer = Rc::new(Writer {
        random: random.clone(),
        stream: RefCell::default(),
        written: RefCell::default(),
        waiting: RefCell::default(),
        depth: Cell::default(),
        deeds_left: Cell::new(random.below(30)),
    });
    let stream = IoStream::new(Box::new(Meddler { inner, writer: Rc::clone(&writer) })).unwrap();
    writer.stream.replace(Some(stream.clone()));
    let mut received = Vec::new();
    let mut take = || {
        received.extend(script.received());
        let written = writer.written.borrow();
        assert_eq!(received.len() as u64, stream.bytes_sent());
        assert!(written.starts_with(&received), "the bytes differ");
    };
    for _ in 0..1 + random.below(60) {
        match random.below(8) {
            0..3 => writer.write_somehow(),
            3 => change_something(&script, &random),
            4 => turns(1 + random.below(2)).await,
            5 => drop(writer.waiting.take()),
            _ => writer.poll_somebody(),
        }
        writer.check();
        take();
    }
    writer.deeds_left.set(0); // nothing new from here on
    if random.one_in(4) {
        stream.close();
        for Waiting { mut write, end, .. } in writer.waiting.take() {
            let polled = Pin::new(&mut write).poll(&mut Context::from_waker(Waker::noop()));
            match end <= stream.bytes_sent() {
                true => assert!(matches!(polled, Poll::Ready(Ok(())))),
                false => assert!(matches!(polled, Poll::Ready(Err(StreamError::Closed(_))))),
            }
        }
        take();
    } else {
        script.set_room(None);
        if random.one_in(2) {
            script.set_largest_write(None);
            turns(20).await;
            assert_eq!(stream.pending(), 0, "it leaves by itself");
        }
        for Waiting { write, .. } in writer.waiting.take() {
            write.await.unwrap();
        }
        stream.flush().await.unwrap();
        turns(2).await;
        writer.check();
        take();
        assert_eq!(received.len() as u64, writer.end());
    }
    writer.stream.take();
    drop(stream);
    turns(2).await;
    assert_eq!((leased_blocks(), buffered_bytes()), (0, 0));
    assert_eq!(IoLoop::current().counters().sources, 0);
}

#[test]
fn bytes_leave_in_the_order_of_the_calls_whatever_the_transport_does() {
    let setting = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let seeds = match setting("IOSTREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("IOSTREAM_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        println!("IOSTREAM_SEED={seed}"); // shown when it fails
        run(mixed_writes(seed));
    }
}
