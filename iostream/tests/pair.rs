//! Two streams connected in memory, and what the wire between them may do.

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::testing::{Calls, Faults, Pair, Side, pair};
use iostream::{IoStream, leased_blocks};
use support::{assert_end_of_stream, assert_failed_with, noise, poll_once, run, turns};

/// Sends `data` in the background and ends that side.
fn send(stream: &IoStream, data: &[u8]) {
    let (stream, data) = (stream.clone(), data.to_vec());
    IoLoop::current().spawn_detached(async move {
        stream.write(data).await.unwrap();
        stream.shutdown_write().await.unwrap();
    });
}

#[test]
fn what_goes_in_at_one_end_comes_out_at_the_other_and_so_does_the_end() {
    run(async {
        let (left, right) = pair();
        left.write("ping\n").await.unwrap();
        assert_eq!(right.read_until(b"\n").await.unwrap(), "ping\n");
        right.write("pong\n").await.unwrap();
        assert_eq!(left.read_until(b"\n").await.unwrap(), "pong\n");
        left.shutdown_write().await.unwrap();
        assert_end_of_stream(right.read_bytes(1).await);
        right.write("late").await.unwrap();
        assert_eq!(left.read_bytes(4).await.unwrap(), "late");
        drop(right);
        assert_end_of_stream(left.read_bytes(1).await);
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn without_faults_an_exchange_costs_a_read_and_a_write_at_each_end() {
    run(async {
        let Pair { left, right, wire, .. } = Pair::new(Faults::new());
        let server = IoLoop::current().spawn(async move {
            while let Ok(line) = right.read_until(b"\n").await {
                right.write(line).await.unwrap();
            }
        });
        for _ in 0..100 {
            left.write("request\n").await.unwrap();
            assert_eq!(left.read_until(b"\n").await.unwrap(), "request\n");
        }
        for side in [Side::Left, Side::Right] {
            let Calls { reads, reads_blocked, writes, writes_blocked, attaches, .. } = wire.calls(side);
            assert_eq!((writes, writes_blocked, attaches), (100, 0, 1), "{side:?}");
            assert_eq!(reads - reads_blocked, 100, "{side:?}");
            assert!(reads_blocked <= 1, "{side:?}: {reads_blocked} reads for nothing");
        }
        drop(left);
        server.await.unwrap();
    });
}

#[test]
fn a_wire_holds_what_it_is_said_to_hold_and_the_writer_waits() {
    run(async {
        let Pair { left, right, wire, .. } = Pair::new(Faults::new().capacity(10));
        let data = noise(1_000);
        send(&left, &data);
        turns(5).await;
        assert_eq!((wire.in_flight(Side::Left), left.pending()), (10, 990));
        assert_eq!(right.read_bytes(7).await.unwrap(), data[..7]);
        let mut received = data[..7].to_vec();
        while let Ok(bytes) = right.read_partial(3).await {
            received.extend(bytes);
            assert!(wire.in_flight(Side::Left) <= 10);
        }
        assert!(received == data);
    });
}

#[test]
fn reads_and_writes_are_as_short_as_they_are_told_to_be() {
    run(async {
        let Pair { left, right, wire, .. } = Pair::new(Faults::new().largest_read(3).largest_write(7));
        let data = noise(1_000);
        send(&left, &data);
        assert_eq!(right.read_until_close().await.unwrap(), data);
        assert!(wire.calls(Side::Right).reads > 1_000 / 3);
        assert!(wire.calls(Side::Left).writes > 1_000 / 7);
    });
}

#[test]
fn a_storm_of_would_block_costs_calls_and_no_byte() {
    run(async {
        let faults = Faults::new().largest_read(10).largest_write(10).storms(2).seed(1);
        let Pair { left, right, wire, .. } = Pair::new(faults);
        let data = noise(1_000);
        send(&left, &data);
        assert_eq!(right.read_until_close().await.unwrap(), data);
        let (reader, writer) = (wire.calls(Side::Right), wire.calls(Side::Left));
        assert!(reader.reads_blocked > 50 && writer.writes_blocked > 50, "{reader:?} {writer:?}");
        assert!(reader.reads < 5_000 && writer.writes < 5_000, "{reader:?} {writer:?}");
    });
}

#[test]
fn what_is_delayed_arrives_later_and_in_order_the_end_too() {
    let test = VirtualLoop::new();
    test.run(async {
        let delay = Duration::from_secs(10);
        let Pair { left, right, .. } = Pair::new(Faults::new().delay(delay).seed(3));
        for number in 0_u8..100 {
            left.write(vec![number]).await.unwrap();
        }
        left.shutdown_write().await.unwrap();
        assert!(poll_once(right.read_bytes(1)).await.is_none(), "not yet");
        assert_eq!(right.read_until_close().await.unwrap(), (0..100).collect::<Vec<u8>>());
    });
    assert!(test.elapsed() > Duration::from_secs(5) && test.elapsed() <= Duration::from_secs(10));
}

#[test]
fn a_side_may_end_at_any_byte() {
    for at in 0..=8 {
        run(async {
            let Pair { left, right, .. } = Pair::new(Faults::new().end_after(Side::Left, at));
            let reader = IoLoop::current().spawn({
                let right = right.clone();
                async move { right.read_until_close().await }
            });
            turns(2).await; // it waits already
            let result = left.write("12345678").await;
            assert_eq!(reader.await.unwrap().unwrap(), "12345678"[..at as usize]);
            if at < 8 {
                assert_failed_with(result, ErrorKind::BrokenPipe);
            } else {
                right.write("answer").await.unwrap();
                assert_eq!(left.read_bytes(6).await.unwrap(), "answer");
                assert_failed_with(left.write("more").await, ErrorKind::BrokenPipe);
            }
        });
    }
}

#[test]
fn a_connection_may_be_reset_at_any_byte() {
    for at in 0..=8 {
        run(async {
            let Pair { left, right, .. } = Pair::new(Faults::new().reset_after(Side::Left, at));
            let (closed, write) = (left.clone(), left.write("12345678"));
            let closed = IoLoop::current().spawn(async move { closed.closed().await });
            assert_eq!(write.await.is_ok(), at == 8);
            assert_eq!(right.read_bytes(at as usize).await.unwrap(), "12345678"[..at as usize]);
            assert_failed_with(right.read_bytes(1).await, ErrorKind::ConnectionReset);
            assert_failed_with(right.write("x").await, ErrorKind::ConnectionReset);
            assert_failed_with(left.write("x").await, ErrorKind::ConnectionReset);
            closed.await.unwrap();
        });
    }
}

#[test]
fn a_reset_from_outside_loses_what_is_under_way() {
    run(async {
        let Pair { left, right, wire, .. } = Pair::new(Faults::new());
        left.write("lost").await.unwrap();
        let reader = IoLoop::current().spawn({
            let right = right.clone();
            async move { right.read_bytes(10).await }
        });
        wire.reset();
        assert_failed_with(reader.await.unwrap(), ErrorKind::ConnectionReset);
        assert_eq!(right.buffered(), 0);
        assert_failed_with(left.read_bytes(1).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn writing_to_a_side_that_is_gone_fails_and_waiting_for_the_end_hears_of_it() {
    run(async {
        let (left, right) = pair();
        let closed = IoLoop::current().spawn({
            let left = left.clone();
            async move { left.closed().await }
        });
        turns(2).await;
        drop(right);
        closed.await.unwrap();
        assert_failed_with(left.write("anyone?").await, ErrorKind::BrokenPipe);
    });
}

/// What a run with this seed comes to: the calls of both sides and the time that passed.
fn outcome(seed: u64) -> (Calls, Calls, Duration) {
    let test = VirtualLoop::new();
    let (left, right) = test.run(async {
        let Pair { left, right, wire, .. } = Pair::seeded(seed);
        let data = noise(2_000);
        send(&left, &data);
        send(&right, &data);
        assert!(right.read_until_close().await.unwrap() == data, "seed {seed}");
        assert!(left.read_until_close().await.unwrap() == data, "seed {seed}");
        assert_eq!((wire.in_flight(Side::Left), wire.in_flight(Side::Right)), (0, 0));
        (wire.calls(Side::Left), wire.calls(Side::Right))
    });
    (left, right, test.elapsed())
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_another() {
    let outcomes: Vec<_> = (0..40).map(outcome).collect();
    for (seed, first) in outcomes.iter().enumerate() {
        assert_eq!(outcome(seed as u64), *first, "seed {seed}");
    }
    let mut different: Vec<_> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    different.sort();
    different.dedup();
    assert!(different.len() > 30, "only {} different runs", different.len());
    assert!(outcomes.iter().any(|(.., time)| *time > Duration::ZERO));
    assert!(outcomes.iter().any(|(left, ..)| left.writes_blocked > 100));
}
