//! A seed decides the order of what is ready together, and nothing else.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::{VirtualLoop, for_each_seed};

type Log = Rc<RefCell<Vec<usize>>>;

/// The orders that `program` gives under twenty seeds, each tried twice.
fn orders(program: impl Fn(&VirtualLoop, &Log)) -> HashSet<Vec<usize>> {
    let run = |seed| {
        let (test, log) = (VirtualLoop::seeded(seed), Log::default());
        program(&test, &log);
        test.advance(Duration::from_secs(1));
        log.take()
    };
    let one_order = |seed| {
        let order: Vec<usize> = run(seed);
        assert_eq!(order, run(seed), "seed {seed} gives one order");
        order
    };
    (0..20).map(one_order).collect()
}

fn push(log: &Log, n: usize) -> impl FnOnce() + use<> {
    let log = Rc::clone(log);
    move || log.borrow_mut().push(n)
}

#[test]
fn tasks_that_are_ready_together_run_in_an_order_of_the_seeds() {
    let orders = orders(|test, log| {
        for n in 0..5 {
            let push = push(log, n);
            test.spawn_detached(async move { push() });
        }
    });
    assert!(orders.len() > 10, "{orders:?}");
    assert!(orders.iter().all(|order| order.iter().sum::<usize>() == 10), "each ran once");
}

#[test]
fn il10_callbacks_keep_their_order_under_every_seed_while_tasks_come_in_between() {
    let orders = orders(|test, log| {
        (0..5).for_each(|n| test.add_callback(push(log, n)));
        let push = push(log, 9);
        test.spawn_detached(async move { push() });
    });
    assert!(orders.len() > 3);
    for mut order in orders {
        order.retain(|n| *n != 9);
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn timers_with_one_deadline_run_in_an_order_of_the_seeds_and_others_by_their_deadlines() {
    let orders = orders(|test, log| {
        for n in 0..4 {
            test.call_later(Duration::from_millis(10), push(log, n));
            test.call_later(Duration::from_millis(20), push(log, 10 + n));
        }
    });
    assert!(orders.len() > 10);
    assert!(orders.iter().all(|order| order[..4].iter().all(|n| *n < 10)));
}

#[test]
fn il39_jobs_of_the_executor_run_inline_in_an_order_of_the_seeds() {
    let orders = orders(|test, log| {
        for n in 0..5 {
            let (push, job) = (push(log, n), test.run_in_executor(move || n));
            test.spawn_detached(async move {
                assert_eq!(job.await, Ok(n));
                push();
            });
        }
    });
    assert!(orders.len() > 10);
}

#[test]
fn without_a_seed_the_order_is_the_promised_one() {
    let (test, log) = (VirtualLoop::new(), Log::default());
    for n in 0..20 {
        let push = push(&log, n);
        test.spawn_detached(async move { push() });
    }
    test.run_until_stalled();
    assert!(log.borrow().is_sorted());
}

#[test]
fn every_seed_is_tried_and_the_panic_of_one_is_the_callers() {
    let chances: RefCell<HashSet<u64>> = RefCell::default();
    for_each_seed(10, |test| {
        chances.borrow_mut().insert(test.chance().to_bits());
    });
    assert_eq!(chances.borrow().len(), 10);
    let tried = RefCell::new(0);
    let fails = || {
        for_each_seed(10, |_| {
            *tried.borrow_mut() += 1;
            if *tried.borrow() == 4 {
                std::panic::resume_unwind(Box::new("at the fourth"));
            }
        });
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fails)).unwrap_err();
    assert_eq!((panic.downcast_ref(), *tried.borrow()), (Some(&"at the fourth"), 4));
}
