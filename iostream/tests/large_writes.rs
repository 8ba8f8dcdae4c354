//! What is written in large pieces is sent from where it is. A file of its own, because it counts all memory of the process.
#![cfg(target_pointer_width = "64")]

mod support;

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;

use bytes::Bytes;
use ioloop::{Ready, Registration};
use iostream::{IoStream, Transport};
use peak_alloc::PeakAlloc;
use support::random::Random;
use support::run;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Beside the data itself, which is not counted: queues, tasks, the pool.
const ALLOWED: usize = 512 * 1024;

/// Looks where the bytes it is given are, and takes some of them unread.
struct Sink {
    /// The data that is written again and again.
    data: Bytes,
    seen: Rc<Seen>,
    random: Random,
}

#[derive(Default)]
struct Seen {
    in_place: Cell<usize>,
    elsewhere: Cell<usize>,
    most_slices: Cell<usize>,
}

impl Sink {
    fn take(&self, slice: &[u8], room: usize) -> usize {
        let n = slice.len().min(room);
        let Seen { in_place, elsewhere, .. } = &*self.seen;
        let expected = self.data.as_ptr().wrapping_add(in_place.get() % self.data.len());
        let count = if slice.as_ptr() == expected { in_place } else { elsewhere };
        count.set(count.get() + n);
        n
    }
}

impl Transport for Sink {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        registration.set_ready(Ready::WRITABLE);
        Ok(())
    }

    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.seen.most_slices.set(self.seen.most_slices.get().max(slices.len()));
        let room = 1 + self.random.below(2 * MIB);
        let mut taken = 0;
        for slice in slices {
            taken += self.take(slice, room - taken);
        }
        Ok(taken)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has `write` send pieces of `data`; gives what came, and how much memory was taken meanwhile.
fn sent(data: &Bytes, write: impl AsyncFnOnce(IoStream, Bytes)) -> (Rc<Seen>, usize) {
    run(async {
        let seen = Rc::new(Seen::default());
        let sink = Sink { data: data.clone(), seen: Rc::clone(&seen), random: Random::new(1) };
        let stream = IoStream::new(Box::new(sink)).unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        write(stream, data.clone()).await;
        (seen, MEMORY.peak_usage() - before)
    })
}

/// One test, so that nothing else is allocated meanwhile.
#[test]
fn io31_a_gibibyte_is_sent_without_a_copy() {
    let piece = Bytes::from(vec![7; MIB]);
    let (seen, memory) = sent(&piece, async |stream, piece| {
        for _ in 0..GIB / MIB {
            stream.write(piece.clone()).await.unwrap();
        }
    });
    assert_eq!((seen.in_place.get(), seen.elsewhere.get()), (GIB, 0));
    assert!(memory < ALLOWED, "piece by piece: {memory} bytes");

    let quarter = piece.slice(..MIB / 4);
    let (seen, memory) = sent(&quarter, async |stream, piece| {
        for _ in 0..GIB / piece.len() {
            stream.queue(piece.clone()).unwrap();
        }
        stream.flush().await.unwrap();
    });
    assert_eq!((seen.in_place.get(), seen.elsewhere.get()), (GIB, 0));
    assert!(seen.most_slices.get() > 1 && memory < ALLOWED, "all queued at once: {memory} bytes");

    let whole = Bytes::from(vec![0; GIB]); // which nobody touches, so it takes addresses and no memory
    let (seen, memory) = sent(&whole, async |stream, whole| stream.write(whole).await.unwrap());
    assert_eq!((seen.in_place.get(), seen.elsewhere.get()), (GIB, 0));
    assert!(memory < ALLOWED, "in one: {memory} bytes");

    let (seen, memory) = sent(&piece, async |stream, piece| {
        drop(stream.write("a head"));
        stream.write(piece).await.unwrap();
    });
    assert_eq!((seen.in_place.get(), seen.elsewhere.get()), (MIB, 6), "the head is copied, and no more");
    assert!(memory < ALLOWED, "behind a head: {memory} bytes");
}
