//! The traits of `futures-io` and of tokio over a stream, used through the extension methods of those who know nothing of it.

mod support;

use std::io::{self, ErrorKind};

use ioloop::IoLoop;
use iostream::testing::Script;
use iostream::{AsyncIo, IoStream, StreamError, StreamOptions, leased_blocks};
use support::{noise, poll_once, run, stream, stream_with, turns};

fn async_io() -> (AsyncIo, Script) {
    let (stream, script) = stream();
    (AsyncIo::new(stream), script)
}

fn second_handle(io: &mut AsyncIo) -> IoStream {
    io.stream().clone()
}

mod futures {
    use super::*;
    use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

    #[test]
    fn lines_are_read_and_answered_with_one_read_and_one_write() {
        run(async {
            let (mut io, script) = async_io();
            script.send("one\ntwo\nthr");
            let mut line = String::new();
            for expected in ["one\n", "two\n"] {
                line.clear();
                io.read_line(&mut line).await.unwrap();
                assert_eq!(line, expected);
                io.write_all(line.as_bytes()).await.unwrap();
            }
            io.flush().await.unwrap();
            assert_eq!(script.received(), b"one\ntwo\n");
            assert_eq!((script.calls().reads, script.calls().writes), (1, 1));
            script.send("ee\n");
            script.finish();
            line.clear();
            io.read_to_string(&mut line).await.unwrap();
            assert_eq!(line, "three\n");
            assert_eq!(io.read(&mut [0; 5]).await.unwrap(), 0, "the end, as often as it is asked");
            assert_eq!(leased_blocks(), 0);
        });
    }

    #[test]
    fn who_reads_many_small_pieces_out_of_one_block_gives_way() {
        const PIECES: usize = 60_000;
        for by_line in [true, false] {
            run(async {
                let (mut io, script) = async_io();
                script.send(vec![b'\n'; PIECES]);
                let began = IoLoop::current().counters().turns;
                let (mut line, mut byte) = (String::new(), [0]);
                for _ in 0..PIECES {
                    match by_line {
                        true => {
                            line.clear();
                            io.read_line(&mut line).await.unwrap();
                            assert_eq!(line, "\n");
                        }
                        false => io.read_exact(&mut byte).await.unwrap(),
                    }
                }
                assert_eq!(io.stream().buffered(), 0);
                let turns = IoLoop::current().counters().turns - began;
                assert!(turns >= 7, "{turns} turns");
            });
        }
    }

    #[test]
    fn what_is_shown_and_not_consumed_stays_in_the_stream() {
        run(async {
            let (mut io, script) = async_io();
            let other = second_handle(&mut io);
            script.send("abcdef");
            assert_eq!(io.fill_buf().await.unwrap(), b"abcdef");
            io.consume(1);
            io.consume(1);
            assert_eq!(io.fill_buf().await.unwrap(), b"cdef");
            assert_eq!(io.stream().read_bytes(1).await.unwrap(), "c");
            assert_eq!(io.fill_buf().await.unwrap(), b"def");
            let mut two = [0; 2];
            io.read_exact(&mut two).await.unwrap();
            assert_eq!(&two, b"de");
            assert_eq!(io.fill_buf().await.unwrap(), b"f");
            drop(io);
            assert_eq!(other.buffered(), 1);
            script.send("gh");
            assert_eq!(other.read_bytes(3).await.unwrap(), "fgh");
        });
    }

    #[test]
    fn what_was_read_meanwhile_comes_behind_what_is_shown() {
        run(async {
            let (mut io, script) = async_io();
            let other = second_handle(&mut io);
            script.send("abc");
            assert_eq!(io.fill_buf().await.unwrap(), b"abc");
            script.send("def");
            assert_eq!(other.fill().await.unwrap(), 3);
            io.consume(1);
            assert_eq!(io.into_inner().read_bytes(5).await.unwrap(), "bcdef");
        });
    }

    #[test]
    fn io9_reads_that_are_given_up_take_nothing() {
        run(async {
            let (mut io, script) = async_io();
            for byte in b"hello" {
                assert!(poll_once(io.read_until(b'\n', &mut Vec::new())).await.is_none());
                assert!(poll_once(io.read(&mut [0; 3])).await.is_none());
                assert!(poll_once(io.fill_buf()).await.is_none());
                script.send([*byte]);
                turns(2).await;
                assert_eq!(io.fill_buf().await.unwrap(), [*byte]);
                assert_eq!(io.stream().read_bytes(1).await.unwrap(), [*byte][..]);
            }
        });
    }

    #[test]
    fn an_empty_read_and_an_empty_write_are_done_at_once() {
        run(async {
            let (mut io, script) = async_io();
            assert_eq!(io.read(&mut []).await.unwrap(), 0);
            assert_eq!(io.write(&[]).await.unwrap(), 0);
            io.flush().await.unwrap();
            assert_eq!((script.calls().reads, script.calls().writes), (0, 0));
        });
    }

    #[test]
    fn io32_a_writer_waits_while_64_kib_wait() {
        run(async {
            let (mut io, script) = async_io();
            let data = noise(1 << 20);
            script.set_room(Some(100));
            let watched = second_handle(&mut io);
            let writer = IoLoop::current().spawn({
                let data = data.clone();
                async move {
                    io.write_all(&data).await.unwrap();
                    io.close().await.unwrap();
                }
            });
            turns(10).await;
            assert!(watched.pending() > 60_000 && watched.pending() <= 128 * 1024, "{}", watched.pending());
            assert!(!script.is_shut());
            let mut received = script.received();
            while received.len() < data.len() {
                script.set_room(Some(10_000));
                turns(2).await;
                assert!(watched.pending() <= 128 * 1024);
                received.extend(script.received());
            }
            writer.await.unwrap();
            assert!(received == data);
            assert!(script.is_shut(), "closing ends this side once everything has left");
        });
    }

    #[test]
    fn io32_a_smaller_limit_of_the_stream_is_heeded() {
        for most in [0, 1, 1_000] {
            run(async {
                let (stream, script) = stream_with(StreamOptions::new().max_write_buffer_size(most));
                let mut io = AsyncIo::from(stream);
                script.set_room(Some(0));
                assert_eq!(io.write(&[1; 900]).await.unwrap(), 900);
                if most == 1_000 {
                    assert_eq!(io.write(&[2; 900]).await.unwrap(), 900);
                }
                assert!(poll_once(io.write(&[3])).await.is_none());
                assert!(poll_once(io.flush()).await.is_none());
                script.set_room(None);
                io.write_all(&[3]).await.unwrap();
                io.flush().await.unwrap();
                assert_eq!(script.received().last(), Some(&3));
            });
        }
    }

    #[test]
    fn one_write_takes_several_slices() {
        run(async {
            let (mut io, script) = async_io();
            let large = noise(100_000);
            let slices = [io::IoSlice::new(b"head "), io::IoSlice::new(b""), io::IoSlice::new(&large)];
            let n = io.write_vectored(&slices).await.unwrap();
            assert_eq!(n, 64 * 1024);
            io.flush().await.unwrap();
            assert!(script.received() == [b"head ", &large[..n - 5]].concat());
        });
    }

    #[test]
    fn flushing_waits_until_everything_is_in_the_kernel() {
        run(async {
            let (mut io, script) = async_io();
            script.set_room(Some(3));
            io.write_all(b"hello").await.unwrap();
            assert!(poll_once(io.flush()).await.is_none());
            turns(3).await;
            assert!(poll_once(io.flush()).await.is_none(), "two bytes are left");
            script.set_room(None);
            io.flush().await.unwrap();
            assert_eq!(script.received(), b"hello");
        });
    }

    #[test]
    fn closing_flushes_and_ends_this_side_alone() {
        run(async {
            let (mut io, script) = async_io();
            script.set_room(Some(0));
            io.write_all(b"bye").await.unwrap();
            assert!(poll_once(io.close()).await.is_none());
            assert!(!script.is_shut());
            script.set_room(None);
            io.close().await.unwrap();
            io.close().await.unwrap();
            assert_eq!(io.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert!(script.is_shut() && !script.is_closed());
            assert_eq!(script.received(), b"bye");
            script.send("late");
            script.finish();
            let mut rest = Vec::new();
            io.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"late");
        });
    }

    #[test]
    fn io39_an_error_keeps_its_kind_and_its_cause() {
        run(async {
            let (mut io, script) = async_io();
            script.reset();
            for error in [
                io.read(&mut [0; 5]).await.unwrap_err(),
                io.fill_buf().await.unwrap_err(),
                io.write(b"x").await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>());
                assert!(cause.is_some_and(StreamError::is_disconnect), "{error:?}");
            }
            let (mut io, _script) = async_io();
            io.stream().close();
            assert_eq!(io.read(&mut [0; 5]).await.unwrap_err().kind(), ErrorKind::NotConnected);
        });
    }

    #[test]
    fn io6_reading_beside_a_read_of_the_stream_is_refused() {
        run(async {
            let (mut io, script) = async_io();
            let reader = IoLoop::current().spawn({
                let stream = second_handle(&mut io);
                async move { stream.read_bytes(2).await }
            });
            turns(2).await;
            assert_eq!(io.read(&mut [0; 5]).await.unwrap_err().kind(), ErrorKind::ResourceBusy);
            assert_eq!(io.fill_buf().await.unwrap_err().kind(), ErrorKind::ResourceBusy);
            script.send("ok");
            assert_eq!(reader.await.unwrap().unwrap(), "ok");
        });
    }

    #[test]
    fn two_clones_read_and_write_in_two_tasks() {
        run(async {
            let (mut reads, script) = async_io();
            let mut writes = AsyncIo::new(second_handle(&mut reads));
            script.set_room(Some(0));
            let writer = IoLoop::current().spawn(async move {
                writes.write_all(&noise(300_000)).await.unwrap();
                writes.flush().await
            });
            script.send("line\n");
            let mut line = String::new();
            reads.read_line(&mut line).await.unwrap();
            assert_eq!(line, "line\n");
            script.set_room(None);
            writer.await.unwrap().unwrap();
            assert!(script.received() == noise(300_000));
        });
    }

    #[test]
    fn one_who_waits_for_input_holds_no_buffer() {
        run(async {
            let (mut io, script) = async_io();
            script.send("abc");
            assert_eq!(io.fill_buf().await.unwrap(), b"abc");
            assert_eq!(leased_blocks(), 1);
            io.consume(3);
            assert!(poll_once(io.fill_buf()).await.is_none());
            assert_eq!(leased_blocks(), 0);
        });
    }
}

mod tokio {
    use super::*;
    use ::tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, copy_bidirectional, copy_buf};

    #[test]
    fn lines_are_read_and_answered_without_a_runtime() {
        run(async {
            let (mut io, script) = async_io();
            script.send_in_segments("one\r\ntwo\r\n", 1);
            script.finish();
            let mut line = String::new();
            while io.read_line(&mut line).await.unwrap() > 0 {
                io.write_all(line.as_bytes()).await.unwrap();
                line.clear();
            }
            io.shutdown().await.unwrap();
            assert_eq!(script.received(), b"one\r\ntwo\r\n");
            assert!(script.is_shut());
        });
    }

    #[test]
    fn a_read_fills_what_is_left_of_the_callers_memory() {
        run(async {
            let (mut io, script) = async_io();
            script.send("defgh");
            let mut memory = bytes::BytesMut::with_capacity(6);
            memory.extend_from_slice(b"abc");
            while memory.len() < 6 {
                let most = 6 - memory.len();
                io.read_buf(&mut bytes::BufMut::limit(&mut memory, most)).await.unwrap();
            }
            assert_eq!(memory, "abcdef");
            assert_eq!(io.into_inner().read_bytes(2).await.unwrap(), "gh");
        });
    }

    #[test]
    fn io32_copying_waits_for_room_and_loses_nothing() {
        run(async {
            let (mut from, source) = async_io();
            let (mut to, sink) = async_io();
            let data = noise(1_000_000);
            source.send_in_segments(&data, 70_000);
            source.finish();
            sink.set_room(Some(0));
            let watched = second_handle(&mut to);
            let copying = IoLoop::current().spawn(async move { copy_buf(&mut from, &mut to).await });
            turns(20).await;
            assert!(watched.pending() <= 128 * 1024);
            sink.set_room(None);
            assert_eq!(copying.await.unwrap().unwrap(), 1_000_000);
            assert!(sink.received() == data);
        });
    }

    #[test]
    fn a_proxy_between_two_streams_passes_on_both_ends() {
        run(async {
            let (mut left, left_peer) = async_io();
            let (mut right, right_peer) = async_io();
            left_peer.send("question");
            left_peer.finish();
            right_peer.send("answer");
            right_peer.finish();
            assert_eq!(copy_bidirectional(&mut left, &mut right).await.unwrap(), (8, 6));
            assert_eq!((left_peer.received(), right_peer.received()), (b"answer".into(), b"question".into()));
            assert!(left_peer.is_shut() && right_peer.is_shut());
        });
    }

    #[test]
    fn vectored_writes_are_taken_as_one() {
        run(async {
            let (stream, script) = stream_with(StreamOptions::default());
            let mut io = AsyncIo::new(stream);
            let slices = [io::IoSlice::new(b"one "), io::IoSlice::new(b"two")];
            assert_eq!(io.write_vectored(&slices).await.unwrap(), 7);
            io.flush().await.unwrap();
            assert_eq!((script.received(), script.calls().writes), (b"one two".into(), 1));
        });
    }

    #[test]
    fn io39_an_error_keeps_its_kind_and_its_cause() {
        run(async {
            let (mut io, script) = async_io();
            script.fail(ErrorKind::TimedOut);
            let error = io.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.into_inner().unwrap().is::<StreamError>());
        });
    }
}
