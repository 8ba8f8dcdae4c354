//! The performance contract: what is called how often, and what an idle stream holds (invariants 4-6).

mod support;

use ioloop::IoLoop;
use iostream::{IoStream, leased_blocks};
use support::{run, stream, turns};

/// Answers every line until the end, writing at the end of the turn as a server does.
async fn serve(stream: IoStream) {
    while let Ok(line) = stream.read_until(b"\n").await {
        stream.write_with(|out| out.extend_from_slice(&line)).unwrap();
    }
}

#[test]
fn a_request_on_a_kept_alive_stream_costs_one_read_and_one_write() {
    run(async {
        let (stream, script) = stream();
        IoLoop::current().spawn_detached(serve(stream));
        turns(2).await;
        let (before, counted) = (script.calls(), IoLoop::current().counters());
        for _ in 0..1_000 {
            script.send("request\n");
            turns(3).await;
            assert_eq!(script.received(), b"request\n");
        }
        let after = script.calls();
        assert_eq!(after.reads - before.reads, 1_000);
        assert_eq!(after.writes - before.writes, 1_000);
        assert_eq!((after.reads_blocked, after.writes_blocked), (1, 0), "one before the first request");
        assert_eq!(after.attaches, 1);
        assert_eq!(IoLoop::current().counters().timers_inserted, counted.timers_inserted);
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn sixteen_requests_in_one_segment_cost_one_read_and_one_write() {
    run(async {
        let (stream, script) = stream();
        IoLoop::current().spawn_detached(serve(stream));
        turns(2).await;
        let before = script.calls();
        script.send("request\n".repeat(16));
        turns(3).await;
        assert_eq!(script.received(), b"request\n".repeat(16));
        let after = script.calls();
        assert_eq!((after.reads - before.reads, after.writes - before.writes), (1, 1));
    });
}

#[test]
fn a_thousand_idle_streams_hold_no_block() {
    run(async {
        let peers: Vec<_> = (0..1_000)
            .map(|_| {
                let (stream, script) = stream();
                IoLoop::current().spawn_detached(serve(stream));
                script
            })
            .collect();
        turns(2).await;
        for peer in &peers {
            peer.send("request\nand the beginning of the ne");
        }
        turns(4).await;
        assert!(peers.iter().all(|peer| peer.received() == b"request\n"));
        assert_eq!(leased_blocks(), 0);
        for peer in &peers {
            peer.send("xt\n");
        }
        turns(4).await;
        assert!(peers.iter().all(|peer| peer.received() == b"and the beginning of the next\n"));
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_stalled_stream_holds_a_block_only_until_it_has_sent_or_closed() {
    run(async {
        let (first, first_script) = stream();
        let (second, second_script) = stream();
        for (stream, script) in [(&first, &first_script), (&second, &second_script)] {
            script.set_room(Some(0));
            drop(stream.write("x"));
        }
        turns(3).await;
        assert_eq!(leased_blocks(), 2);
        first_script.set_room(None);
        turns(3).await;
        assert_eq!(leased_blocks(), 1);
        second.close();
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn a_stream_that_never_waits_is_never_attached() {
    run(async {
        let (stream, script) = stream();
        script.send("request\n");
        let line = stream.read_until(b"\n").await.unwrap();
        stream.write(line).await.unwrap();
        stream.close();
        let calls = script.calls();
        assert_eq!((calls.reads, calls.writes, calls.attaches), (1, 1, 0));
    });
}

#[test]
fn a_stream_sends_what_it_has_before_it_waits_for_input() {
    // Not only at the end of the turn: the buffer is free again for the next stream of the same turn.
    run(async {
        let (stream, script) = stream();
        drop(stream.write("question\n"));
        let mut answer = std::pin::pin!(stream.read_until(b"\n"));
        std::future::poll_fn(|cx| {
            assert!(answer.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(script.received(), b"question\n");
        assert_eq!(script.calls().writes, 1);
    });
}
