//! Shares: no stream and no task may keep the loop to itself, however fast its peer is (IO30, invariant 9).

mod support;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use ioloop::IoLoop;
use support::{noise, run, stream, turns};

#[test]
fn io30_a_large_write_to_a_fast_peer_leaves_one_share_a_turn() {
    run(async {
        let (stream, script) = stream();
        let data = Bytes::from(noise(5 << 20));
        drop(stream.write(data.clone()));
        let mut received = Vec::new();
        while stream.is_writing() {
            turns(1).await;
            let part = script.received();
            assert!(part.len() <= (1 << 20) + (64 << 10), "{} bytes in one turn", part.len());
            received.extend(part);
        }
        assert!(received == data);
    });
}

/// Counts turns for as long as it lives, as a neighbour on the same loop would get them.
fn neighbour() -> Rc<Cell<u32>> {
    let served = Rc::new(Cell::new(0));
    let counted = Rc::clone(&served);
    IoLoop::current().spawn_detached(async move {
        while Rc::strong_count(&counted) > 1 {
            counted.set(counted.get() + 1);
            ioloop::yield_now().await;
        }
    });
    served
}

#[test]
fn io30_a_task_that_awaits_one_write_after_the_other_gives_way() {
    for (size, count) in [(64 * 1024, 256), (1, 4096)] {
        run(async {
            let (stream, script) = stream();
            let served = neighbour();
            for _ in 0..count {
                stream.write(vec![1; size]).await.unwrap();
            }
            assert_eq!(script.received().len(), size * count);
            assert!(served.get() >= 14, "{} turns for the others", served.get());
        });
    }
}

#[test]
fn a_firehose_does_not_keep_a_polite_peer_waiting() {
    for segment in [64 * 1024, 1] {
        run(async {
            let (firehose, flood) = stream();
            let (polite, script) = stream();
            let answered = Rc::new(Cell::new(false));
            let total = 64 * segment * 64;
            flood.send_in_segments(vec![1; total], segment);
            IoLoop::current().spawn_detached({
                let (polite, answered) = (polite.clone(), Rc::clone(&answered));
                async move {
                    polite.read_until(b"\n").await.unwrap();
                    polite.write("pong\n").await.unwrap();
                    answered.set(true);
                }
            });
            turns(2).await;
            script.send("ping\n");
            let mut read = 0;
            while read < total {
                read += firehose.read_partial(usize::MAX).await.unwrap().len();
                if read > total / 16 {
                    assert!(answered.get(), "not after {read} of {total} bytes");
                }
            }
            assert_eq!(script.received(), b"pong\n");
        });
    }
}

/// A block of empty lines is one read and 64 thousand results.
#[test]
fn a_task_that_reads_many_small_pieces_out_of_one_block_gives_way() {
    const PIECES: usize = 60_000;
    for way in 0..3 {
        run(async {
            let (stream, script) = stream();
            let served = neighbour();
            script.send(vec![b'\n'; PIECES]);
            for _ in 0..PIECES {
                let piece = match way {
                    0 => stream.read_until(b"\n").await.unwrap(),
                    1 => stream.read_bytes(1).await.unwrap(),
                    _ => {
                        let mut piece = [0];
                        assert_eq!(stream.read_into(&mut piece).await.unwrap(), 1);
                        Bytes::copy_from_slice(&piece)
                    }
                };
                assert_eq!(piece, "\n");
            }
            assert_eq!(script.calls().reads, if way == 2 { PIECES } else { 1 });
            assert!(served.get() >= 7, "{} turns for the others", served.get());
        });
    }
}

#[test]
fn a_read_that_has_used_up_its_share_goes_on_by_itself() {
    run(async {
        let (stream, script) = stream();
        let served = neighbour();
        let data = noise(4 << 20);
        script.send_in_segments(&data, 64 * 1024);
        assert!(stream.read_bytes(4 << 20).await.unwrap() == data);
        assert!(served.get() >= 14, "{} turns for the others", served.get());
    });
}
