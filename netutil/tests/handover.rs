//! Sockets for a successor, which is a test of this binary once more.
#![cfg(target_os = "linux")]

mod support;

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio, exit};
use std::time::Duration;

use netutil::{ActivationError, Handover, HandoverError, activated_sockets};
use support::{TestDir, is_close_on_exec, is_nonblocking};

const HOUR: Duration = Duration::from_secs(3_600);

/// Set for the successor.
const SUCCESSOR: &str = "NETUTIL_TEST_SUCCESSOR";

fn is_successor() -> bool {
    env::var_os(SUCCESSOR).is_some()
}

/// A handover to `test` of this binary.
fn handover_to(test: &str) -> Handover {
    Handover::new(test_as_successor(test))
}

fn test_as_successor(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command.args(["--exact", test, "--nocapture"]).env(SUCCESSOR, "1").stdout(Stdio::null());
    command
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// One end of a pair goes with the sockets; the other shows when no process has that any more.
fn lifeline(handover: Handover) -> (Handover, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (handover.pass("lifeline", &theirs).expect("a descriptor"), ours)
}

fn is_cut(mut lifeline: UnixStream) -> bool {
    lifeline.read(&mut [0]).expect("a pair") == 0
}

#[test]
fn a_successor_has_the_sockets_by_name_and_serves_who_waits_there() {
    let test = "a_successor_has_the_sockets_by_name_and_serves_who_waits_there";
    if is_successor() {
        let mut sockets = activated_sockets().expect("it is one");
        let names: Vec<_> = sockets.iter().map(|socket| socket.name.clone()).collect();
        assert_eq!(names, ["http", "admin", "http"]);
        let http = sockets.take_tcp("http").expect("listeners");
        let admin = sockets.take_unix("admin").expect("a listener");
        assert!(http.iter().all(|listener| is_nonblocking(listener) && is_close_on_exec(listener)));
        assert!(is_nonblocking(&admin[0]) && is_close_on_exec(&admin[0]));
        sockets.ready().expect("somebody waits for it");
        sockets.ready().expect("harmless");
        http[1].accept().expect("somebody waits").0.write_all(b"tcp").expect("a connection");
        admin[0].accept().expect("somebody waits").0.write_all(b"unix").expect("a connection");
        return;
    }
    let dir = TestDir::new();
    let path = dir.join("admin.sock");
    let (one, other, admin) = (tcp(), tcp(), UnixListener::bind(&path).expect("the path is free"));
    let mut waiting = TcpStream::connect(other.local_addr().expect("bound")).expect("it listens");
    let mut waiting_too = UnixStream::connect(&path).expect("it listens");
    let handover = handover_to(test).pass("http", &one).expect("a descriptor");
    let handover = handover.pass("admin", &admin).expect("a descriptor");
    let handover = handover.pass("http", &other).expect("a descriptor");
    let mut successor = handover.start(HOUR).expect("it is ready");
    drop((one, other, admin));
    let mut said = String::new();
    waiting.read_to_string(&mut said).expect("a connection");
    waiting_too.read_to_string(&mut said).expect("a connection");
    assert_eq!(said, "tcpunix");
    assert!(successor.wait().expect("a process").success());
}

#[test]
fn a_successor_that_ends_before_it_is_ready_has_not_taken_over() {
    let test = "a_successor_that_ends_before_it_is_ready_has_not_taken_over";
    if is_successor() {
        let _sockets = activated_sockets().expect("it is one");
        exit(7);
    }
    let (handover, lifeline) = lifeline(handover_to(test));
    let error = handover.start(HOUR).expect_err("it ends");
    assert!(matches!(error, HandoverError::Ended(status) if status.code() == Some(7)), "{error}");
    assert!(is_cut(lifeline));
}

#[test]
fn so_has_one_that_drops_its_sockets_or_does_not_take_them() {
    let test = "so_has_one_that_drops_its_sockets_or_does_not_take_them";
    match env::var(SUCCESSOR).as_deref() {
        Ok("drops") => {
            drop(activated_sockets().expect("it is one"));
            loop {
                std::thread::park();
            }
        }
        Ok("ignores") => return,
        _ => {}
    }
    let mut command = test_as_successor(test);
    command.env(SUCCESSOR, "drops");
    let (handover, lifeline_of_one) = lifeline(Handover::new(command));
    let error = handover.start(HOUR).expect_err("it gives up");
    assert!(matches!(error, HandoverError::Ended(status) if status.code().is_none()), "killed: {error}");
    assert!(is_cut(lifeline_of_one));

    let mut command = test_as_successor(test);
    command.env(SUCCESSOR, "ignores");
    let (handover, lifeline) = lifeline(Handover::new(command));
    let error = handover.start(HOUR).expect_err("it ends");
    assert!(matches!(error, HandoverError::Ended(status) if status.success()), "{error}");
    assert!(is_cut(lifeline));
}

#[test]
fn one_that_is_not_ready_in_time_is_ended() {
    let test = "one_that_is_not_ready_in_time_is_ended";
    if is_successor() {
        let _sockets = activated_sockets().expect("it is one");
        loop {
            std::thread::park();
        }
    }
    let (handover, lifeline) = lifeline(handover_to(test));
    let error = handover.start(Duration::from_millis(1)).expect_err("it is not");
    assert!(matches!(error, HandoverError::TimedOut(_)), "{error}");
    assert!(is_cut(lifeline));
}

#[test]
fn what_cannot_be_started_or_sent_is_an_error() {
    let nowhere = || Handover::new(Command::new("/nowhere/at/all"));
    let error = nowhere().start(HOUR).expect_err("there is no such file");
    assert!(
        matches!(&error, HandoverError::Spawn(cause) if cause.kind() == io::ErrorKind::NotFound),
        "{error}"
    );
    let (handover, lifeline) = lifeline(nowhere());
    assert!(handover.start(HOUR).is_err());
    assert!(is_cut(lifeline));
    let named = nowhere().pass("a:b", tcp()).expect("a descriptor");
    assert!(matches!(named.start(HOUR), Err(HandoverError::Unsendable)));
}

#[test]
fn child_processes_of_a_successor_inherit_nothing_and_it_takes_its_sockets_once() {
    const CHILD: &str = "NETUTIL_TEST_CHILD";
    let test = "child_processes_of_a_successor_inherit_nothing_and_it_takes_its_sockets_once";
    if env::var_os(CHILD).is_some() {
        assert!(env::var_os("LISTEN_HANDOVER").is_some(), "the environment is inherited");
        assert!(activated_sockets().expect("not for this process").is_empty());
        let sockets = fs::read_dir("/proc/self/fd").expect("a directory");
        let links = sockets.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        assert_eq!(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count(), 0);
        return;
    }
    if is_successor() {
        let mut sockets = activated_sockets().expect("it is one");
        assert!(matches!(activated_sockets(), Err(ActivationError::AlreadyTaken)));
        let mut child = test_as_successor(test);
        child.env(CHILD, "1").stdin(Stdio::inherit()).stderr(Stdio::null());
        assert!(child.status().expect("a child").success());
        assert_eq!(io::stdin().read(&mut [0]).expect("it is empty"), 0);
        return sockets.ready().expect("somebody waits for it");
    }
    let mut successor =
        handover_to(test).pass("http", tcp()).expect("a descriptor").start(HOUR).expect("it is ready");
    assert!(successor.wait().expect("a process").success());
}

#[test]
fn this_program_is_started_with_the_same_arguments() {
    let handover = format!("{:?}", Handover::of_this_program().expect("a path"));
    for argument in env::args() {
        assert!(handover.contains(&argument), "{argument} is missing: {handover}");
    }
}
