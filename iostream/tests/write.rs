//! Writing: order, coalescing, futures, room (IO23-IO28, IO32, IO33).

mod support;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::Bytes;
use ioloop::{IoLoop, Ready};
use iostream::{
    AsyncIo, CloseReason, IoStream, MemoryBudget, StreamError, StreamOptions, buffered_bytes, leased_blocks,
};
use support::{assert_closed_here, assert_failed_with, noise, poll_once, run, stream, stream_with, turns};

#[test]
fn io24_what_one_turn_writes_leaves_in_one_go_and_in_order() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("one "));
        drop(stream.write(vec![b't', b'w', b'o', b' ']));
        stream.write_with(|out| out.extend_from_slice(b"three ")).unwrap();
        stream.queue(Bytes::from_static(b"four ")).unwrap();
        drop(stream.write(String::from("five")));
        assert_eq!(script.calls().writes, 0, "not before the end of the turn");
        assert!(stream.is_writing());
        turns(1).await;
        assert_eq!(script.received(), b"one two three four five");
        assert_eq!(script.calls().writes, 1);
        assert_eq!((stream.is_writing(), stream.pending(), stream.bytes_sent()), (false, 0, 23));
    });
}

#[test]
fn io23_any_bytes_are_taken_and_what_is_borrowed_for_ever_or_large_is_not_copied() {
    run(async {
        let (stream, script) = stream();
        let large = Bytes::from(noise(20_000));
        drop(stream.write("text"));
        drop(stream.write(&b"slice"[..]));
        drop(stream.write(vec![1, 2, 3]));
        drop(stream.write(Box::<[u8]>::from([4, 5])));
        drop(stream.write(large.clone()));
        assert!(!large.is_unique(), "the stream holds it, not a copy");
        stream.flush().await.unwrap();
        assert!(large.is_unique());
        assert_eq!(script.received(), [&b"textslice\x01\x02\x03\x04\x05"[..], &large].concat());
    });
}

#[test]
fn io24_an_awaited_write_leaves_at_once() {
    run(async {
        let (stream, script) = stream();
        assert!(poll_once(stream.write("now")).await.unwrap().is_ok());
        assert_eq!(script.received(), b"now");
        turns(2).await;
        assert_eq!(script.calls().writes, 1, "and not again");
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_head_and_a_large_body_leave_in_one_call() {
    run(async {
        let (stream, script) = stream();
        let body = Bytes::from(noise(100_000));
        drop(stream.write("head"));
        stream.write(body.clone()).await.unwrap();
        assert_eq!(script.calls().writes, 1);
        assert!(script.received() == [b"head", &body[..]].concat());
    });
}

#[test]
fn io25_futures_are_done_in_the_order_of_the_calls_whoever_asks_first() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        let done = Rc::new(RefCell::new(Vec::new()));
        let mut writes: Vec<_> = (0..5).map(|number| (number, stream.write("data"))).collect();
        writes.reverse();
        for (number, write) in writes {
            let done = Rc::clone(&done);
            IoLoop::current().spawn_detached(async move {
                write.await.unwrap();
                done.borrow_mut().push(number);
            });
        }
        turns(3).await;
        assert!(done.borrow().is_empty());
        script.set_room(Some(9));
        turns(5).await;
        assert_eq!(*done.borrow(), [0, 1], "the third is not all in the kernel");
        script.set_room(None);
        turns(5).await;
        assert_eq!(*done.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn io26_an_empty_write_is_done_when_what_precedes_it_has_been_sent() {
    run(async {
        let (stream, script) = stream();
        assert!(poll_once(stream.write("")).await.unwrap().is_ok());
        assert_eq!((script.calls().writes, leased_blocks()), (0, 0));
        script.set_room(Some(0));
        drop(stream.write("before"));
        let mut barrier = stream.write("");
        assert!(poll_once(&mut barrier).await.is_none());
        script.set_room(None);
        barrier.await.unwrap();
        assert_eq!(script.received(), b"before");
    });
}

#[test]
fn io27_a_write_nobody_waits_for_is_sent_and_fails_in_silence() {
    run(async {
        let (stream, script) = stream();
        script.set_largest_write(Some(2));
        assert!(poll_once(stream.write("12345")).await.is_some());
        script.set_room(Some(1));
        assert!(poll_once(stream.write("67890")).await.is_none(), "and it is dropped while it waits");
        script.set_room(None);
        turns(4).await;
        assert_eq!(script.received(), b"1234567890");
        script.reset();
        drop(stream.write("lost"));
        turns(2).await;
        assert!(stream.is_closed());
    });
}

#[test]
fn io28_writes_to_a_closed_stream_fail_and_those_that_wait_get_the_cause() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(3));
        let waiting = [stream.write("abc"), stream.write("def"), stream.write("")];
        let tasks = waiting.map(|write| IoLoop::current().spawn(write));
        turns(3).await;
        script.reset();
        let [sent, unsent, barrier] = tasks;
        sent.await.unwrap().unwrap();
        assert_failed_with(unsent.await.unwrap(), ErrorKind::ConnectionReset);
        assert_failed_with(barrier.await.unwrap(), ErrorKind::ConnectionReset);
        assert_failed_with(stream.write("x").await, ErrorKind::ConnectionReset);
        assert_failed_with(stream.write_with(|_| unreachable!()), ErrorKind::ConnectionReset);
        assert_failed_with(stream.queue("x"), ErrorKind::ConnectionReset);
        assert_failed_with(stream.flush().await, ErrorKind::ConnectionReset);
        assert_eq!((stream.pending(), leased_blocks()), (0, 0));
    });
}

#[test]
fn io33_an_error_of_the_transport_closes_the_stream_and_is_the_cause() {
    run(async {
        let (stream, script) = stream();
        script.fail(ErrorKind::StorageFull);
        assert_failed_with(stream.write("x").await, ErrorKind::StorageFull);
        assert!(script.is_closed());
        assert_failed_with(stream.read_bytes(1).await, ErrorKind::StorageFull);
    });
}

#[test]
fn io33_a_read_whose_turn_to_send_meets_the_end_gives_what_the_peer_said_last() {
    async fn after_the_end<T>(read: impl AsyncFn(&IoStream) -> T) -> T {
        let (stream, script) = stream();
        assert!(poll_once(stream.fill()).await.is_none());
        turns(2).await;
        script.send("go away\n");
        script.fail_behind(ErrorKind::BrokenPipe); // of neither has the loop told yet
        drop(stream.write("more"));
        let read = read(&stream).await;
        assert!(stream.is_closed());
        assert_failed_with(stream.read_bytes(1).await, ErrorKind::BrokenPipe);
        read
    }
    run(async {
        assert_eq!(after_the_end(async |stream| stream.read_until(b"\n").await).await.unwrap(), "go away\n");
        assert_eq!(after_the_end(async |stream| stream.read_bytes(8).await).await.unwrap(), "go away\n");
        assert_eq!(after_the_end(async |stream| stream.read_into(&mut [0; 20]).await).await.unwrap(), 8);
        let read = after_the_end(async |stream| {
            futures_lite::AsyncReadExt::read(&mut AsyncIo::new(stream.clone()), &mut [0; 20]).await
        });
        assert_eq!(read.await.unwrap(), 8);
        let shown = after_the_end(async |stream| {
            let mut io = AsyncIo::new(stream.clone());
            let mut line = String::new();
            futures_lite::AsyncBufReadExt::read_line(&mut io, &mut line).await.map(|_| line)
        });
        assert_eq!(shown.await.unwrap(), "go away\n");
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn io33_what_is_kept_of_a_peer_that_takes_no_more_is_8_mib_and_less_where_memory_is_scarce() {
    const MIB: usize = 1 << 20;
    for (budget, most) in [(MemoryBudget::default(), 8 * MIB), (MemoryBudget::new(MIB, 2 * MIB), MIB)] {
        run(async {
            budget.install();
            let (stream, script) = stream();
            script.send(vec![b'x'; 10 * MIB]);
            script.fail_behind(ErrorKind::BrokenPipe);
            assert_failed_with(stream.write("more").await, ErrorKind::BrokenPipe);
            assert!((most / 2..=most).contains(&stream.buffered()), "{} of {most}", stream.buffered());
            assert!(buffered_bytes() <= budget.hard, "{}", buffered_bytes());
            drop(stream);
            assert_eq!((buffered_bytes(), leased_blocks()), (0, 0));
            MemoryBudget::default().install();
        });
    }
}

#[test]
fn io32_a_write_without_room_waits_for_it_and_keeps_its_place() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(10));
        script.set_room(Some(0));
        drop(stream.write("0123456789"));
        let second = stream.write("second ");
        let third = stream.write("third");
        let done = Rc::new(RefCell::new(Vec::new()));
        for (name, write) in [("third", third), ("second", second)] {
            let done = Rc::clone(&done);
            IoLoop::current().spawn_detached(async move {
                write.await.unwrap();
                done.borrow_mut().push(name);
            });
        }
        turns(3).await;
        for _ in 0..22 {
            script.set_room(Some(1));
            turns(3).await;
        }
        assert_eq!(script.received(), b"0123456789second third");
        assert_eq!(*done.borrow(), ["second", "third"]);
        assert!(!stream.is_closed());
    });
}

#[test]
fn io32_one_write_may_be_larger_than_the_limit() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(10));
        let data = noise(1_000);
        script.set_largest_write(Some(100));
        drop(stream.write(data.clone()));
        turns(2).await;
        stream.flush().await.unwrap();
        assert!(!stream.is_closed());
        assert!(script.received() == data);
    });
}

#[test]
fn io32_a_write_that_is_dropped_while_it_waits_for_room_closes_the_stream() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(10));
        script.set_room(Some(0));
        drop(stream.write("0123456789"));
        drop(stream.write("")); // a barrier needs no room
        assert!(!stream.is_closed());
        drop(stream.write("x"));
        assert!(matches!(stream.close_reason(), Some(CloseReason::WriteAbandoned)));
        assert!(matches!(stream.flush().await, Err(StreamError::Closed(CloseReason::WriteAbandoned))));
    });
}

#[test]
fn io32_a_write_that_has_found_room_may_be_dropped() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(10));
        script.set_room(Some(0));
        drop(stream.write("0123456789"));
        let mut waiting = stream.write("ab");
        assert!(poll_once(&mut waiting).await.is_none());
        script.set_room(Some(1));
        turns(3).await;
        drop(waiting);
        assert!(!stream.is_closed());
        script.set_room(None);
        stream.flush().await.unwrap();
        assert_eq!(script.received(), b"0123456789ab");
    });
}

#[test]
fn many_producers_share_one_stream_and_every_write_is_done() {
    // Tornado's test_future_write: 10 producers that each wait for every write.
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(20_000));
        script.set_largest_write(Some(7_777));
        script.set_room(Some(0));
        let producers: Vec<_> = (0..10_u8)
            .map(|producer| {
                let stream = stream.clone();
                IoLoop::current().spawn(async move {
                    for _ in 0..100 {
                        stream.write(vec![producer; 5_000]).await.unwrap();
                    }
                })
            })
            .collect();
        let consumer = {
            let script = script.clone();
            IoLoop::current().spawn(async move {
                let mut received = Vec::new();
                while received.len() < 5_000_000 {
                    script.set_room(Some(33_333));
                    turns(2).await;
                    received.extend(script.received());
                }
                received
            })
        };
        for producer in producers {
            producer.await.unwrap();
        }
        let received = consumer.await.unwrap();
        assert_eq!((received.len(), stream.bytes_sent()), (5_000_000, 5_000_000));
        assert!(
            received.chunks(5_000).all(|write| write.iter().all(|byte| *byte == write[0])),
            "writes were mixed"
        );
    });
}

#[test]
fn short_writes_and_a_storm_of_would_block_cost_no_byte() {
    run(async {
        let (stream, script) = stream();
        let data = noise(100_000);
        script.set_largest_write(Some(97));
        for part in data.chunks(9_999) {
            script.block(0, 5);
            stream.write(part.to_vec()).await.unwrap();
        }
        assert!(script.received() == data);
        assert_eq!(script.calls().writes_blocked, 5 * data.chunks(9_999).count());
    });
}

#[test]
fn a_writer_in_place_gets_empty_memory_and_what_it_leaves_comes_in_order() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("first "));
        let result = stream.write_with(|out| {
            assert!(out.is_empty(), "what is queued is not its to take back");
            out.extend_from_slice(b"discarded");
            out.clear();
            drop(stream.write("second "));
            out.extend_from_slice(b"third");
            42
        });
        assert_eq!(result.unwrap(), 42);
        stream.flush().await.unwrap();
        assert_eq!(script.received(), b"first second third");
    });
}

#[test]
fn what_is_appended_leaves_when_the_reader_waits_or_when_the_loop_is_told() {
    run(async {
        let (stream, script) = stream();
        let append = |text: &str| stream.append_with(|out| out.extend_from_slice(text.as_bytes())).unwrap();
        append("one ");
        turns(2).await;
        assert_eq!((script.calls().writes, stream.pending()), (0, 4), "the loop knows nothing of it");
        assert!(poll_once(stream.fill()).await.is_none());
        assert_eq!(script.received(), b"one ");
        append("two ");
        stream.flush_at_end_of_turn();
        assert_eq!(script.calls().writes, 1, "not before the end of the turn");
        turns(1).await;
        assert_eq!(script.received(), b"two ");
        append("three ");
        drop(stream.write("four"));
        turns(1).await;
        assert_eq!(script.received(), b"three four", "with what is written otherwise, and in order");
        assert_eq!((script.calls().writes, stream.pending(), leased_blocks()), (3, 0, 0));
    });
}

#[test]
fn what_is_appended_leaves_too_when_a_side_is_reported_closed_and_there_is_nothing_to_show_for_it() {
    run(async {
        let (stream, script) = stream();
        assert!(poll_once(stream.fill()).await.is_none());
        script.notify(Ready::READABLE | Ready::READ_CLOSED);
        turns(2).await;
        stream.append_with(|out| out.extend_from_slice(b"said")).unwrap();
        assert!(poll_once(stream.fill()).await.is_none());
        assert_eq!(script.received(), b"said");
    });
}

#[test]
fn a_writer_in_place_that_panics_leaves_everything_as_it_was() {
    run(async {
        let (stream, script) = stream();
        let half_done = || {
            stream.write_with(|out| {
                out.extend_from_slice(b"half a respo");
                panic!("in the handler");
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(half_done)).is_err());
        assert_eq!(leased_blocks(), 0);
        drop(stream.write("before "));
        assert!(catch_unwind(AssertUnwindSafe(half_done)).is_err());
        stream.write("after").await.unwrap();
        assert_eq!(script.received(), b"before after");
        assert_eq!((stream.pending(), leased_blocks()), (0, 0));
    });
}

#[test]
fn a_writer_in_place_that_closes_the_stream_is_told_so() {
    run(async {
        let (stream, script) = stream();
        assert_closed_here(stream.write_with(|out| {
            out.push(1);
            stream.close();
        }));
        assert_eq!((script.received().len(), leased_blocks()), (0, 0));
    });
}

#[test]
fn what_waits_leaves_first_whatever_a_writer_in_place_does_meanwhile() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("first "));
        let result = stream.write_with(|out| {
            out.extend_from_slice(b"third");
            let second = pin!(stream.write("second "));
            assert!(second.poll(&mut Context::from_waker(Waker::noop())).is_ready(), "both are sent");
        });
        result.unwrap();
        assert_eq!(script.received(), b"first second ");
        assert_closed_here(stream.write_with(|_| stream.close()));
        assert_eq!(script.received(), b"third", "what waits is offered once more");
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_flush_waits_for_what_was_written_before_it_and_not_for_more() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("before"));
        let flush = {
            let stream = stream.clone();
            IoLoop::current().spawn(async move { stream.flush().await })
        };
        turns(2).await;
        drop(stream.write("after"));
        script.set_room(Some(6));
        flush.await.unwrap().unwrap();
        assert_eq!(stream.pending(), 5);
    });
}
