//! The budget over all streams of a loop: who holds most waits, the others go on, and nobody waits for ever.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, JoinHandle};
use iostream::testing::Script;
use iostream::{
    CloseReason, HeldBytes, IoStream, MemoryBudget, MemoryGrant, MemoryWait, StreamError, buffered_bytes,
    on_memory_shortage, relieve_memory,
};
use support::{run, stream, turns};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// So much a stream may have of the last eighth below the hard mark.
const LITTLE: usize = 8 * KIB;

fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
    IoLoop::current().spawn(future)
}

/// What stands for everything else that is buffered.
fn held(bytes: usize) -> HeldBytes {
    let mut held = HeldBytes::new();
    held.set(bytes);
    held
}

/// All but half of what is kept for those who hold little.
fn held_for_a_mark_of(hard: usize) -> HeldBytes {
    held(hard - hard / 16)
}

fn is_over_budget<T>(result: &Result<T, StreamError>) -> bool {
    matches!(result, Err(StreamError::OverBudget))
}

/// A stream that reads `bytes` bytes in one piece.
fn upload(bytes: usize) -> (Script, JoinHandle<Result<usize, StreamError>>) {
    let (stream, script) = stream();
    (script, spawn(async move { stream.read_bytes(bytes).await.map(|all| all.len()) }))
}

#[test]
fn a_thousand_uploads_stay_within_the_budget_while_a_polite_stream_goes_on_and_in_the_end_all_resume() {
    const UPLOADS: usize = 1000;
    const BYTES: usize = 32 * KIB;
    run(async {
        let budget = MemoryBudget::new(8 * MIB, 16 * MIB);
        budget.install();
        let uploads: Vec<_> = (0..UPLOADS).map(|_| upload(BYTES)).collect();
        let (polite, client) = stream();
        let echo = spawn(async move {
            while let Ok(line) = polite.read_until(b"\n").await {
                polite.write(line).await.unwrap();
            }
        });
        let mut most = 0;
        for round in 0..2 * BYTES / KIB {
            if round < BYTES / KIB {
                uploads.iter().for_each(|(script, _)| script.send([7; KIB]));
            }
            client.send("hello\n");
            for _ in 0..4 {
                turns(1).await;
                most = most.max(buffered_bytes());
            }
            assert_eq!(client.received(), b"hello\n", "round {round}");
        }
        assert!(most <= budget.hard, "{most}");
        assert!(most >= budget.hard - budget.hard / 8 - MIB, "{most}: the test does not come near the mark");
        let held_back = uploads.iter().filter(|(_, task)| !task.is_finished()).count();
        assert!(held_back > UPLOADS / 2, "{held_back}");

        // What one has held is enough for the next to come to its end, and so on. Only if none could would one have to go.
        let began = IoLoop::current().now();
        let mut failed = 0;
        for (_, task) in uploads {
            let result = task.await.unwrap();
            failed += usize::from(is_over_budget(&result));
            assert!(is_over_budget(&result) || result.unwrap() == BYTES);
        }
        assert!(failed < 10, "{failed}");
        assert!(IoLoop::current().now() - began <= 2 * budget.patience);
        client.finish();
        echo.await.unwrap();
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn who_holds_little_is_read_from_when_the_others_hold_all_that_they_may() {
    run(async {
        MemoryBudget::new(MIB, 2 * MIB).install();
        let others = held_for_a_mark_of(2 * MIB);
        let (stream, script) = stream();
        script.send([b'.'; LITTLE - 1]);
        script.send(b"\nand more");
        assert_eq!(stream.read_until(b"\n").await.unwrap().len(), LITTLE);
        assert_eq!(stream.read_bytes(8).await.unwrap(), "and more");
        assert_eq!(buffered_bytes(), others.get());

        let (script, task) = upload(LITTLE + 1);
        script.send([7; LITTLE + 1]);
        turns(10).await;
        assert_eq!(buffered_bytes(), others.get() + LITTLE);
        assert!(!task.is_finished());
        let began = IoLoop::current().now();
        drop(others);
        assert_eq!(task.await.unwrap().unwrap(), LITTLE + 1);
        assert_eq!(IoLoop::current().now(), began, "what is given back is noticed at once");
    });
}

#[test]
fn ten_thousand_that_hold_little_do_not_pass_the_hard_mark_either_and_go_on_when_others_have_gone() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let lines: Vec<_> = (0..10_000)
            .map(|_| {
                let (stream, script) = stream();
                script.send([b'.'; 6 * KIB]);
                (script, spawn(async move { stream.read_until(b"\n").await.map(|line| line.len()) }))
            })
            .collect();
        turns(20).await;
        let total = buffered_bytes();
        assert!(total <= budget.hard && total > budget.hard - LITTLE, "{total}");
        lines.iter().for_each(|(script, _)| script.send(b"\n"));
        for (_, task) in lines {
            assert_eq!(task.await.unwrap().unwrap(), 6 * KIB + 1);
            assert!(buffered_bytes() <= budget.hard);
        }
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn memory_beside_the_stream_is_waited_for_as_its_own_is() {
    run(async {
        MemoryBudget::new(MIB / 4, MIB).install();
        let (stream, _script) = stream();
        let mut beside = HeldBytes::new();
        for step in 1..=16 {
            poll_fn(|cx| stream.poll_memory(cx, step * 16 * KIB)).await.unwrap();
            beside.set(step * 16 * KIB);
        }
        let others = held(500 * KIB);
        let waits = spawn(async move {
            let memory = poll_fn(|cx| stream.poll_memory(cx, 400 * KIB)).await;
            (memory.is_ok(), stream.is_held_back())
        });
        turns(10).await;
        assert!(!waits.is_finished());
        let began = IoLoop::current().now();
        drop(others);
        assert_eq!(waits.await.unwrap(), (true, false));
        assert_eq!(IoLoop::current().now(), began);
    });
}

#[test]
fn a_writer_that_does_not_wait_is_cut_when_it_holds_more_than_there_is() {
    run(async {
        MemoryBudget::new(MIB / 4, MIB).install();
        let subscribers: Vec<_> = (0..8).map(|_| stream()).collect();
        subscribers.iter().for_each(|(_, script)| script.set_room(Some(0)));
        subscribers[0].1.set_room(None);
        for _ in 0..1000 {
            subscribers.iter().for_each(|(stream, _)| drop(stream.write(vec![7; KIB])));
            turns(1).await;
            assert!(buffered_bytes() <= MIB, "{}", buffered_bytes());
        }
        assert!(!subscribers[0].0.is_closed(), "it takes what it is sent");
        let reasons = subscribers[1..].iter().map(|(stream, _)| stream.close_reason());
        assert!(reasons.clone().all(|reason| matches!(reason, Some(CloseReason::WriteAbandoned))));
    });
}

#[test]
fn who_can_give_memory_back_is_asked_when_it_runs_out_and_not_all_the_time() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let calls = Rc::new(Cell::new(0));
        let dispensable = Rc::new(RefCell::new(held(0)));
        let callback: Rc<dyn Fn()> = {
            let (calls, dispensable) = (Rc::clone(&calls), Rc::clone(&dispensable));
            Rc::new(move || {
                calls.set(calls.get() + 1);
                dispensable.borrow_mut().set(0);
            })
        };
        on_memory_shortage(&callback);
        assert!(relieve_memory());
        assert_eq!(calls.get(), 0, "nothing is short");

        dispensable.borrow_mut().set(MIB);
        let (script, task) = upload(50 * KIB);
        script.send([7; 50 * KIB]);
        assert_eq!(task.await.unwrap().unwrap(), 50 * KIB, "who waited has the memory");
        assert_eq!(calls.get(), 1);

        let indispensable = held(MIB);
        assert!((0..100).all(|_| !relieve_memory()));
        assert_eq!(calls.get(), 1, "it has just been asked");
        ioloop::sleep(Duration::from_millis(100)).await;
        assert!((0..100).all(|_| !relieve_memory()));
        assert_eq!(calls.get(), 2);
        drop(callback);
        ioloop::sleep(Duration::from_millis(100)).await;
        assert!(!relieve_memory());
        assert_eq!(calls.get(), 2);
        drop(indispensable);
        assert!(relieve_memory());
    });
}

#[test]
fn a_buffer_that_doubles_does_not_pass_a_hard_mark_that_is_close_to_the_soft_one() {
    run(async {
        let budget = MemoryBudget::new(4 * MIB, 4 * MIB);
        budget.install();
        let _others = held(MIB + MIB / 3);
        let (script, _reading) = upload(64 * MIB);
        script.send(vec![7; 64 * MIB]);
        for _ in 0..200 {
            turns(1).await;
            assert!(buffered_bytes() <= budget.hard, "{}", buffered_bytes());
        }
        assert!(buffered_bytes() > budget.hard - MIB, "{}: it does not come near the mark", buffered_bytes());
    });
}

#[test]
fn memory_is_ample_as_long_as_the_soft_mark_would_not_be_reached() {
    run(async {
        MemoryBudget::new(MIB, 2 * MIB).install();
        let _others = held(MIB / 2);
        assert!(MemoryBudget::is_ample(MIB / 2 - 1) && !MemoryBudget::is_ample(MIB / 2));
        assert!(!MemoryBudget::is_ample(usize::MAX));
        MemoryBudget::new(2 * MIB, 2 * MIB).install();
        assert!(!MemoryBudget::is_ample(5 * MIB / 4), "the last eighth is for who holds little");
        assert!(MemoryBudget::is_ample(5 * MIB / 4 - 1));
    });
}

#[test]
fn those_go_on_for_whom_what_is_left_has_become_enough() {
    run(async {
        let hard = 2 * MIB;
        MemoryBudget::new(MIB / 4, hard).install();
        let sizes = [100 * KIB, 400 * KIB, 800 * KIB];
        let tasks = sizes.map(upload);
        for ((script, _), size) in tasks.iter().zip(sizes) {
            script.send(vec![7; size / 2]);
        }
        turns(10).await;
        // Whatever room their buffers have is used up before more is wanted.
        let mut others = held(hard);
        for ((script, _), size) in tasks.iter().zip(sizes) {
            script.send(vec![7; size - size / 2]);
        }
        turns(10).await;
        let finished = || tasks.each_ref().map(|(_, task)| task.is_finished());
        let mut seen = vec![finished()];
        while buffered_bytes() > hard / 4 {
            others.set(others.get() - 4 * KIB);
            turns(10).await;
            if seen.last() != Some(&finished()) {
                seen.push(finished());
            }
        }
        assert_eq!(seen, [[false; 3], [true, false, false], [true, true, false], [true; 3]]);
    });
}

#[test]
fn output_that_has_left_lets_its_own_stream_read_on() {
    run(async {
        MemoryBudget::new(MIB / 4, MIB).install();
        let _others = held(400 * KIB);
        let (stream, script) = stream();
        script.set_room(Some(0));
        stream.queue(vec![1; 700 * KIB]).unwrap();
        let reader = stream.clone();
        let task = spawn(async move { reader.read_bytes(100).await });
        script.send([7; 100]);
        turns(10).await;
        assert!(!task.is_finished(), "it holds more than is left");
        let began = IoLoop::current().now();
        script.set_room(None);
        assert_eq!(task.await.unwrap().unwrap().len(), 100);
        assert_eq!(IoLoop::current().now(), began, "although what it held is still more than is left");
    });
}

#[test]
fn streams_that_wait_for_each_other_end_one_by_one_until_the_others_have_enough() {
    run(async {
        let budget = MemoryBudget::new(4 * MIB, 8 * MIB);
        budget.install();
        let uploads: Vec<_> = (0..6).map(|_| upload(3 * MIB)).collect();
        // Step by step, so that none is far ahead of the others.
        for _ in 0..3 * MIB / (64 * KIB) {
            uploads.iter().for_each(|(script, _)| script.send(vec![7; 64 * KIB]));
            turns(4).await;
        }
        turns(100).await;
        assert!(buffered_bytes() <= budget.hard);
        assert!(!uploads.iter().any(|(_, task)| task.is_finished()));
        let began = IoLoop::current().now();
        let mut failed = 0;
        for (_, task) in uploads {
            failed += usize::from(is_over_budget(&task.await.unwrap()));
        }
        let took = IoLoop::current().now() - began;
        assert!((1..6).contains(&failed), "{failed}");
        assert!(took >= budget.patience / 2 && took <= 6 * budget.patience, "{took:?}");
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn a_peer_that_breaks_off_while_its_stream_is_held_back_is_noticed() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let others = held_for_a_mark_of(MIB);
        let (script, task) = upload(100 * KIB);
        script.send([7; 50 * KIB]);
        turns(10).await;
        assert_eq!(buffered_bytes(), others.get() + LITTLE);
        let began = IoLoop::current().now();
        script.fail(io::ErrorKind::ConnectionReset);
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, StreamError::Closed(CloseReason::Io(_))), "{error:?}");
        assert_eq!(IoLoop::current().now(), began);
        assert_eq!(buffered_bytes(), others.get());
    });
}

#[test]
fn a_read_that_is_given_up_while_it_is_held_back_leaves_the_stream_as_it_was() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let others = held_for_a_mark_of(MIB);
        let (stream, script) = stream();
        script.send([7; 50 * KIB]);
        let patient = ioloop::timeout(Duration::from_secs(1), stream.read_bytes(50 * KIB)).await;
        assert!(patient.is_err());
        assert_eq!(stream.buffered(), LITTLE);
        drop(others);
        assert_eq!(stream.read_bytes(50 * KIB).await.unwrap().len(), 50 * KIB);
        assert_eq!(buffered_bytes(), 0);
    });
}

#[test]
fn a_read_that_was_refused_can_be_made_again_when_there_is_memory() {
    run(async {
        MemoryBudget::new(MIB, MIB).patience(Duration::from_secs(3)).install();
        let others = held_for_a_mark_of(MIB);
        let (stream, script) = stream();
        script.send([7; 50 * KIB]);
        let began = stream.now();
        assert!(is_over_budget(&stream.read_bytes(50 * KIB).await));
        let took = stream.now() - began;
        assert!(took >= Duration::from_secs(3) && took <= Duration::from_secs(4), "{took:?}");
        assert!(!stream.is_closed());
        drop(others);
        assert_eq!(stream.read_bytes(50 * KIB).await.unwrap().len(), 50 * KIB);
    });
}

#[test]
fn raising_the_marks_lets_everybody_go_on() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let _others = held_for_a_mark_of(MIB);
        let (script, task) = upload(50 * KIB);
        script.send([7; 50 * KIB]);
        turns(10).await;
        assert!(!task.is_finished() && MemoryBudget::is_exhausted());
        MemoryBudget::new(2 * MIB, 4 * MIB).install();
        assert_eq!(task.await.unwrap().unwrap(), 50 * KIB);
        assert_eq!(MemoryBudget::current().hard, 4 * MIB);
    });
}

/// Memory is what decides, so who has room goes on and moves nothing.
#[test]
fn what_has_room_in_its_block_is_read_without_more_memory() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let (stream, script) = stream();
        script.send([7; 20 * KIB]);
        stream.fill().await.unwrap();
        let before = stream.held_bytes();
        let _others = held(2 * MIB);
        script.send([7; 30 * KIB]);
        assert_eq!(stream.read_bytes(50 * KIB).await.unwrap().len(), 50 * KIB);
        assert_eq!(before, 64 * KIB);
    });
}

#[test]
fn when_nobody_is_held_back_any_more_nothing_looks_at_the_time() {
    run(async {
        MemoryBudget::new(MIB, MIB).install();
        let others = held_for_a_mark_of(MIB);
        let (script, task) = upload(50 * KIB);
        script.send([7; 50 * KIB]);
        turns(10).await;
        drop(others);
        task.await.unwrap().unwrap();
        ioloop::sleep(Duration::from_secs(1)).await;
        let before = IoLoop::current().counters().turns;
        ioloop::sleep(Duration::from_secs(600)).await;
        assert!(IoLoop::current().counters().turns - before <= 3);
    });
}

/// Has the stream find nothing to read.
async fn wait_for_peer(stream: &IoStream) {
    poll_fn(|cx| {
        assert!(stream.poll_fill(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn what_was_granted_is_due_when_others_wait_and_the_peer_falls_behind_and_never_else() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let look = budget.patience / 16;
        let (stream, _script) = stream();
        let mut grant = MemoryGrant::new(&stream);
        let mut have = 20 * KIB;
        grant.renew(have, 160 * KIB, MemoryWait::begin());
        let others = held(3 * MIB / 2);
        for _ in 0..100 {
            ioloop::sleep(look).await;
            wait_for_peer(&stream).await;
            assert!(!grant.is_due(&stream, have), "nobody waits");
        }
        let (waiting, _waiting_script) = support::stream();
        let waits = spawn(async move { poll_fn(|cx| waiting.poll_memory(cx, 400 * KIB)).await });
        turns(1).await;
        for _ in 0..12 {
            ioloop::sleep(look).await;
            have += 10 * KIB;
            wait_for_peer(&stream).await;
            assert!(!grant.is_due(&stream, have), "it keeps pace");
        }
        let mut looks = 0;
        while !grant.is_due(&stream, have) {
            ioloop::sleep(look).await;
            wait_for_peer(&stream).await;
            looks += 1;
        }
        assert!((2..=4).contains(&looks), "{looks}");
        drop(others);
        assert!(waits.await.unwrap().is_ok());
        assert!(!grant.is_due(&stream, have), "nobody waits any more");
    });
}

#[test]
fn who_had_to_wait_for_a_grant_and_has_nothing_sent_meanwhile_gives_it_back_at_once() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let _others = held(3 * MIB / 2);
        let wait = MemoryWait::begin();
        let (waiting, _waiting_script) = support::stream();
        let _waits = spawn(async move { poll_fn(|cx| waiting.poll_memory(cx, 400 * KIB)).await });
        ioloop::sleep(budget.patience / 8).await;
        let (stream, _script) = stream();
        wait_for_peer(&stream).await;
        for (wait, have, is_due) in
            [(wait, 20 * KIB, true), (wait, 36 * KIB, false), (MemoryWait::begin(), 20 * KIB, false)]
        {
            let mut grant = MemoryGrant::new(&stream);
            grant.renew(20 * KIB, 160 * KIB, wait);
            assert_eq!(grant.is_due(&stream, have), is_due);
        }
    });
}

#[test]
fn who_had_memory_and_was_slow_waits_behind_all_others_and_half_as_long() {
    // Where the soft mark is not reached there may be room for who was slow, but not for those before it too.
    [MIB, 2 * MIB].into_iter().for_each(who_was_slow_waits_behind_all_others);
}

fn who_was_slow_waits_behind_all_others(soft: usize) {
    run(async move {
        let budget = MemoryBudget::new(soft, 2 * MIB);
        budget.install();
        let others = held(MIB + 200 * KIB);
        let began = IoLoop::current().now();
        let ask = |bytes, again: bool| {
            let (stream, script) = stream();
            let asked = poll_fn(move |cx| match again {
                false => stream.poll_memory(cx, bytes),
                true => stream.poll_memory_again(cx, bytes),
            });
            let task = spawn(async move { (asked.await, IoLoop::current().now() - began) });
            (script, task)
        };
        let (_script, first) = ask(600 * KIB, false);
        turns(1).await;
        let (_script, slow) = ask(100 * KIB, true);
        let (failed, after) = slow.await.unwrap();
        assert!(
            is_over_budget(&failed) && after >= budget.patience / 2 && after < budget.patience,
            "{after:?}"
        );
        let (_script, slow) = ask(100 * KIB, true);
        turns(1).await;
        drop(others);
        assert!(first.await.unwrap().0.is_ok() && slow.await.unwrap().0.is_ok());
    });
}

#[test]
fn of_who_says_less_than_before_nothing_has_come() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let _others = held(3 * MIB / 2);
        let (waiting, _waiting_script) = support::stream();
        let _waits = spawn(async move { poll_fn(|cx| waiting.poll_memory(cx, 400 * KIB)).await });
        let (stream, _script) = stream();
        wait_for_peer(&stream).await;
        let mut grant = MemoryGrant::new(&stream);
        grant.renew(20 * KIB, 160 * KIB, MemoryWait::begin());
        ioloop::sleep(budget.patience / 8).await;
        wait_for_peer(&stream).await;
        assert!(!grant.is_due(&stream, 10 * KIB), "the driver has passed some on");
    });
}

#[test]
fn a_shortage_callback_that_panics_keeps_nobody_waiting_for_ever() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let _others = held_for_a_mark_of(budget.hard);
        let asked = Rc::new(Cell::new(0));
        let counted = Rc::clone(&asked);
        let broken: Rc<dyn Fn()> = Rc::new(move || {
            counted.set(counted.get() + 1);
            std::panic::resume_unwind(Box::new("broken"));
        });
        on_memory_shortage(&broken);
        let (others_asked, counted) = (Rc::new(Cell::new(0)), Rc::clone(&asked));
        let second = Rc::clone(&others_asked);
        let other: Rc<dyn Fn()> = Rc::new(move || second.set(counted.get()));
        on_memory_shortage(&other);
        let (stream, _script) = stream();
        let result = poll_fn(|cx| stream.poll_memory(cx, 400 * KIB)).await;
        assert!(is_over_budget(&result), "{result:?}");
        assert!(asked.get() > 2, "{} times", asked.get());
        assert_eq!(others_asked.get(), asked.get(), "the others are asked too");
    });
}

#[test]
fn who_wants_more_than_is_left_fails_also_where_less_than_the_soft_mark_is_in_use() {
    run(async {
        let budget = MemoryBudget::new(3 * MIB / 2, 2 * MIB);
        budget.install();
        let _others = held(MIB);
        let (stream, script) = stream();
        script.send(vec![7; 200 * KIB]);
        while stream.buffered() < 200 * KIB {
            stream.fill().await.unwrap();
        }
        let (began, left) = (IoLoop::current().now(), 7 * MIB / 4 - buffered_bytes());
        let asked = poll_fn(|cx| stream.poll_memory(cx, left - KIB));
        let result = ioloop::timeout(10 * budget.patience, asked).await.unwrap();
        assert!(is_over_budget(&result), "{result:?}");
        let waited = IoLoop::current().now() - began;
        assert!(waited <= budget.patience + budget.patience / 8, "{waited:?}");
    });
}

#[test]
fn who_waits_for_much_keeps_nobody_from_reading_while_less_than_the_soft_mark_is_in_use() {
    run(async {
        let budget = MemoryBudget::new(2 * MIB, 2 * MIB);
        budget.install();
        let mut others = held(3 * MIB / 2);
        let (script, upload) = upload(400 * KIB);
        script.send(vec![7; 400 * KIB]);
        turns(20).await;
        assert!(!upload.is_finished() && buffered_bytes() > 3 * MIB / 2 + 200 * KIB);
        let (stream, _script) = stream();
        let asks = spawn(async move { poll_fn(|cx| stream.poll_memory(cx, 240 * KIB)).await });
        turns(1).await;
        others.set(3 * MIB / 2 - 150 * KIB);
        ioloop::sleep(budget.patience / 8).await;
        assert!(upload.is_finished());
        assert!(asks.await.unwrap().is_ok(), "what was read is taken");
    });
}

#[test]
fn without_patience_who_does_not_hear_of_its_end_does_not_keep_the_loop_busy() {
    run(async {
        MemoryBudget::new(MIB, 2 * MIB).patience(Duration::ZERO).install();
        let _others = held(3 * MIB / 2);
        let (stream, _script) = stream();
        let given_up = support::poll_once(poll_fn(|cx| stream.poll_memory(cx, 400 * KIB))).await;
        assert!(given_up.is_none());
        let before = IoLoop::current().counters().turns;
        ioloop::sleep(Duration::from_millis(100)).await;
        let turns = IoLoop::current().counters().turns - before;
        assert!(turns <= 250, "{turns}");
        let (stream, _script) = support::stream();
        let result = poll_fn(|cx| stream.poll_memory(cx, 400 * KIB)).await;
        assert!(is_over_budget(&result), "{result:?}");
    });
}

#[test]
fn a_loop_whose_time_is_behind_that_of_the_one_before_asks_for_memory_as_well() {
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let callback: Rc<dyn Fn()> = Rc::new(move || counted.set(counted.get() + 1));
    on_memory_shortage(&callback);
    for times in 1..=2 {
        run(async {
            ioloop::sleep(Duration::from_secs(3600)).await;
            let budget = MemoryBudget::new(MIB, 2 * MIB);
            budget.install();
            let others = held_for_a_mark_of(budget.hard);
            let _ = relieve_memory();
            let _ = relieve_memory();
            drop(others);
        });
        run(async {
            let budget = MemoryBudget::new(MIB, 2 * MIB);
            let others = held_for_a_mark_of(budget.hard);
            let _ = relieve_memory();
            drop(others);
        });
        assert_eq!(asked.get(), 2 * times);
    }
}

#[test]
fn who_need_not_fail_and_finds_the_memory_gone_again_does_not_wait_anew() {
    run(async {
        let budget = MemoryBudget::new(MIB, 2 * MIB);
        budget.install();
        let mut others = held(3 * MIB / 2);
        let began = IoLoop::current().now();
        let (stream, _script) = stream();
        let waits = spawn(async move {
            let result = poll_fn(|cx| stream.poll_memory(cx, 400 * KIB)).await;
            (result, IoLoop::current().now() - began)
        });
        turns(1).await;
        ioloop::sleep(budget.patience).await; // it has to go, and has not heard so
        others.set(0);
        others.set(3 * MIB / 2);
        let (result, waited) = waits.await.unwrap();
        assert!(is_over_budget(&result), "{result:?}");
        assert!(waited > budget.patience && waited <= budget.patience * 9 / 8, "{waited:?}");
    });
}

/// A stream on this loop that waits for more memory than there is.
fn asks_for_more() -> JoinHandle<Result<(), StreamError>> {
    spawn(async {
        let (stream, _script) = stream();
        poll_fn(|cx| stream.poll_memory(cx, 400 * KIB)).await
    })
}

#[test]
fn who_waits_on_one_loop_is_looked_after_while_another_of_the_thread_is_not_run_any_more() {
    let (idle, busy) = (VirtualLoop::new(), VirtualLoop::new());
    let budget = MemoryBudget::new(MIB, 2 * MIB);
    budget.install();
    let _others = held(3 * MIB / 2);
    idle.make_current();
    let forgotten = asks_for_more();
    idle.run_until_stalled();
    busy.make_current();
    busy.run(async {
        let began = IoLoop::current().now();
        let result = ioloop::timeout(10 * budget.patience, asks_for_more()).await.unwrap().unwrap();
        assert!(is_over_budget(&result), "{result:?}");
        let waited = IoLoop::current().now() - began;
        assert!(waited <= budget.patience + budget.patience / 4, "{waited:?}");
    });
    assert!(!forgotten.is_finished());
    let result = idle.run(forgotten).unwrap();
    assert!(is_over_budget(&result), "{result:?}");
}

#[test]
fn two_loops_of_a_thread_that_take_turns_do_not_look_twice_as_often() {
    let loops = [VirtualLoop::new(), VirtualLoop::new()];
    let [first, second] = loops.each_ref().map(|each| each.run(async { IoLoop::current().now() }));
    loops[0].advance(second - first); // by their clocks, too, they run at once
    let budget = MemoryBudget::new(MIB, 2 * MIB);
    budget.install();
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let callback: Rc<dyn Fn()> = Rc::new(move || counted.set(counted.get() + 1));
    on_memory_shortage(&callback);
    let _others = held_for_a_mark_of(budget.hard);
    let pause = budget.patience / 16;
    let both_wait = |duration| {
        for each in &loops {
            each.make_current();
            each.advance(duration);
        }
    };
    loops[0].make_current();
    let one = asks_for_more();
    both_wait(pause / 2);
    loops[1].make_current();
    let other = asks_for_more();
    both_wait(pause / 4);
    asked.set(0);
    for _ in 0..40 {
        both_wait(pause / 4);
    }
    assert!(!one.is_finished() && !other.is_finished(), "their time is not over");
    assert!(asked.get() <= 10, "{} looks in ten pauses", asked.get());
}
