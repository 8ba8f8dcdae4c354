//! Closing, and who is told (IO34-IO41).

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, Ready, Registration, timeout};
use iostream::testing::{Scripted, scripted};
use iostream::{IoStream, Transport, leased_blocks};
use support::{
    assert_closed_here, assert_end_of_stream, assert_failed_with, noise, poll_once, run, stream, turns,
};

const SECOND: Duration = Duration::from_secs(1);

type Callback = Option<Box<dyn FnOnce()>>;

/// A callback that counts its calls.
fn counting() -> (Rc<Cell<u32>>, Callback) {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    (calls, Some(Box::new(move || counted.set(counted.get() + 1))))
}

/// A transport whose peer should have said more before its end.
struct Framed(Box<Scripted>);

impl Transport for Framed {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        self.0.attach(registration)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            result => result,
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown_write()
    }
}

#[test]
fn io53_an_end_where_there_should_be_none_is_told_each_time_and_leaves_the_other_side_open() {
    run(async {
        let (transport, script) = scripted();
        let stream = IoStream::new(Box::new(Framed(transport))).unwrap();
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        script.send("abc");
        script.finish();
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
        for _ in 0..2 {
            assert_failed_with(stream.read_bytes(1).await, ErrorKind::UnexpectedEof);
        }
        turns(2).await;
        assert_eq!((calls.get(), stream.is_closed(), stream.is_end_of_stream()), (1, false, false));
        stream.write("answer").await.unwrap();
        assert_eq!(script.received(), b"answer");
    });
}

#[test]
fn io34_closing_is_immediate_and_harmless_when_repeated() {
    run(async {
        let (stream, script) = stream();
        script.send("abc");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "a");
        stream.close();
        stream.close();
        assert!(stream.is_closed() && script.is_closed());
        assert_eq!(stream.read_bytes(2).await.unwrap(), "bc");
        assert_closed_here(stream.read_bytes(1).await);
        assert_closed_here(stream.write("x").await);
    });
}

#[test]
fn io34_what_waits_when_the_stream_closes_is_told_at_once() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(1).await }
        });
        let writer = IoLoop::current().spawn(stream.write("x"));
        let watcher = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.closed().await }
        });
        turns(3).await;
        stream.close();
        assert_closed_here(reader.await.unwrap());
        assert_closed_here(writer.await.unwrap());
        watcher.await.unwrap();
    });
}

#[test]
fn io35_a_failure_is_the_cause_for_everybody() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        let writer = IoLoop::current().spawn(stream.write("x"));
        turns(2).await;
        script.reset();
        assert_failed_with(stream.read_bytes(1).await, ErrorKind::ConnectionReset);
        assert_failed_with(writer.await.unwrap(), ErrorKind::ConnectionReset);
        assert!(stream.read_bytes(1).await.unwrap_err().is_disconnect());
    });
}

#[test]
fn io35_a_cause_that_is_given_to_close_is_the_cause_for_everybody() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("last words"));
        let mut reading = Box::pin(stream.read_bytes(1));
        assert!(poll_once(&mut reading).await.is_none());
        stream.close_with(io::Error::new(ErrorKind::InvalidData, "not our protocol"));
        stream.close_with(ErrorKind::TimedOut.into());
        assert_failed_with(reading.await, ErrorKind::InvalidData);
        assert_failed_with(stream.write("x").await, ErrorKind::InvalidData);
        assert_eq!(stream.close_reason().unwrap().to_string(), "not our protocol");
        assert_eq!(script.received(), b"last words");
        assert!(script.is_closed());
    });
}

#[test]
fn io34_a_write_and_a_close_in_one_breath_send_what_was_written() {
    run(async {
        let (stream, script) = stream();
        drop(stream.write("good"));
        stream.write_with(|out| out.extend_from_slice(b"bye")).unwrap();
        stream.close();
        assert_eq!(script.received(), b"goodbye");
        assert_eq!((script.calls().writes, leased_blocks()), (1, 0));
    });
}

#[test]
fn io41_the_last_handle_offers_the_rest_to_the_kernel_once_and_closes() {
    run(async {
        let (stream, script) = stream();
        let second = stream.clone();
        script.set_room(Some(3));
        drop(stream.write("abcdef"));
        drop(stream);
        assert!(!script.is_closed());
        drop(second);
        assert!(script.is_closed());
        assert_eq!(script.received(), b"abc");
        assert_eq!((script.calls().writes, script.calls().writes_blocked), (2, 1));
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_stalled_stream_that_closes_makes_its_last_offer_even_if_the_news_of_room_has_not_come() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("late"));
        turns(3).await;
        script.set_room(None);
        stream.close();
        assert_eq!(script.received(), b"late");
    });
}

#[test]
fn io36_after_the_end_of_the_peers_side_an_answer_can_still_be_written() {
    run(async {
        let (stream, script) = stream();
        script.send("question");
        script.finish();
        assert_eq!(stream.read_until_close().await.unwrap(), "question");
        assert!(stream.is_end_of_stream() && !stream.is_closed() && !stream.is_peer_gone());
        stream.write("answer").await.unwrap();
        assert_eq!(script.received(), b"answer");
        stream.shutdown(SECOND).await.unwrap();
        assert!(script.is_shut() && script.is_closed());
    });
}

#[test]
fn a_peer_that_sends_on_behind_a_shutdown_is_heard_out_within_a_bound() {
    const PIECE: usize = 1 << 20;
    run(async {
        let (stream, script) = stream();
        let ending = IoLoop::current().spawn(async move { stream.shutdown(Duration::MAX).await });
        for piece in 0..257 {
            assert!(!script.is_closed(), "{piece} MiB");
            script.send(vec![b'x'; PIECE]);
            turns(20).await;
        }
        assert!(script.is_shut() && script.is_closed());
        ending.await.unwrap().unwrap();
    });
}

#[test]
fn io38_a_pending_read_is_told_first_then_the_callback_once() {
    // Tornado's test_close_callback_with_pending_read and test_future_close_callback.
    run(async {
        let (stream, script) = stream();
        let order = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&order);
        stream.set_close_callback(Some(Box::new(move || told.borrow_mut().push("callback"))));
        let reader = IoLoop::current().spawn({
            let (stream, told) = (stream.clone(), Rc::clone(&order));
            async move {
                assert_eq!(stream.read_bytes(2).await.unwrap(), "OK");
                told.borrow_mut().push("read");
                assert_end_of_stream(stream.read_bytes(1).await);
                told.borrow_mut().push("end");
            }
        });
        turns(2).await;
        script.send("OK");
        script.finish();
        reader.await.unwrap();
        assert_eq!(*order.borrow(), ["read", "end"]);
        stream.close();
        turns(5).await;
        assert_eq!(*order.borrow(), ["read", "end", "callback"]);
    });
}

#[test]
fn io38_the_callback_is_never_called_inline_and_comes_after_what_waits() {
    run(async {
        let (stream, _script) = stream();
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        let reader = IoLoop::current().spawn({
            let (stream, calls) = (stream.clone(), Rc::clone(&calls));
            async move {
                assert_closed_here(stream.read_bytes(1).await);
                assert_eq!(calls.get(), 0);
            }
        });
        turns(2).await;
        stream.close();
        assert_eq!(calls.get(), 0);
        reader.await.unwrap();
        turns(3).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io38_the_end_of_the_peers_side_is_noticed_by_the_callback_however_much_is_unread() {
    run(async {
        let (stream, script) = stream();
        let seen = Rc::new(Cell::new(0));
        let callback = {
            // Not a clone of the stream: that would keep it open.
            let (script, seen) = (script.clone(), Rc::clone(&seen));
            move || seen.set(1 + script.calls().reads)
        };
        stream.set_close_callback(Some(Box::new(callback)));
        script.send("abc");
        script.finish();
        turns(5).await;
        assert_eq!(seen.get(), 1, "called, and nothing was read for it");
        assert_eq!(stream.read_bytes(3).await.unwrap(), "abc");
    });
}

#[test]
fn io38_an_end_that_only_a_read_has_met_calls_it_too() {
    run(async {
        let (stream, script) = stream();
        let (calls, callback) = counting();
        script.finish();
        assert_end_of_stream(stream.read_bytes(1).await);
        assert_eq!(script.calls().attaches, 0);
        stream.set_close_callback(callback);
        turns(3).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io38_an_end_that_the_transport_does_not_report_calls_it_when_a_read_meets_it() {
    /// Reports that there is something to read, and not that it is the end.
    struct Ended;
    impl Transport for Ended {
        fn attach(&mut self, registration: &Registration) -> io::Result<()> {
            registration.set_ready(Ready::READABLE);
            Ok(())
        }
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            Ok(data.len())
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    run(async {
        let stream = IoStream::new(Box::new(Ended)).unwrap();
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        turns(3).await;
        assert_eq!(calls.get(), 0);
        assert_end_of_stream(stream.read_bytes(1).await);
        turns(3).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io38_it_is_called_on_a_stream_that_is_closed_already() {
    run(async {
        let (stream, _script) = stream();
        stream.close();
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        assert_eq!(calls.get(), 0);
        turns(2).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io38_it_is_called_when_the_last_handle_goes() {
    run(async {
        let (stream, _script) = stream();
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        drop(stream);
        turns(4).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn io38_it_can_be_replaced_and_taken_back_until_it_runs() {
    run(async {
        let (stream, _script) = stream();
        let (first_calls, first) = counting();
        let (second_calls, second) = counting();
        stream.set_close_callback(None);
        stream.set_close_callback(first);
        stream.set_close_callback(second);
        stream.close();
        stream.set_close_callback(None);
        turns(4).await;
        assert_eq!((first_calls.get(), second_calls.get()), (0, 0));
        let (third_calls, third) = counting();
        let (fourth_calls, fourth) = counting();
        stream.set_close_callback(third);
        stream.set_close_callback(fourth);
        turns(4).await;
        assert_eq!((third_calls.get(), fourth_calls.get()), (0, 1));
    });
}

#[test]
fn a_close_callback_may_close_the_stream_and_set_another() {
    run(async {
        let (stream, script) = stream();
        let (calls, callback) = counting();
        let inside = stream.clone();
        stream.set_close_callback(Some(Box::new(move || {
            inside.close();
            inside.set_close_callback(callback);
        })));
        script.finish();
        turns(8).await;
        assert!(stream.is_closed());
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn the_end_of_the_peers_side_is_not_the_end_and_waiting_for_that_costs_nothing() {
    run(async {
        let (stream, script) = stream();
        script.finish();
        assert_end_of_stream(stream.read_bytes(1).await);
        let before = IoLoop::current().counters();
        assert!(timeout(SECOND, stream.closed()).await.is_err());
        let after = IoLoop::current().counters();
        assert!(after.turns - before.turns < 8, "it spins");
        assert!(after.task_polls - before.task_polls < 8, "it spins");
    });
}

#[test]
fn a_reset_that_comes_after_the_end_of_the_peers_side_is_noticed() {
    run(async {
        let (stream, script) = stream();
        let watcher = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.closed().await }
        });
        turns(2).await;
        script.finish();
        turns(5).await;
        assert!(!watcher.is_finished());
        script.reset();
        watcher.await.unwrap();
        assert!(stream.is_peer_gone());
    });
}

#[test]
fn any_number_of_tasks_and_a_callback_may_wait_for_the_end() {
    run(async {
        let (stream, script) = stream();
        let (calls, callback) = counting();
        let watch = |stream: &IoStream| {
            let stream = stream.clone();
            IoLoop::current().spawn(async move { stream.closed().await })
        };
        let first = watch(&stream);
        turns(1).await;
        stream.set_close_callback(callback);
        let (second, third) = (watch(&stream), watch(&stream));
        turns(3).await;
        assert!(poll_once(stream.closed()).await.is_none(), "one that gives up takes nobody's place");
        script.reset();
        first.await.unwrap();
        second.await.unwrap();
        third.await.unwrap();
        stream.closed().await;
        turns(3).await;
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn a_closed_stream_is_closed_for_whoever_asks_later() {
    run(async {
        let (stream, script) = stream();
        stream.close();
        stream.closed().await;
        assert_eq!(script.calls().attaches, 0);
    });
}

#[test]
fn setting_nodelay_is_harmless_where_there_is_no_such_thing_and_after_the_end() {
    run(async {
        let (stream, _script) = stream();
        stream.set_nodelay(true).unwrap();
        stream.close();
        stream.set_nodelay(true).unwrap();
        assert_eq!((stream.peer_addr(), stream.local_addr()), (None, None));
    });
}

#[test]
fn io22_the_three_questions_are_answered_at_each_stage() {
    run(async {
        let (stream, script) = stream();
        let state = || (stream.is_reading(), stream.is_writing(), stream.is_closed());
        assert_eq!(state(), (false, false, false));
        script.set_room(Some(0));
        let mut reading = Box::pin(stream.read_bytes(1));
        assert!(poll_once(&mut reading).await.is_none());
        assert_eq!(state(), (true, false, false));
        let mut writing = stream.write("x");
        assert!(poll_once(&mut writing).await.is_none());
        assert_eq!(state(), (true, true, false));
        drop(reading);
        assert_eq!(state(), (false, true, false));
        stream.close();
        assert_eq!(state(), (false, false, true));
        assert!(writing.await.is_err());
    });
}

#[test]
fn io37_a_peer_that_sends_a_byte_and_leaves_is_noticed_though_nobody_reads() {
    run(async {
        let (stream, script) = stream();
        script.send("x");
        stream.fill().await.unwrap(); // a byte lies in the buffer, which keeps Tornado from looking
        let (calls, callback) = counting();
        stream.set_close_callback(callback);
        turns(3).await;
        assert_eq!(calls.get(), 0);
        script.finish();
        turns(3).await;
        assert_eq!((calls.get(), stream.buffered()), (1, 1));
    });
}

#[test]
fn who_has_had_its_share_of_a_turn_of_a_loop_that_has_closed_does_not_keep_another_busy() {
    let (stream, script) = run(async { stream() });
    run(async {
        script.send(noise(1 << 20));
        let ended = loop {
            if let Err(error) = stream.fill().await {
                break Err::<(), _>(error);
            }
        };
        assert_failed_with(ended, ErrorKind::Other);
        assert!((1..1 << 20).contains(&stream.buffered()), "its share, and that stays readable");
    });
}

#[test]
fn an_end_that_waits_for_room_on_a_loop_that_has_closed_fails() {
    /// Has no room for its end.
    struct Full;
    impl Transport for Full {
        fn attach(&mut self, _: &Registration) -> io::Result<()> {
            Ok(())
        }
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            Err(ErrorKind::WouldBlock.into())
        }
    }
    for waited_before in [false, true] {
        let stream = run(async {
            let stream = IoStream::new(Box::new(Full)).unwrap();
            assert!(!waited_before || poll_once(stream.shutdown_write()).await.is_none());
            stream
        });
        run(async { assert_failed_with(stream.shutdown_write().await, ErrorKind::Other) });
    }
}
