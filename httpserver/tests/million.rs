//! A crowd of connections on virtual time, as many as `IDLE_CONNECTIONS` says (scripts/ci.d/66-million.sh says a million): what one of
//! them costs, who is evicted and when, how they are drained, and what stays. A file of its own, because it counts all memory of the
//! process.

#[path = "../../tcpserver/tests/support/wires.rs"]
mod wires;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use httpserver::{DrainReport, Handler, HttpOptions, HttpServer, Request, Response, Whole};
use ioloop::testing::VirtualLoop;
use peak_alloc::PeakAlloc;
use tcpserver::PeerAddr;
use wires::{BYTES_PER_WIRE, Longest, Wires};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The budget of a connection over a socket: see `idle_memory.rs`. It holds where the server's table, which grows by doubling, is all but
/// full, as it is with 15,000 there, and with 16,000 and a million here.
const MOST_BYTES: usize = 400;
/// From so many on.
const FEW: usize = 1_000;
/// More than any queue keeps room for.
const SOME: usize = 5_000;
/// Tasks that a turn polls, or timers that it fires, at most: 1,024, and some that a turn before has polled without looking at events.
const MOST_A_TURN: u64 = 1_100;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// An hour, in seconds.
const HOUR: usize = 3_600;
/// How long a connection may idle, in seconds.
const PATIENCE: usize = 600;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

async fn serve(request: Request) -> Response {
    if request.path() == "/slow" {
        ioloop::sleep(10 * SECOND).await;
    }
    Response::text("hello")
}

#[test]
fn a_crowd_idles_is_evicted_and_drained_in_bites_and_leaves_nothing_behind() {
    let count = std::env::var("IDLE_CONNECTIONS").map_or(16_000, |count| count.parse().unwrap());
    let all = (0..count).collect::<Vec<_>>();
    let mut scene = Scene::new(count, server());

    // What is kept for the next crowd, whatever its size, is there after some have been at work, and have left, all at once.
    scene.connect(&all[..SOME]);
    scene.ask(&all[..SOME], SLOW);
    assert_eq!(scene.drain().finished, SOME);
    let before = scene.bytes_with_nobody_there();

    scene.server = server();
    let longest = Longest::watch(&scene.time);
    scene.connect(&all[..FEW]);
    let few = scene.bytes();
    let each = || (scene.bytes() - few) / (count - FEW) - BYTES_PER_WIRE;
    scene.connect(&all[FEW..]);
    assert_eq!(scene.idle(), count);
    let first = each();
    println!("{first} bytes a connection, of {count}");
    assert!(first <= MOST_BYTES, "{first} bytes");

    let live_on = scene.an_hour_in_which_a_tenth_asks();
    assert_eq!(scene.idle(), live_on.len());
    scene.ask(&live_on, REQUEST);
    drop(live_on);

    // The others come again, and then all ask in one moment, so that all are due in one.
    scene.connect(&scene.gone());
    let second = each();
    assert!(first.abs_diff(second) * 20 <= first, "{first} bytes, then {second}");
    scene.ask(&all, REQUEST);
    scene.time.advance(seconds(PATIENCE) - MILLISECOND);
    assert_eq!(scene.idle(), count);
    scene.time.advance(MILLISECOND);
    scene.assert_evicted_are_those_who_were_due();
    assert_eq!(scene.wires.closed(), count);
    let evicted = scene.bytes_with_nobody_there();

    // And once more, to be drained while some are at work.
    scene.connect(&all);
    let (at_work, idle) = all.split_at(100);
    scene.ask(at_work, SLOW);
    assert_eq!(scene.server.handle().drain_progress().idle, idle.len());
    let report = scene.drain();
    assert_eq!((report.finished, report.aborted, report.took), (count, 0, 10 * SECOND));
    let began = scene.asked.borrow()[0];
    assert!(
        idle.iter().all(|number| scene.wires.closed_at(*number) == Some(began)),
        "the idle are closed at once"
    );
    assert!(at_work.iter().all(|number| scene.wires.answers(*number) == 2), "the last answer was given");
    let drained = scene.bytes_with_nobody_there();

    println!("{before} bytes before, {evicted} when all were evicted, {drained} when all were drained");
    assert!(evicted.max(drained) * 10 <= before * 11);
    let ((polls, timers), queue) = (longest.turn(), scene.time.measurements().queue_depth.max());
    println!("at most {polls} polls of tasks and {timers} timers a turn, {queue} in the queue");
    assert!(polls <= MOST_A_TURN && timers <= MOST_A_TURN);
    assert!(queue <= SOME as u64, "no more are told at a time than are then served");
}

struct Scene<H> {
    time: VirtualLoop,
    server: HttpServer<H, Whole>,
    wires: Rc<Wires>,
    /// When each connection was last heard of.
    asked: RefCell<Vec<Instant>>,
}

fn server() -> HttpServer<impl Handler<Whole>, Whole> {
    HttpServer::new(serve).options(HttpOptions::new().idle_connection_timeout(seconds(PATIENCE)))
}

impl<H: Handler<Whole>> Scene<H> {
    fn new(count: usize, server: HttpServer<H, Whole>) -> Scene<H> {
        let time = VirtualLoop::new();
        time.make_current();
        let (wires, asked) = (Wires::new(count, b"hello"), RefCell::new(vec![time.now(); count]));
        Scene { time, server, wires, asked }
    }

    /// New connections in these places, evenly over a hundred seconds. Each asks once.
    fn connect(&self, numbers: &[usize]) {
        const STEPS: usize = 2_000;
        for some in numbers.chunks(numbers.len().div_ceil(STEPS)) {
            for number in some {
                let stream = self.wires.connect(*number, REQUEST);
                self.asked.borrow_mut()[*number] = stream.now();
                self.server.add_stream(stream, PeerAddr::Unix(None));
            }
            self.time.advance(100 * SECOND / STEPS as u32);
        }
    }

    /// These ask once more, all in one moment.
    fn ask(&self, numbers: &[usize], request: &'static [u8]) {
        for some in numbers.chunks(500) {
            for number in some {
                self.wires.send(*number, request);
                self.asked.borrow_mut()[*number] = self.time.now();
            }
            self.time.run_until_stalled();
        }
    }

    /// Who asks again, and always before its time is over, lives on: a random tenth, which this gives.
    fn an_hour_in_which_a_tenth_asks(&self) -> Vec<usize> {
        let below = |most: usize| (self.time.chance() * most as f64) as usize;
        let tenth: Vec<_> = (0..self.asked.borrow().len()).filter(|_| below(10) == 0).collect();
        let mut agenda = vec![Vec::new(); HOUR];
        for number in &tenth {
            let mut at = below(PATIENCE - 200); // it came in the last two hundred seconds
            while at < HOUR {
                agenda[at].push(*number);
                at += 1 + below(PATIENCE - 2);
            }
        }
        for (second, asking) in agenda.iter().enumerate() {
            self.ask(asking, REQUEST);
            self.time.advance(SECOND);
            if second % 60 == 59 {
                self.assert_evicted_are_those_who_were_due();
            }
        }
        for number in tenth.iter().take(100) {
            assert!(self.wires.closed_at(*number).is_none());
            let asked = agenda.iter().filter(|asking| asking.contains(number)).count() as u32;
            assert_eq!(self.wires.answers(*number), 1 + asked);
        }
        tenth
    }

    /// Ends in good order, and waits for that.
    fn drain(&self) -> DrainReport {
        self.time.run(self.server.drain(30 * SECOND))
    }

    /// Looks whether those are closed that have not asked for ten minutes, and were at that very moment, and nobody else.
    fn assert_evicted_are_those_who_were_due(&self) {
        let now = self.time.now();
        for (number, asked) in self.asked.borrow().iter().enumerate() {
            let due = Some(*asked + seconds(PATIENCE)).filter(|due| *due <= now);
            assert_eq!(self.wires.closed_at(number), due, "{number}");
        }
    }

    fn gone(&self) -> Vec<usize> {
        (0..self.asked.borrow().len()).filter(|number| self.wires.closed_at(*number).is_some()).collect()
    }

    /// Connections that are open, having looked whether there is a task, a timer and a source for each, and nothing else.
    fn idle(&self) -> usize {
        let (open, counters) = (self.server.open_connections(), self.time.counters());
        assert_eq!([counters.tasks, counters.timers, counters.sources], [open; 3]);
        assert_eq!(iostream::leased_blocks(), 0);
        open
    }

    /// What is allocated, but for what the test keeps of each connection.
    fn bytes(&self) -> usize {
        let connections = self.asked.borrow().len();
        MEMORY.current_usage()
            - self.wires.bytes()
            - connections * (size_of::<Instant>() + size_of::<usize>())
    }

    fn bytes_with_nobody_there(&self) -> usize {
        self.time.advance(SECOND); // blocks are given back when it has been quiet for a moment
        assert_eq!(self.idle(), 0);
        self.bytes()
    }
}

fn seconds(seconds: usize) -> Duration {
    Duration::from_secs(seconds as u64)
}
