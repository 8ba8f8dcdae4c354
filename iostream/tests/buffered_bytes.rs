//! The account of what streams hold in memory: right whatever is read, written and closed, and empty in the end.

mod support;

use bytes::Bytes;
use iostream::buffered_bytes;
use support::{poll_once, run, stream};

const KIB: usize = 1024;
const BLOCK: usize = 64 * KIB;

#[test]
fn what_is_read_counts_by_the_memory_it_is_in_until_it_is_taken() {
    run(async {
        let (stream, script) = stream();
        script.send(b"a line\nhalf of the next");
        assert_eq!(stream.read_until(b"\n").await.unwrap(), "a line\n");
        assert_eq!(buffered_bytes(), BLOCK, "the remainder keeps its block until the stream waits");
        assert!(poll_once(stream.read_until(b"\n")).await.is_none());
        assert_eq!(buffered_bytes(), "half of the next".len(), "parked");
        stream.consume(usize::MAX);
        assert_eq!(buffered_bytes(), 0);

        script.send(vec![7; BLOCK]);
        let taken = stream.read_bytes(BLOCK).await.unwrap();
        assert_eq!(buffered_bytes(), 0, "the block is the caller's");
        drop(taken);
        assert_eq!(buffered_bytes(), 0);

        script.send(vec![7; 3 * BLOCK]);
        assert!(poll_once(stream.read_bytes(4 * BLOCK)).await.is_none());
        assert!(buffered_bytes() >= 3 * BLOCK);
        drop(stream);
        assert_eq!(buffered_bytes(), 0);
    });
}

/// A handler that is slow keeps what its peer has sent ahead, if only a byte: not a block for each of a crowd of them.
#[test]
fn a_crowd_of_readers_that_leave_a_little_unread_holds_a_few_blocks_and_else_just_that() {
    const CROWD: usize = 500;
    const FEW: usize = 64;
    run(async {
        let streams: Vec<_> = (0..CROWD).map(|_| stream()).collect();
        for (stream, script) in &streams {
            script.send(b"a line\nahead");
            assert_eq!(stream.read_until(b"\n").await.unwrap(), "a line\n");
            support::turns(1).await;
        }
        let little = (CROWD - FEW) * "ahead".len();
        assert!(buffered_bytes() <= FEW * BLOCK + little, "{} bytes", buffered_bytes());

        // Those who answer in the same turn are flushed in it.
        let (last, script) = streams.last().unwrap();
        script.send(b"\nmore");
        assert_eq!(last.read_until(b"\n").await.unwrap(), "ahead\n");
        drop(last.write("an answer"));
        support::turns(2).await;
        assert_eq!(script.received(), b"an answer");
        assert!(buffered_bytes() <= FEW * BLOCK + little, "{} bytes", buffered_bytes());

        for (stream, script) in &streams[..CROWD - 1] {
            script.send(b"\n");
            assert_eq!(stream.read_until(b"\n").await.unwrap(), "ahead\n");
        }
        assert_eq!(last.read_bytes(4).await.unwrap(), "more");
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn what_is_written_counts_until_it_is_sent_and_not_where_others_hold_it_too() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        stream.queue("small").unwrap();
        assert_eq!(buffered_bytes(), 16 * KIB, "the memory that it was copied into");
        stream.queue(vec![1; 100 * KIB]).unwrap();
        assert_eq!(buffered_bytes(), 116 * KIB);
        static PAGE: [u8; 32 * KIB] = [b'.'; 32 * KIB];
        stream.queue(Bytes::from_static(&PAGE)).unwrap();
        let cached = Bytes::from(vec![2; 200 * KIB]);
        stream.queue(cached.clone()).unwrap();
        assert_eq!(buffered_bytes(), 116 * KIB, "that memory is not the stream's");

        script.set_room(Some(50 * KIB));
        support::turns(3).await;
        assert_eq!(buffered_bytes(), 100 * KIB, "a large piece is held until all of it has left");
        script.set_room(None);
        stream.flush().await.unwrap();
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn a_block_that_was_read_counts_again_while_it_waits_to_be_sent() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        for round in 1..=3 {
            script.send(vec![7; BLOCK]);
            let block = stream.read_bytes(BLOCK).await.unwrap();
            assert_eq!(buffered_bytes(), (round - 1) * BLOCK);
            stream.queue(block).unwrap();
            assert_eq!(buffered_bytes(), round * BLOCK);
        }
        let elsewhere = std::thread::spawn(buffered_bytes);
        assert_eq!(elsewhere.join().unwrap(), 0, "each thread has its own");
        stream.close();
        assert_eq!(buffered_bytes(), 0, "what was not sent is dropped");
    });
}
