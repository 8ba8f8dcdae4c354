//! The traps of an edge-triggered poller, each with the test that falls into it when its rule is taken out.

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use ioloop::{IoLoop, Ready, timeout};
use iostream::StreamOptions;
use support::{assert_end_of_stream, assert_failed_with, poll_once, run, stream, stream_with, turns};

#[test]
fn data_and_the_end_in_one_event_are_both_found_although_the_read_was_short() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                let line = stream.read_until(b"\n").await;
                (line, stream.read_bytes(1).await)
            }
        });
        turns(2).await;
        script.send("bye\n");
        script.finish();
        let (line, end) = reader.await.unwrap();
        assert_eq!(line.unwrap(), "bye\n");
        assert_end_of_stream(end);
    });
}

#[test]
fn data_and_a_reset_in_one_event_are_both_found() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move {
                let line = stream.read_until(b"\n").await;
                (line, stream.read_bytes(1).await)
            }
        });
        turns(2).await;
        script.send("bye\n");
        script.fail_behind(ErrorKind::ConnectionReset);
        let (line, end) = reader.await.unwrap();
        assert_eq!(line.unwrap(), "bye\n");
        assert_failed_with(end, ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_new_connection_that_reports_room_wakes_no_reader() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(1).await }
        });
        turns(1).await;
        let reads = script.calls().reads;
        assert_eq!(script.calls().attaches, 1, "it waits, and the transport says that there is room");
        let polls = IoLoop::current().counters().task_polls;
        let turns_passed = 5;
        turns(turns_passed).await;
        assert_eq!(IoLoop::current().counters().task_polls - polls, turns_passed as u64, "only this task");
        assert_eq!(script.calls().reads, reads);
        script.send("x");
        assert_eq!(reader.await.unwrap().unwrap(), "x");
    });
}

#[test]
fn an_event_for_a_stream_that_is_gone_reaches_nobody_who_took_its_place() {
    run(async {
        let (old, old_script) = stream();
        assert!(support::poll_once(old.read_bytes(1)).await.is_none());
        old_script.notify(Ready::READABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR);
        drop(old);
        let (new, new_script) = stream();
        let reader = IoLoop::current().spawn({
            let new = new.clone();
            async move { new.read_bytes(1).await }
        });
        turns(3).await;
        old_script.notify(Ready::READABLE | Ready::READ_CLOSED | Ready::ERROR);
        turns(3).await;
        assert!(!new.is_peer_gone());
        assert_eq!(new_script.calls().reads, 1);
        new_script.send("x");
        assert_eq!(reader.await.unwrap().unwrap(), "x");
    });
}

#[test]
fn a_short_read_means_drained_only_where_the_transport_says_so() {
    run(async {
        let (stream, script) = stream();
        script.set_largest_read(Some(3)); // and with that, it does not
        script.send("0123456789");
        assert_eq!(stream.read_bytes(10).await.unwrap(), "0123456789");
        assert_eq!(script.calls().attaches, 0, "there was nothing to wait for");
    });
}

#[test]
fn what_arrives_between_a_short_read_and_the_next_wait_is_not_forgotten() {
    run(async {
        let (stream, script) = stream();
        let reader = IoLoop::current().spawn({
            let (stream, script) = (stream.clone(), script.clone());
            async move {
                assert_eq!(stream.read_bytes(1).await.unwrap(), "a");
                script.send("b"); // after the read that found the transport empty
                stream.read_bytes(1).await
            }
        });
        turns(2).await;
        script.send("a");
        assert_eq!(reader.await.unwrap().unwrap(), "b");
    });
}

#[test]
fn what_came_before_the_first_wait_is_reported_when_the_transport_is_attached() {
    run(async {
        let (stream, script) = stream();
        script.send("a");
        assert_eq!(stream.read_bytes(1).await.unwrap(), "a");
        script.send("b"); // nobody listens yet, and the short read said "drained"
        assert_eq!(stream.read_bytes(1).await.unwrap(), "b");
        assert_eq!(script.calls().attaches, 1);
    });
}

#[test]
fn the_room_of_the_first_wait_is_reported_when_the_transport_is_attached() {
    run(async {
        let (stream, script) = stream();
        script.block(0, 1);
        stream.write("x").await.unwrap();
        assert_eq!(script.received(), b"x");
    });
}

#[test]
fn an_end_that_is_reported_and_not_there_makes_nobody_spin() {
    for lie in [Ready::READ_CLOSED, Ready::WRITE_CLOSED, Ready::ERROR] {
        run(async {
            let (stream, script) = stream();
            script.set_room(Some(0));
            drop(stream.write("x"));
            turns(2).await;
            script.notify(lie | Ready::READABLE | Ready::WRITABLE);
            let turns_before = IoLoop::current().counters().turns;
            let waited = timeout(Duration::from_secs(1), stream.read_bytes(1)).await;
            assert!(waited.is_err());
            assert!(script.calls().reads < 8, "{} reads", script.calls().reads);
            assert!(script.calls().writes < 8, "{} writes", script.calls().writes);
            assert!(IoLoop::current().counters().turns - turns_before < 16);
            script.send("y");
            assert_eq!(stream.read_bytes(1).await.unwrap(), "y");
            script.set_room(None);
            stream.flush().await.unwrap();
            assert_eq!(script.received(), b"x");
        });
    }
}

#[test]
fn events_that_mean_nothing_cost_one_call_each_and_change_nothing() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("x"));
        let reader = IoLoop::current().spawn({
            let stream = stream.clone();
            async move { stream.read_bytes(1).await }
        });
        turns(3).await;
        let before = script.calls();
        for _ in 0..10 {
            script.notify_spuriously();
            turns(3).await;
        }
        assert_eq!(script.calls().reads - before.reads, 10);
        assert_eq!(script.calls().writes - before.writes, 10);
        script.set_room(None);
        script.send("y");
        assert_eq!(reader.await.unwrap().unwrap(), "y");
        stream.flush().await.unwrap();
        assert_eq!(script.received(), b"x");
    });
}

#[test]
fn a_flush_that_is_due_while_the_transport_is_full_asks_it_no_second_time() {
    run(async {
        let (stream, script) = stream();
        script.set_room(Some(0));
        drop(stream.write("x")); // has a flush put down for the end of the turn
        assert!(support::poll_once(stream.flush()).await.is_none()); // and finds the transport full before that
        turns(3).await;
        assert_eq!(script.calls().writes, 1);
        drop(stream.write("y"));
        turns(3).await;
        assert_eq!(script.calls().writes, 1);
        script.set_room(None);
        stream.flush().await.unwrap();
        assert_eq!((script.received(), script.calls().writes), (b"xy".to_vec(), 2));
    });
}

#[test]
fn what_comes_behind_a_short_read_that_never_waited_is_found_at_once_by_who_asks_for_a_look() {
    run(async {
        let (stream, script) = stream();
        script.send("first");
        assert_eq!(stream.read_bytes(5).await.unwrap(), "first");
        script.send("second");
        assert!(!stream.has_input(), "nobody was told of it");
        stream.wake_reader();
        assert!(stream.has_input());
        let look = std::future::poll_fn(|cx| std::task::Poll::Ready(stream.poll_fill(cx).is_ready()));
        assert!(look.await);
        assert_eq!(stream.buffered(), 6);
    });
}

#[test]
fn a_read_that_finds_what_an_earlier_one_has_left_and_no_more_is_followed_by_none() {
    run(async {
        let (stream, script) = stream_with(StreamOptions::new().read_chunk_size(4));
        assert!(poll_once(stream.fill()).await.is_none()); // from here on it waits for news
        script.send("abcd");
        assert_eq!(stream.fill().await.unwrap(), 4);
        assert!(stream.has_input(), "all of its room was used");
        script.send("ef");
        turns(2).await; // which is in the news
        assert_eq!(stream.fill().await.unwrap(), 2);
        stream.consume(6);
        assert!(!stream.has_input());
        let reads = script.calls().reads;
        assert!(poll_once(stream.fill()).await.is_none());
        assert_eq!(script.calls().reads, reads);
        script.send("g");
        assert_eq!(stream.fill().await.unwrap(), 1);
    });
}
