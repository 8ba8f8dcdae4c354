//! Random programs of callbacks, timers, tasks, handlers, removals, aborts and panics, against a model of what must run
//! when. Every other program runs in a seeded order.
//!
//! Everything that runs reports to the model, which knows what was queued, in which turn and in which order:
//! nothing may run early, late, twice, out of order or after it was cancelled, no wake may be lost, and in the end
//! nothing may be left. `IOLOOP_SEEDS` sets the number of programs, `IOLOOP_FIRST_SEED` the first; a failure prints its
//! seed.

mod handlers;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use handlers::Handlers;
use ioloop::testing::VirtualLoop;
use ioloop::{Interest, IoLoop, JoinError, JoinHandle, Ready, Registration, RunError, Sleep, Timeout, sleep};

/// SplitMix64: small, seeded, and good enough.
struct Random(Cell<u64>);

impl Random {
    fn below(&self, n: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Callback(u32),
    Task(u32),
}

/// What a task waits for, one thing after another.
enum Wait {
    /// Somebody to open it, through the task's waker. The model knows exactly when the task is polled then.
    Gate,
    Asleep(Pin<Box<Sleep>>, Instant),
    Source(Registration),
}

#[derive(Default)]
struct TaskModel {
    /// Whether the model's queue holds it.
    scheduled: bool,
    /// Its waker, while it waits at a gate, asleep or at a source.
    waker: Option<Waker>,
    gate_open: bool,
    notifier: Option<ioloop::Notifier>,
    source_ready: bool,
    handle: Option<JoinHandle<u32>>,
    expected: Option<Result<u32, JoinError>>,
}

struct TimerModel {
    set_in_turn: u64,
    handle: Option<Timeout>,
}

struct World {
    io_loop: IoLoop,
    began: Instant,
    random: Random,
    /// How many more things may be made.
    budget: Cell<u32>,
    next_id: Cell<u32>,
    panics: Cell<u64>,
    /// The first rule that was broken. The loop catches panics, so an assertion would go on.
    failure: RefCell<Option<String>>,
    /// What is ready, in order, with the turn in which it became so.
    queue: RefCell<VecDeque<(Item, u64)>>,
    /// Live timers in the order in which they must fire: by deadline, then by age.
    timers: RefCell<BTreeMap<(Instant, u32), TimerModel>>,
    tasks: RefCell<BTreeMap<u32, TaskModel>>,
    handlers: Handlers,
    /// Whether the order of what is ready together is left to chance.
    seeded: bool,
    /// One reference in everything that the loop holds: what is left in the end has leaked.
    token: Rc<()>,
}

impl World {
    fn turn(&self) -> u64 {
        self.io_loop.counters().turns
    }

    fn check(&self, rule_kept: bool, what: impl FnOnce() -> String) {
        let mut failure = self.failure.borrow_mut();
        if !rule_kept && failure.is_none() {
            *failure = Some(format!("{} (turn {})", what(), self.turn()));
        }
    }

    fn id(&self) -> u32 {
        self.next_id.set(self.next_id.get() + 1);
        self.next_id.get()
    }

    /// Does up to three random things, as the outside or as whatever runs at present.
    fn act(self: &Rc<Self>) {
        for _ in 0..self.random.below(4) {
            match self.random.below(16) {
                0..=2 => self.add_callback(),
                3..=4 => self.add_timer(),
                5..=6 => self.add_task(),
                7 => self.remove_timer(),
                8 => self.abort_task(),
                9..=10 => self.wake_task(),
                11 => self.add_handler(),
                12 => self.write_to_handler(),
                13 => match self.random.below(2) {
                    0 => self.remove_a_handler(),
                    _ => self.update_a_handler(),
                },
                _ => self.make_ready(),
            }
        }
    }

    /// Calls `before_panic` if it does panic.
    fn act_and_perhaps_panic(self: &Rc<Self>, before_panic: impl FnOnce()) {
        self.act();
        if self.random.one_in(40) {
            self.io_loop.stop();
        }
        if self.random.one_in(12) {
            self.panics.set(self.panics.get() + 1);
            before_panic();
            resume_unwind(Box::new("at random")); // past the hook, which would print it
        }
    }

    fn may_make_one(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    fn add_callback(self: &Rc<Self>) {
        if !self.may_make_one() {
            return;
        }
        let (id, world, token) = (self.id(), Rc::downgrade(self), Rc::clone(&self.token));
        self.queue.borrow_mut().push_back((Item::Callback(id), self.turn()));
        self.io_loop.add_callback(move || {
            let _token = token;
            let world = world.upgrade().unwrap();
            world.expect_next(Item::Callback(id));
            world.act_and_perhaps_panic(|| {});
        });
    }

    /// Checks that `item` is what the model has next, queued in the turn before this one.
    fn expect_next(&self, item: Item) {
        let expected = Some((item, self.turn() - 1));
        let next = self.take_next(item);
        self.check(next == expected, || format!("{item:?} ran in place of {next:?}"));
    }

    /// What must be next: the eldest item, or in a seeded order `item` itself, if nothing is left from an earlier turn and, for
    /// a callback, no elder callback waits.
    fn take_next(&self, item: Item) -> Option<(Item, u64)> {
        let mut queue = self.queue.borrow_mut();
        let eldest = queue.front().copied();
        if !self.seeded || eldest.is_some_and(|(_, turn)| turn < self.turn() - 1) {
            return queue.pop_front();
        }
        let is_callback = |item: &Item| matches!(item, Item::Callback(_));
        let first = |(other, _): &(Item, u64)| *other == item || (is_callback(&item) && is_callback(other));
        queue.iter().position(first).and_then(|at| queue.remove(at))
    }

    fn add_timer(self: &Rc<Self>) {
        if !self.may_make_one() {
            return;
        }
        let (id, world, token) = (self.id(), Rc::downgrade(self), Rc::clone(&self.token));
        let now = self.io_loop.now();
        let deadline = match self.random.below(4) {
            // Past, but not before the loop was made: such deadlines all count as that moment.
            0 => self.began.max(now - Duration::from_millis(self.random.below(3))),
            _ => now + Duration::from_millis(self.random.below(20)),
        };
        let timer = self.io_loop.call_at(deadline, move || {
            let _token = token;
            let world = world.upgrade().unwrap();
            world.expect_timer((deadline, id));
            world.act_and_perhaps_panic(|| {});
        });
        let model = TimerModel { set_in_turn: self.turn(), handle: Some(timer) };
        self.timers.borrow_mut().insert((deadline, id), model);
    }

    /// Checks that this timer is due, alive, not of this turn, and that no earlier one is still to fire.
    fn expect_timer(&self, key: (Instant, u32)) {
        let turn = self.turn();
        let mut timers = self.timers.borrow_mut();
        let Some(timer) = timers.remove(&key) else {
            return self.check(false, || format!("timer {} fired twice or after it was removed", key.1));
        };
        self.check(key.0 <= self.io_loop.now(), || format!("timer {} fired early", key.1));
        self.check(timer.set_in_turn < turn, || format!("timer {} fired in the turn that set it", key.1));
        let elders = if self.seeded { ..(key.0, 0) } else { ..key };
        let elder = timers.range(elders).find(|(_, other)| other.set_in_turn < turn);
        self.check(elder.is_none(), || format!("timer {} fired before its elder", key.1));
    }

    fn remove_timer(&self) {
        let removed = {
            let mut timers = self.timers.borrow_mut();
            let Some(at) = self.pick(timers.len()) else { return };
            let key = *timers.keys().nth(at).unwrap();
            timers.remove(&key).unwrap().handle.take().unwrap()
        };
        self.io_loop.remove_timeout(&removed);
    }

    fn pick(&self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.random.below(len as u64) as usize)
    }

    fn add_task(self: &Rc<Self>) {
        if !self.may_make_one() {
            return;
        }
        let id = self.id();
        let program = Program {
            id,
            world: Rc::downgrade(self),
            steps: self.random.below(4),
            wait: None,
            _token: Rc::clone(&self.token),
        };
        self.tasks.borrow_mut().insert(id, TaskModel { scheduled: true, ..TaskModel::default() });
        self.queue.borrow_mut().push_back((Item::Task(id), self.turn()));
        let handle = self.io_loop.spawn(program);
        self.tasks.borrow_mut().get_mut(&id).unwrap().handle = Some(handle);
    }

    fn pick_live_task(&self) -> Option<u32> {
        let tasks = self.tasks.borrow();
        let live: Vec<u32> =
            tasks.iter().filter(|(_, task)| task.expected.is_none()).map(|(id, _)| *id).collect();
        self.pick(live.len()).map(|at| live[at])
    }

    fn abort_task(&self) {
        let Some(id) = self.pick_live_task() else { return };
        let handle = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.get_mut(&id).unwrap();
            // A task that aborts itself in its last poll gives its output all the same; keep that out.
            if task.waker.is_none() || task.handle.is_none() {
                return;
            }
            task.expected = Some(Err(JoinError::Aborted));
            task.handle.take().unwrap()
        };
        self.queue.borrow_mut().retain(|(item, _)| *item != Item::Task(id));
        handle.abort();
        self.check(handle.is_finished(), || format!("task {id} was aborted and is not finished"));
        self.tasks.borrow_mut().get_mut(&id).unwrap().handle = Some(handle);
    }

    /// Opens a task's gate, or wakes it for nothing.
    fn wake_task(&self) {
        let Some(id) = self.pick_live_task() else { return };
        let waker = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.get_mut(&id).unwrap();
            let Some(waker) = task.waker.clone() else { return };
            task.gate_open = true;
            if !std::mem::replace(&mut task.scheduled, true) {
                self.queue.borrow_mut().push_back((Item::Task(id), self.turn()));
            }
            waker
        };
        for _ in 0..=self.random.below(2) {
            waker.wake_by_ref();
        }
    }

    fn make_ready(&self) {
        let Some(id) = self.pick_live_task() else { return };
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(&id).unwrap();
        if let Some(notifier) = &task.notifier {
            task.source_ready = true;
            notifier.set_ready(Ready::READABLE);
        }
    }

    /// Checks a poll of a task. One that a timer or a source may have woken is polled at a time that the model does not
    /// know, and then once for all the wakes that the model does know.
    fn expect_poll(&self, id: u32, woken_otherwise: bool) {
        let scheduled = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.get_mut(&id).expect("a task of ours");
            self.check(task.expected.is_none(), || format!("task {id} was polled after its end"));
            task.waker = None;
            std::mem::take(&mut task.scheduled)
        };
        if !woken_otherwise {
            self.check(scheduled, || format!("task {id} was polled though nobody woke it"));
            self.expect_next(Item::Task(id));
        } else if scheduled {
            self.queue.borrow_mut().retain(|(item, _)| *item != Item::Task(id));
        }
    }
}

/// A task's body: some steps, each of which acts and then waits.
struct Program {
    id: u32,
    world: std::rc::Weak<World>,
    steps: u64,
    wait: Option<Wait>,
    _token: Rc<()>,
}

impl Program {
    fn woken_otherwise(&self, world: &World) -> bool {
        match &self.wait {
            Some(Wait::Asleep(_, deadline)) => *deadline <= world.io_loop.now(),
            Some(Wait::Source(_)) => world.tasks.borrow()[&self.id].source_ready,
            Some(Wait::Gate) | None => false,
        }
    }

    fn poll_wait(&mut self, world: &World, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wait {
            None => Poll::Ready(()),
            Some(Wait::Gate) => match world.tasks.borrow_mut().get_mut(&self.id).unwrap() {
                TaskModel { gate_open: true, .. } => Poll::Ready(()),
                _ => Poll::Pending,
            },
            Some(Wait::Asleep(sleep, deadline)) => {
                let done = sleep.as_mut().poll(cx);
                let due = *deadline <= world.io_loop.now();
                world.check(done.is_ready() == due, || format!("a sleep of task {} is wrong", self.id));
                done
            }
            Some(Wait::Source(registration)) => registration.poll_ready(cx, Interest::READ).map(|_| ()),
        }
    }

    fn begin_wait(&mut self, world: &World) {
        let mut tasks = world.tasks.borrow_mut();
        let task = tasks.get_mut(&self.id).unwrap();
        (task.gate_open, task.source_ready, task.notifier) = (false, false, None);
        self.wait = Some(match world.random.below(3) {
            0 => Wait::Gate,
            1 => {
                let length = Duration::from_millis(world.random.below(20) + 1);
                Wait::Asleep(Box::pin(sleep(length)), world.io_loop.now() + length)
            }
            _ => {
                let registration = Registration::new(&world.io_loop);
                task.notifier = Some(registration.notifier());
                Wait::Source(registration)
            }
        });
    }
}

impl Future for Program {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        let this = &mut *self;
        let world = this.world.upgrade().unwrap();
        world.expect_poll(this.id, this.woken_otherwise(&world));
        loop {
            if this.poll_wait(&world, cx).is_pending() {
                world.tasks.borrow_mut().get_mut(&this.id).unwrap().waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            world.act();
            if this.steps == 0 || world.random.one_in(12) {
                break;
            }
            this.steps -= 1;
            this.begin_wait(&world);
        }
        let panics = world.random.one_in(6);
        let mut tasks = world.tasks.borrow_mut();
        tasks.get_mut(&this.id).unwrap().expected = Some(match panics {
            true => Err(JoinError::Panicked("at random".to_owned())),
            false => Ok(this.id),
        });
        drop(tasks);
        if panics {
            world.panics.set(world.panics.get() + 1);
            resume_unwind(Box::new("at random"));
        }
        Poll::Ready(this.id)
    }
}

fn run_program(seed: u64) {
    let seeded = seed % 2 == 1;
    let test = if seeded { VirtualLoop::seeded(seed) } else { VirtualLoop::new() };
    test.make_current(); // so that wakes from outside a run take the short way, too, and keep their place
    let world = Rc::new(World {
        io_loop: test.clone(),
        began: test.now(),
        random: Random(Cell::new(seed)),
        budget: Cell::new(150),
        next_id: Cell::new(0),
        panics: Cell::new(0),
        failure: RefCell::default(),
        queue: RefCell::default(),
        timers: RefCell::default(),
        tasks: RefCell::default(),
        handlers: RefCell::default(),
        seeded,
        token: Rc::new(()),
    });
    while world.budget.get() > 0 {
        world.act();
        match world.random.below(3) {
            0 => test.run_until_stalled(),
            1 => test.advance(Duration::from_millis(world.random.below(15))),
            _ => {
                let length = Duration::from_millis(world.random.below(5));
                match test.run_sync(async { sleep(length).await }) {
                    Ok(()) | Err(RunError::Stopped) => {} // a part of the program may stop the loop
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    if world.random.one_in(4) {
        // Closed in the middle of it all.
        test.close();
    } else {
        finish(&test, &world);
    }
    IoLoop::clear_current();
    assert_eq!(*world.failure.borrow(), None);
    let counters = test.counters();
    assert_eq!((counters.tasks, counters.timers, counters.sources), (0, 0, 0), "left in the tables");
    assert_eq!(counters.panics, world.panics.get(), "panics of ours, and no others");
    world.tasks.borrow_mut().clear();
    world.handlers.borrow_mut().clear();
    assert_eq!(Rc::strong_count(&world.token), 1, "something leaked");
}

/// Opens and wakes everything until all tasks are done, and checks how each of them ended.
fn finish(test: &VirtualLoop, world: &Rc<World>) {
    for _ in 0..100 {
        let waiting: Vec<Waker> = {
            let mut tasks = world.tasks.borrow_mut();
            let open = |(id, task): (&u32, &mut TaskModel)| {
                if let Some(notifier) = &task.notifier {
                    task.source_ready = true;
                    notifier.set_ready(Ready::READABLE);
                }
                let waker = task.waker.clone().filter(|_| task.expected.is_none())?;
                task.gate_open = true;
                if !std::mem::replace(&mut task.scheduled, true) {
                    world.queue.borrow_mut().push_back((Item::Task(*id), world.turn()));
                }
                Some(waker)
            };
            tasks.iter_mut().filter_map(open).collect()
        };
        waiting.into_iter().for_each(Waker::wake);
        test.advance(Duration::from_millis(25));
    }
    world.end_handlers();
    let (queued, set) = (world.queue.borrow().len(), world.timers.borrow().len());
    world.check((queued, set) == (0, 0), || format!("{queued} items never ran, {set} timers never fired"));
    let ends: Vec<_> = world
        .tasks
        .borrow_mut()
        .values_mut()
        .map(|task| (task.handle.take().unwrap(), task.expected.take().expect("a task that is not done")))
        .collect();
    test.run(async {
        for (handle, expected) in ends {
            assert_eq!(handle.await, expected);
        }
    });
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")),
        Err(_) => default,
    }
}

#[test]
fn il4_il7_il10_il13_il20_il21_il22_random_programs_keep_the_rules() {
    let first = setting("IOLOOP_FIRST_SEED", 0);
    for seed in first..first + setting("IOLOOP_SEEDS", 300) {
        let outcome = std::panic::catch_unwind(|| run_program(seed));
        assert!(outcome.is_ok(), "IOLOOP_FIRST_SEED={seed} IOLOOP_SEEDS=1 repeats this");
    }
}
