//! The calls for reading and writing, over every transport alike (Tornado's TestReadWriteMixin).

mod support;
#[path = "support/tls_over.rs"]
mod tls_over;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ioloop::{IoLoop, JoinHandle};
use iostream::testing::Faults;
use iostream::{CloseReason, IoStream, Regex, StreamError, StreamOptions, leased_blocks};
use support::transports::{BothWays, Connect, Memory, Tcp};
#[cfg(unix)]
use support::transports::{Pipe, Pipes, Unix};
use support::{assert_closed_here, assert_end_of_stream, noise, poll_once, turns};
use tls_over::Tls;

/// The tests that need one direction, over one transport after the other.
macro_rules! one_way {
    ($name:ident: $transports:expr) => {
        each_test!($name: $transports;
            io14_a_line_is_read_up_to_and_including_its_end
            io14_a_long_line_arrives_as_it_is
            io15_io16_a_line_that_is_too_long_fails_and_stays
            io17_a_match_is_read_up_to_its_end
            io17_a_match_that_comes_too_late_fails_and_stays
            io12_a_number_of_bytes_is_that_number
            io12_a_partial_read_gives_what_there_is_and_no_more_than_asked_for
            io13_reads_into_memory_fill_it_or_give_the_count
            io11_nothing_is_read_at_once
            io18_everything_up_to_the_end_is_one_piece
            io21_an_end_that_comes_too_early_is_an_error_and_the_remainder_stays
            io9_a_read_that_is_given_up_takes_nothing
            io6_there_is_one_reader_at_a_time
            io2_io20_a_buffer_may_be_full_and_no_fuller
            io24_bytes_leave_in_the_order_of_the_calls
            io25_io26_futures_are_done_in_the_order_of_the_calls
            io32_a_writer_goes_at_the_pace_of_its_reader
            io33_writing_to_a_reader_that_is_gone_is_a_disconnect
            io34_what_was_written_before_a_close_arrives
        );
    };
}

/// Those, and the tests that need both directions.
macro_rules! both_ways {
    ($name:ident: $transports:expr) => {
        mod $name {
            use super::*;
            one_way!(one_way: $transports);
            each_test!(both_ways: $transports;
                io36_the_end_of_one_direction_is_not_the_end_of_the_other
                io38_the_end_of_the_peers_side_is_heard_while_this_side_writes
            );
        }
    };
}

macro_rules! each_test {
    ($name:ident: $transports:expr; $($test:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $test() {
                    for transport in $transports {
                        crate::$test(&transport);
                    }
                }
            )*
        }
    };
}

both_ways!(tcp: [Tcp]);
#[cfg(unix)]
both_ways!(unix: [Unix]);
#[cfg(unix)]
one_way!(pipe: [Pipe]);
#[cfg(unix)]
both_ways!(pipes: [Pipes]);
both_ways!(memory: [Memory(Faults::new())]);
both_ways!(faulty_memory: (0..8).map(Memory::seeded));
both_ways!(tls_over_tcp: Tls::each(|| Tcp));
#[cfg(unix)]
both_ways!(tls_over_pipes: Tls::each(|| Pipes));
both_ways!(tls_over_faulty_memory: (0..8).map(|seed| Tls::seeded(Memory::seeded(seed), seed)));

/// Writes each part in a turn of its own, waiting until it has left, then ends that side.
fn sender(writer: IoStream, parts: &[&[u8]]) -> JoinHandle<()> {
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    IoLoop::current().spawn(async move {
        for part in parts {
            writer.write(part).await.unwrap();
            turns(2).await;
        }
        writer.shutdown_write().await.unwrap();
    })
}

/// [`sender`] in the background.
fn send(writer: IoStream, parts: &[&[u8]]) {
    drop(sender(writer, parts));
}

async fn connect(transport: &impl Connect) -> (IoStream, IoStream) {
    transport.connect(StreamOptions::default()).await
}

fn io14_a_line_is_read_up_to_and_including_its_end(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        send(writer, &[b"one\r\ntw", b"o\r", b"\n\r\nthree\r\n"]);
        for line in ["one\r\n", "two\r\n", "\r\n", "three\r\n"] {
            assert_eq!(reader.read_until(b"\r\n").await.unwrap(), line);
        }
        assert_end_of_stream(reader.read_until(b"\r\n").await);
        assert_eq!(leased_blocks(), 0);
    });
}

fn io14_a_long_line_arrives_as_it_is(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let mut line = noise(transport.plenty().min(4 << 20));
        line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'.');
        line.push(b'\n');
        send(writer, &[&line, b"next"]);
        assert!(reader.read_until(b"\n").await.unwrap() == line, "the line was changed");
        assert_eq!(reader.read_until_close().await.unwrap(), "next");
    });
}

fn io15_io16_a_line_that_is_too_long_fails_and_stays(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        send(writer, &[b"abc", b"def\r\nrest"]);
        for max_bytes in [1, 6, 7] {
            match reader.read_until_max(b"\r\n", max_bytes).await {
                Err(StreamError::DelimiterNotFound { max_bytes: limit }) => assert_eq!(limit, max_bytes),
                other => panic!("{other:?}"),
            }
        }
        assert!(!reader.is_closed());
        assert_eq!(reader.read_until_max(b"\r\n", 8).await.unwrap(), "abcdef\r\n");
    });
}

fn io17_a_match_is_read_up_to_its_end(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let end_of_head = Regex::new(r"\r?\n\r?\n").unwrap();
        send(writer, &[b"a: b\r\nc", b": d\r\n\r", b"\ne: f\n", b"\nrest"]);
        assert_eq!(reader.read_until_regex(&end_of_head).await.unwrap(), "a: b\r\nc: d\r\n\r\n");
        assert_eq!(reader.read_until_regex_max(&end_of_head, 6).await.unwrap(), "e: f\n\n");
        assert_end_of_stream(reader.read_until_regex(&end_of_head).await);
        assert_eq!(reader.read_until_close().await.unwrap(), "rest");
    });
}

fn io17_a_match_that_comes_too_late_fails_and_stays(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let end = Regex::new("[0-9]{2}").unwrap();
        send(writer, &[b"abc", b"1d", b"23"]);
        for max_bytes in [1, 5, 6] {
            let result = reader.read_until_regex_max(&end, max_bytes).await;
            assert!(matches!(result, Err(StreamError::DelimiterNotFound { .. })), "{result:?}");
        }
        assert_eq!(reader.read_until_regex_max(&end, 7).await.unwrap(), "abc1d23");
    });
}

fn io12_a_number_of_bytes_is_that_number(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let data = noise(transport.plenty().min(4 << 20));
        send(writer, &[b"ab", b"cde", &data, b"fgh"]);
        assert_eq!(reader.read_bytes(1).await.unwrap(), "a");
        assert_eq!(reader.read_bytes(4).await.unwrap(), "bcde");
        assert!(reader.read_bytes(data.len()).await.unwrap() == data);
        assert_end_of_stream(reader.read_bytes(4).await);
        assert_eq!(reader.read_bytes(3).await.unwrap(), "fgh");
    });
}

fn io12_a_partial_read_gives_what_there_is_and_no_more_than_asked_for(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let data = noise(5_000);
        send(writer, &[&data]);
        let mut received = Vec::new();
        loop {
            match reader.read_partial(100).await {
                Ok(bytes) => {
                    assert!((1..=100).contains(&bytes.len()));
                    received.extend(bytes);
                }
                Err(error) => break assert_end_of_stream::<()>(Err(error)),
            }
        }
        assert!(received == data);
    });
}

fn io13_reads_into_memory_fill_it_or_give_the_count(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        send(writer, &[b"0123456789", b"abcdefghij", b"rest"]);
        assert_eq!(reader.read_bytes(3).await.unwrap(), "012");
        let mut memory = [0; 12];
        reader.read_exact(&mut memory).await.unwrap();
        assert_eq!(&memory, b"3456789abcde");
        let mut count = 0;
        while count < 9 {
            let n = reader.read_into(&mut memory[count..9]).await.unwrap();
            assert!(n > 0);
            count += n;
        }
        assert_eq!(&memory[..9], b"fghijrest");
        assert_end_of_stream(reader.read_into(&mut memory).await);
    });
}

fn io11_nothing_is_read_at_once(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        assert_eq!(reader.read_bytes(0).await.unwrap(), "");
        assert_eq!(reader.read_partial(0).await.unwrap(), "");
        assert_eq!(reader.read_into(&mut []).await.unwrap(), 0);
        reader.read_exact(&mut []).await.unwrap();
        send(writer, &[b"x"]);
        assert_eq!(reader.read_bytes(1).await.unwrap(), "x");
        assert_eq!(reader.read_bytes(0).await.unwrap(), "");
    });
}

fn io18_everything_up_to_the_end_is_one_piece(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let data = noise(transport.plenty().min(4 << 20));
        let sent = sender(writer, &[&data[..10], &data[10..]]);
        assert!(reader.read_until_close().await.unwrap() == data);
        assert_eq!(reader.read_until_close().await.unwrap(), "");
        sent.await.unwrap();
        assert_eq!(leased_blocks(), 0);
    });
}

fn io21_an_end_that_comes_too_early_is_an_error_and_the_remainder_stays(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let regex = Regex::new(r"\n").unwrap();
        send(writer, &[b"no ", b"end"]);
        assert_end_of_stream(reader.read_until(b"\n").await);
        assert_end_of_stream(reader.read_until_max(b"\n", 7).await);
        assert_end_of_stream(reader.read_until_regex(&regex).await);
        assert_end_of_stream(reader.read_bytes(7).await);
        assert_end_of_stream(reader.read_exact(&mut [0; 7]).await);
        assert!(reader.is_end_of_stream() && !reader.is_closed());
        assert_eq!(reader.read_bytes(2).await.unwrap(), "no");
        assert_eq!(reader.read_partial(100).await.unwrap(), " end");
        assert_end_of_stream(reader.read_partial(1).await);
    });
}

fn io9_a_read_that_is_given_up_takes_nothing(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let regex = Regex::new(r"\r\n").unwrap();
        let text = b"hello, world\r";
        for (arrived, byte) in text.iter().enumerate() {
            writer.queue(vec![*byte]).unwrap(); // awaiting a write would wait for the reader, where the wire is narrow
            while reader.buffered() <= arrived {
                assert!(poll_once(reader.read_until(b"\r\n")).await.is_none());
                assert!(poll_once(reader.read_until_max(b"\r\n", 50)).await.is_none());
                assert!(poll_once(reader.read_until_regex(&regex)).await.is_none());
                assert!(poll_once(reader.read_bytes(14)).await.is_none());
                assert!(poll_once(reader.read_exact(&mut [0; 14])).await.is_none());
                assert!(poll_once(reader.read_until_close()).await.is_none());
                assert!(!reader.is_reading());
                // One that waits until something comes and is then given up.
                if reader.buffered() <= arrived {
                    reader.fill().await.unwrap();
                }
            }
        }
        assert_eq!(reader.buffered(), text.len());
        send(writer, &[b"\nnext"]);
        assert_eq!(reader.read_until(b"\r\n").await.unwrap(), "hello, world\r\n");
        assert_eq!(reader.read_until_close().await.unwrap(), "next");
    });
}

fn io6_there_is_one_reader_at_a_time(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let regex = Regex::new("x").unwrap();
        let first = IoLoop::current().spawn({
            let reader = reader.clone();
            async move { reader.read_bytes(2).await }
        });
        turns(2).await;
        assert!(reader.is_reading());
        assert!(matches!(reader.read_until_regex(&regex).await, Err(StreamError::AlreadyReading)));
        assert!(matches!(reader.read_bytes(1).await, Err(StreamError::AlreadyReading)));
        send(writer, &[b"ab"]);
        assert_eq!(first.await.unwrap().unwrap(), "ab");
        assert!(!reader.is_reading());
    });
}

fn io2_io20_a_buffer_may_be_full_and_no_fuller(transport: &impl Connect) {
    for (more, full) in [("", false), ("\n", true)] {
        transport.run(async {
            let options = StreamOptions::new().max_buffer_size(1_000);
            let (writer, reader) = transport.connect(options).await;
            let text = "x".repeat(1_000);
            drop(writer.write(text.clone() + more));
            let _open = IoLoop::current().spawn(async move { writer.shutdown_write().await });
            let result = reader.read_until(b"\n").await;
            if full {
                let reason = result.unwrap_err();
                assert!(
                    matches!(reason, StreamError::Closed(CloseReason::ReadBufferFull(1_000))),
                    "{reason:?}"
                );
            } else {
                assert_end_of_stream(result);
            }
            assert_eq!(reader.is_closed(), full);
            assert_eq!(reader.read_bytes(1_000).await.unwrap(), text);
        });
    }
}

fn io24_bytes_leave_in_the_order_of_the_calls(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let mut expected = Vec::new();
        for number in 0..1_000 {
            let text = format!("{number}\n");
            expected.extend_from_slice(text.as_bytes());
            match number % 4 {
                0 => drop(writer.write(text)),
                3 => drop(writer.write_now(text.as_bytes())),
                1 => writer.write_with(|out| out.extend_from_slice(text.as_bytes())).unwrap(),
                _ => writer.queue(text).unwrap(),
            }
        }
        let large = noise(transport.plenty() / 4);
        drop(writer.write(large.clone()));
        drop(writer.write_now(&large));
        expected.extend(large.repeat(2));
        assert!(writer.is_writing());
        send(writer, &[b"end"]);
        expected.extend(b"end");
        assert!(reader.read_until_close().await.unwrap() == expected);
    });
}

fn io25_io26_futures_are_done_in_the_order_of_the_calls(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let done = Rc::new(RefCell::new(Vec::new()));
        let part = noise(transport.plenty() / 4);
        // The empty one is a barrier.
        for (number, size) in [part.len(), 10, 0, part.len(), 1].into_iter().enumerate() {
            let (write, done) = (writer.write(part[..size].to_vec()), Rc::clone(&done));
            IoLoop::current().spawn_detached(async move {
                write.await.unwrap();
                done.borrow_mut().push(number);
            });
        }
        let total = 2 * part.len() + 11;
        let received = reader.read_bytes(total).await.unwrap();
        assert!(received[part.len() + 10..total - 1] == part);
        turns(3).await;
        assert_eq!(*done.borrow(), [0, 1, 2, 3, 4]);
        assert!(!writer.is_writing());
    });
}

fn io32_a_writer_goes_at_the_pace_of_its_reader(transport: &impl Connect) {
    const LIMIT: usize = 10_000;
    const PART: usize = 7_000;
    transport.run(async {
        let options = StreamOptions::new().max_write_buffer_size(LIMIT);
        let (writer, reader) = transport.connect(options).await;
        let data = noise(transport.plenty());
        let sent = sender(writer.clone(), &data.chunks(PART).collect::<Vec<_>>());
        // Nobody reads, so the writer comes to a stop.
        let mut before = u64::MAX;
        while before != writer.bytes_sent() {
            before = writer.bytes_sent();
            turns(500).await;
        }
        assert!(!sent.is_finished());
        let mut received = Vec::with_capacity(data.len());
        while received.len() < data.len() {
            assert!(writer.pending() <= LIMIT + PART, "{} bytes wait", writer.pending());
            received.extend(reader.read_partial(PART).await.unwrap());
        }
        assert!(received == data);
        assert_end_of_stream(reader.read_bytes(1).await);
        sent.await.unwrap();
    });
}

fn io33_writing_to_a_reader_that_is_gone_is_a_disconnect(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        drop(reader);
        let error = loop {
            if let Err(error) = writer.write("anyone?").await {
                break error;
            }
        };
        assert!(error.is_disconnect(), "{error:?}");
        assert!(writer.is_closed());
        assert!(writer.write("x").await.unwrap_err().is_disconnect(), "the same again");
    });
}

fn io34_what_was_written_before_a_close_arrives(transport: &impl Connect) {
    transport.run(async {
        let (writer, reader) = connect(transport).await;
        let closing = IoLoop::current().spawn(async move {
            drop(writer.write("last "));
            writer.write("words").await.unwrap();
            writer.close();
            assert_closed_here(writer.write("too late").await);
        });
        // Behind that comes the end, or over TLS a cut, if there was no room for one word more.
        assert_eq!(reader.read_bytes(10).await.unwrap(), "last words");
        assert!(reader.read_bytes(1).await.unwrap_err().is_disconnect());
        closing.await.unwrap();
    });
}

fn io36_the_end_of_one_direction_is_not_the_end_of_the_other(transport: &impl BothWays) {
    transport.run(async {
        let (client, server) = connect(transport).await;
        send(client.clone(), &[b"question"]);
        assert_eq!(server.read_until_close().await.unwrap(), "question");
        send(server, &[b"ans", b"wer"]);
        assert_eq!(client.read_until_close().await.unwrap(), "answer");
        assert!(!client.is_closed());
    });
}

fn io38_the_end_of_the_peers_side_is_heard_while_this_side_writes(transport: &impl BothWays) {
    transport.run(async {
        let (client, server) = connect(transport).await;
        let heard = Rc::new(Cell::new(0));
        server.set_close_callback(Some(Box::new({
            let heard = Rc::clone(&heard);
            move || heard.set(heard.get() + 1)
        })));
        send(client.clone(), &[b"question"]);
        let writing = sender(server.clone(), &[&noise(20_000)]);
        assert_eq!(server.read_until_close().await.unwrap(), "question");
        assert_eq!(client.read_until_close().await.unwrap().len(), 20_000);
        writing.await.unwrap();
        turns(3).await;
        assert_eq!(heard.get(), 1);
    });
}
