//! What happens when descriptors run out (NU3.4). Each test runs its body in a process of its own, which may open but
//! few of them.
#![cfg(unix)]

mod support;

use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use iostream::{IoStream, StreamError};
use support::{Log, connect, current_loop, loopback, read_to_end, talk};
use tcpserver::{ConnectionContext, TcpServer, add_accept_handler};
use tracing::Level;

const IN_CHILD: &str = "TCPSERVER_TEST_IN_CHILD";
const DESCRIPTORS: u32 = 64;

/// The child's line that says where it listens begins with this; libtest's own lines do not.
const LISTENING: &str = "listening on ";

/// Runs the test `name` of this file again, in a process with few descriptors. `None` in that process.
fn child(name: &str) -> Option<Child> {
    if env::var_os(IN_CHILD).is_some() {
        return None;
    }
    let program = env::current_exe().expect("a program runs");
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\""))
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, "yes")
        .stdout(Stdio::piped())
        .spawn();
    Some(child.expect("a shell"))
}

/// Opens files until there are no descriptors left.
fn use_up() -> Vec<File> {
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!files.is_empty());
    files
}

#[test]
fn nu3_4_accepting_pauses_longer_and_longer_logs_once_and_recovers_by_itself() {
    let name = "nu3_4_accepting_pauses_longer_and_longer_logs_once_and_recovers_by_itself";
    if let Some(child) = child(name) {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let test = VirtualLoop::new();
    test.make_current();
    let (log, _guard) = Log::begin();
    let logged = || (log.at(Level::ERROR).len(), log.at(Level::INFO).len());
    let (listener, address) = loopback();
    let accepted = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&accepted);
    let callback = move |connection, _| keep.borrow_mut().push(connection);
    let handle = add_accept_handler(listener, callback).expect("a listener");
    test.run_until_stalled();
    let mut clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
    let mut files = use_up();

    // Each failure makes one pause, and each pause is one timer.
    let before = test.counters();
    let failures = || test.counters().timers_inserted - before.timers_inserted;
    test.run_until_stalled();
    assert_eq!((accepted.borrow().len(), failures()), (0, 1));
    for (index, pause) in [20, 40, 80, 100, 100, 100].into_iter().enumerate() {
        test.advance(Duration::from_millis(pause) - Duration::from_nanos(1));
        assert_eq!(failures(), index as u64 + 1, "before pause {index} is over");
        test.advance(Duration::from_nanos(1));
        assert_eq!(failures(), index as u64 + 2, "when pause {index} is over");
    }
    assert!(test.counters().turns - before.turns < 10 * failures(), "a pause is idle");
    assert_eq!(logged(), (1, 0));
    assert!(log.at(Level::ERROR)[0].contains("open files"), "{:?}", log.at(Level::ERROR));

    // Descriptors that come one by one are used, and are no end of the episode while others queue. Once something
    // was accepted the pauses are short again.
    for (served, pause) in [(1, 100), (2, 20), (3, 20)] {
        drop(files.pop());
        test.advance(Duration::from_millis(pause));
        assert_eq!(accepted.borrow().len(), served);
    }
    assert_eq!(logged(), (1, 0));
    drop(files);
    test.advance(Duration::from_millis(100));
    assert_eq!(accepted.borrow().len(), clients.len());
    assert_eq!(logged(), (1, 0), "all is well, but for how long");
    test.advance(Duration::from_secs(2));
    assert_eq!(logged(), (1, 1));

    // The next episode is logged again, and removing the handler ends it at once, pause or no pause.
    clients.push(connect(address));
    let files = use_up();
    let tasks = test.counters().tasks;
    test.run_until_stalled();
    assert_eq!(logged(), (2, 1));
    let listener = handle.remove().expect("the listener");
    test.run_until_stalled();
    assert_eq!(test.counters().tasks, tasks - 1);
    drop((files, listener));
}

async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until(b"\n").await?;
        if line == "stop\n" {
            context.server().stop();
            stream.io_loop().stop();
        }
        stream.write(line).await?;
    }
}

#[test]
fn nu3_4_a_server_at_its_limit_serves_whom_it_has_and_the_others_when_it_can() {
    let name = "nu3_4_a_server_at_its_limit_serves_whom_it_has_and_the_others_when_it_can";
    let Some(mut child) = child(name) else { return serve_at_the_limit() };
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let address = lines.find_map(|line| {
        line.expect("text").split_once(LISTENING).map(|(_, address)| address.parse().expect("an address"))
    });
    let address = address.expect("it says where it listens");

    // More than it has descriptors for; the kernel queues the others.
    let mut clients: Vec<TcpStream> = (0..DESCRIPTORS + 20).map(|_| connect(address)).collect();
    let mut late = clients.pop().expect("a client");
    late.write_all(b"late\n").expect("it is queued");
    for client in &mut clients[..20] {
        assert_eq!(talk(client, "early\n"), "early\n");
    }
    drop(clients);
    let mut answer = String::new();
    BufReader::new(&late).read_line(&mut answer).expect("it is served in the end");
    assert_eq!(answer, "late\n");
    late.write_all(b"stop\n").expect("it reads");
    read_to_end(&mut late);
    lines.for_each(drop);
    assert!(child.wait().expect("it ends").success());
}

fn serve_at_the_limit() {
    let io_loop = current_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    println!("{LISTENING}{address}");
    let began = Instant::now();
    io_loop.start().expect("the loop runs");

    let failures = io_loop.counters().timers_inserted;
    assert!(failures > 0, "the limit was met");
    // The pauses are never shorter than they say, however slow the machine is: so many fit into the time at most,
    // if every episode had been of the shortest pauses, and far fewer if not.
    assert!(u128::from(failures) <= began.elapsed().as_millis() / 5 + 1, "{failures} failures");
    let errors = log.at(Level::ERROR);
    assert!((1..=3).contains(&errors.len()), "{failures} failures, logged as {errors:?}");
    assert_eq!(io_loop.counters().panics, 0);
}
