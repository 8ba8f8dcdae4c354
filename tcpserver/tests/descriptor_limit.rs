//! What happens when descriptors run out (NU3.4), and who is let in so that they do not (TS7). Each test runs its body in a process of its
//! own, which may open but few of them.
#![cfg(unix)]

mod support;

use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use iostream::{IoStream, StreamError};
use netutil::BindOptions;
use support::{Log, connect, current_loop, echo_until_drained, loopback, read_to_end, talk, watch_this_test};
use tcpserver::{ConnectionContext, HandleStream, Shed, TcpServer, WhenFull, add_accept_handler};
use tracing::Level;

const IN_CHILD: &str = "TCPSERVER_TEST_IN_CHILD";
const DESCRIPTORS: u32 = 64;
/// Up to which the child may raise that.
const HARD_LIMIT: u32 = 256;

/// The child's line that says where it listens begins with this; libtest's own lines do not.
const LISTENING: &str = "listening on ";

/// Runs the test `name` of this file again, in a process with few descriptors. `None` in that process.
fn child(name: &str) -> Option<Child> {
    watch_this_test();
    if env::var_os(IN_CHILD).is_some() {
        return None;
    }
    let program = env::current_exe().expect("a program runs");
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -S -n {DESCRIPTORS} && ulimit -H -n {HARD_LIMIT} && exec \"$0\" \"$@\""))
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Some(child.expect("a shell"))
}

/// The side of a test that has descriptors enough: it knows where the child listens, and talks with it in lines.
struct Clients {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Clients {
    /// Those of the child that runs the test `name`. `None` in that process.
    fn of(name: &str) -> Option<Clients> {
        let mut child = child(name)?;
        let input = child.stdin.take().expect("it is piped");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = hear(&mut output, LISTENING).parse().expect("an address");
        Some(Clients { child, input, output, address })
    }

    /// Clients that have connected and said something.
    fn connect(&self, count: usize) -> Vec<TcpStream> {
        let client = || {
            let mut client = connect(self.address);
            client.write_all(b"hello\n").expect("it is queued");
            client
        };
        std::iter::repeat_with(client).take(count).collect()
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("the child listens");
    }

    fn hear(&mut self, word: &str) {
        hear(&mut self.output, word);
    }

    fn end(mut self) {
        let status = self.child.wait().expect("it ends");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert!(status.success(), "{rest}");
    }
}

/// What follows `word` in the first line that has it.
fn hear(lines: &mut impl BufRead, word: &str) -> String {
    let mut heard = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).expect("text"), 0, "it ended without {word:?}: {heard}");
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
        heard.push_str(&line);
    }
}

/// The child's side of [`Clients::tell`].
fn wait_for(word: &str) {
    hear(&mut std::io::stdin().lock(), word);
}

/// Listens for two hundred; the parent is told where.
fn listen<H: HandleStream>(server: &TcpServer<H>) {
    let options = BindOptions::new().address("127.0.0.1").backlog(256);
    let addresses = server.listen_with(0, &options).expect("a port");
    println!("{LISTENING}{}", addresses[0]);
}

/// Answers one line.
async fn answer(stream: IoStream, _: ConnectionContext) -> Result<(), StreamError> {
    let line = stream.read_until(b"\n").await?;
    stream.write(line).await
}

#[test]
fn nu3_4_two_hundred_that_come_when_no_descriptor_is_left_cost_a_line_and_are_served_when_there_are_some() {
    let name = "nu3_4_two_hundred_that_come_when_no_descriptor_is_left_cost_a_line_and_are_served_when_there_are_some";
    if let Some(mut parent) = Clients::of(name) {
        let clients = parent.connect(200);
        parent.tell("they have come");
        for mut client in clients {
            assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"hello\n"[..]));
        }
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(answer).max_connections(usize::MAX);
    listen(&server);
    let files = use_up();
    wait_for("they have come");
    let mut failures = 0;
    let turns = test.counters().turns;
    for second in 0..10 {
        test.advance(Duration::from_secs(1));
        let new = server.metrics().accept_failures - failures;
        assert!((1..=14).contains(&new), "{new} failures in second {second}");
        failures += new;
    }
    assert!(test.counters().turns - turns < 10 * failures, "a pause is idle");
    assert_eq!((server.metrics().accepted, log.at(Level::ERROR).len()), (0, 1));

    drop(files);
    test.advance(Duration::from_millis(250));
    assert_eq!((server.metrics().accepted, server.metrics().active), (200, 0));
    test.advance(Duration::from_secs(2));
    assert_eq!((log.at(Level::ERROR).len(), log.at(Level::INFO).len()), (1, 1));
    assert_eq!((test.counters().panics, server.metrics().shed), (0, Shed::default()));
}

#[test]
fn nu3_4_who_comes_when_no_descriptor_is_left_is_told_by_way_of_the_one_in_reserve_if_so_wished() {
    let name = "nu3_4_who_comes_when_no_descriptor_is_left_is_told_by_way_of_the_one_in_reserve_if_so_wished";
    if let Some(mut parent) = Clients::of(name) {
        let clients = parent.connect(200);
        parent.tell("they have come");
        for mut client in clients {
            assert!(read_to_end(&mut client).is_none_or(|heard| heard.is_empty()), "closed or reset");
        }
        parent.hear("descriptors again");
        let mut late = parent.connect(1);
        parent.tell("one more has come");
        assert_eq!(read_to_end(&mut late[0]).as_deref(), Some(&b"hello\n"[..]));
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(answer).max_connections(usize::MAX).when_full(WhenFull::Close);
    listen(&server);
    let files = use_up();
    wait_for("they have come");
    test.run_until_stalled();
    assert_eq!(server.metrics().shed.descriptors, 32, "and then a pause");
    test.advance(Duration::from_secs(1));
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.shed.descriptors, metrics.shed.total()), (0, 200, 200));
    assert!(metrics.accept_failures <= 14, "{} failures", metrics.accept_failures);
    assert_eq!(log.at(Level::ERROR).len(), 1);

    drop(files);
    test.advance(Duration::from_secs(3));
    println!("descriptors again");
    wait_for("one more has come");
    test.advance(Duration::from_millis(250));
    assert_eq!((server.metrics().accepted, server.metrics().shed.total()), (1, 200));
    assert_eq!((log.at(Level::ERROR).len(), log.at(Level::INFO).len()), (1, 1));
}

#[test]
fn ts7_by_default_the_servers_of_a_process_share_what_the_descriptor_limit_leaves_for_connections() {
    const ROOM: usize = 48;
    let name =
        "ts7_by_default_the_servers_of_a_process_share_what_the_descriptor_limit_leaves_for_connections";
    if let Some(mut parent) = Clients::of(name) {
        let mut clients = parent.connect(200);
        parent.tell("they have come");
        parent.hear("the server is full");
        assert_eq!(talk(&mut clients[0], "hello\n"), "hello\n");
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(async |stream: IoStream, _| -> Result<(), StreamError> {
        stream.read_until(b"\n").await?; // the first line comes with the connection
        let line = stream.read_until(b"\n").await?;
        stream.write(line).await
    });
    listen(&server);
    wait_for("they have come");
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().accept_failures), (ROOM, 0));
    assert_eq!((server.metrics().paused, log.at(Level::WARN).len()), (1, 1));
    assert!(use_up().len() >= 4, "descriptors are left for others");

    // Another server finds no room either, and nobody tells it when the first one has some.
    let other = TcpServer::new(answer);
    let (listener, address) = loopback();
    other.add_socket(listener).expect("a listener");
    let _client = connect(address);
    test.run_until_stalled();
    assert_eq!((other.metrics().accepted, other.metrics().paused), (0, 1));
    server.stop();
    println!("the server is full");
    while server.open_connections() == ROOM {
        test.run_until_stalled();
    }
    assert_eq!(other.metrics().accepted, 0);
    test.advance(Duration::from_millis(100));
    assert_eq!(other.metrics().accepted, 1);
}

#[test]
fn ts7_a_descriptor_limit_that_is_raised_while_clients_wait_makes_room_for_them() {
    let name = "ts7_a_descriptor_limit_that_is_raised_while_clients_wait_makes_room_for_them";
    if let Some(mut parent) = Clients::of(name) {
        let _clients = parent.connect(200);
        parent.tell("they have come");
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(echo);
    listen(&server);
    wait_for("they have come");
    test.run_until_stalled();
    assert_eq!(server.open_connections(), 48);
    netutil::raise_descriptor_limit().expect("it may be raised");
    test.advance(Duration::from_millis(100));
    assert_eq!((server.open_connections(), server.metrics().accept_failures), (200, 0));
}

#[test]
fn ts7_connections_that_idle_make_room_for_newcomers_of_any_server_of_the_loop() {
    let name = "ts7_connections_that_idle_make_room_for_newcomers_of_any_server_of_the_loop";
    if let Some(mut parent) = Clients::of(name) {
        let mut clients = parent.connect(48);
        parent.tell("they have come");
        parent.hear("the other is served");
        parent.tell("end");
        let left = clients.iter_mut().map(|client| read_to_end(client).expect("no reset"));
        assert!(left.into_iter().all(|heard| heard == b"hello\n"));
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(echo_until_drained);
    listen(&server);
    wait_for("they have come");
    test.run_until_stalled();
    assert_eq!(server.open_connections(), 48, "all that there are");

    // One that has had nobody, as that which answers a supervisor.
    let other = TcpServer::new(answer);
    let (listener, address) = loopback();
    other.add_socket(listener).expect("a listener");
    let mut client = connect(address);
    client.write_all(b"are you well?\n").expect("it is queued");
    test.advance(Duration::from_secs(60));
    assert_eq!((other.metrics().accepted, server.metrics().shed.idle), (0, 0), "they may be listening");
    let server = server.idle_makes_room();
    test.advance(Duration::from_millis(100));
    assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"are you well?\n"[..]));
    assert_eq!((other.metrics().accepted, server.metrics().shed.idle), (1, 6));
    println!("the other is served");
    wait_for("end");
    server.abort();
}

#[test]
fn ts7_a_server_with_a_limit_of_its_own_serves_when_the_others_have_all_that_is_shared_and_keep_it() {
    let name =
        "ts7_a_server_with_a_limit_of_its_own_serves_when_the_others_have_all_that_is_shared_and_keep_it";
    if let Some(mut parent) = Clients::of(name) {
        let _busy = parent.connect(60);
        parent.tell("they have come");
        parent.hear("the other is served");
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(async |_: IoStream, _| std::future::pending::<()>().await);
    listen(&server);
    wait_for("they have come");
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().paused), (48, 1));
    let other = TcpServer::new(answer).max_connections(2);
    let (listener, address) = loopback();
    other.add_socket(listener).expect("a listener");
    for _ in 0..3 {
        let mut client = connect(address);
        client.write_all(b"are you well?\n").expect("it is queued");
        test.run_until_stalled();
        assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"are you well?\n"[..]));
    }
    println!("the other is served");
}

#[test]
fn nu3_4_where_no_descriptor_is_left_those_leave_that_idle_before_newcomers_are_closed() {
    let name = "nu3_4_where_no_descriptor_is_left_those_leave_that_idle_before_newcomers_are_closed";
    if let Some(mut parent) = Clients::of(name) {
        let _idle = parent.connect(8);
        parent.tell("they have come");
        parent.hear("no descriptor");
        let mut late = parent.connect(1);
        parent.tell("one more has come");
        let mut heard = [0; 6];
        late[0].read_exact(&mut heard).expect("it is served");
        parent.tell("end");
        return parent.end();
    }
    let test = VirtualLoop::new();
    test.make_current();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo_until_drained)
        .idle_makes_room()
        .max_connections(usize::MAX)
        .when_full(WhenFull::Close);
    listen(&server);
    wait_for("they have come");
    test.advance(Duration::from_secs(2));
    assert_eq!(server.open_connections(), 8);
    let _files = use_up();
    println!("no descriptor");
    wait_for("one more has come");
    test.advance(Duration::from_millis(100));
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.active, metrics.accept_failures), (9, 8, 1));
    assert_eq!((metrics.shed.idle, metrics.shed.total()), (1, 1));
    test.advance(Duration::from_secs(60));
    assert_eq!(server.metrics().accept_failures, 1, "nobody waits, so nobody is missed");
    assert_eq!(log.at(Level::ERROR).len(), 1);
    wait_for("end");
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
    let server = TcpServer::new(echo).max_connections(usize::MAX);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    println!("{LISTENING}{address}");
    let began = Instant::now();
    io_loop.start().expect("the loop runs");

    let failures = io_loop.counters().timers_inserted;
    assert!(failures > 0, "the limit was met");
    // The pauses are never shorter than they say, however slow the machine is: so many fit into the time at most,
    // if every episode had been of the shortest pauses, and far fewer if not.
    assert!(u128::from(failures) <= began.elapsed().as_millis() / 20 + 1, "{failures} failures");
    let errors = log.at(Level::ERROR);
    assert!((1..=3).contains(&errors.len()), "{failures} failures, logged as {errors:?}");
    assert_eq!(io_loop.counters().panics, 0);
}
