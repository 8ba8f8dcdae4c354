//! Socket activation without systemd: a shell stands in for it.
#![cfg(target_os = "linux")]

mod support;

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};

use netutil::{ACTIVATION_VARIABLES, Activated, ActivationError, activated_sockets};
use support::{TestDir, is_close_on_exec, is_nonblocking};

/// Set for the process that is activated.
const ACTIVATED: &str = "NETUTIL_TEST_ACTIVATED";

fn is_activated() -> bool {
    env::var_os(ACTIVATED).is_some()
}

/// Runs a test of this binary once more, with `first` as descriptor 3, `second` as 4, and 5 closed.
///
/// The shell gets them as its standard streams, moves them, and then becomes the test: so LISTEN_PID is right.
#[track_caller]
fn run_activated(test: &str, variables: &[(&str, &str)], first: OwnedFd, second: OwnedFd) {
    const MOVE_AND_BECOME: &str =
        r#"exec 3<&0 4<&2 0</dev/null 2>&1 5<&- && export LISTEN_PID=$$ && exec "$@""#;
    let output = Command::new("sh")
        .args(["-c", MOVE_AND_BECOME, "sh"])
        .arg(env::current_exe().expect("the path of this test"))
        .args(["--exact", test, "--nocapture"])
        .env(ACTIVATED, "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::from(first))
        .stderr(Stdio::from(second))
        .output()
        .expect("a shell");
    assert_passed(&output);
}

#[track_caller]
fn assert_passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn is_open(descriptor: i32) -> bool {
    fs::symlink_metadata(format!("/proc/self/fd/{descriptor}")).is_ok()
}

#[test]
fn a_process_that_was_not_activated_gets_nothing() {
    assert!(activated_sockets().expect("nothing to complain about").is_empty());
}

#[test]
fn listeners_are_taken_by_name_nonblocking_and_close_on_exec() {
    if !is_activated() {
        let dir = TestDir::new();
        let path = dir.join("admin.sock");
        let (http, admin) = (tcp(), UnixListener::bind(&path).expect("the path is free"));
        // They wait in the queues while nobody serves: that is the point of it.
        let _waiting = TcpStream::connect(http.local_addr().expect("bound")).expect("it listens");
        let _waiting_too = UnixStream::connect(&path).expect("it listens");
        return run_activated(
            "listeners_are_taken_by_name_nonblocking_and_close_on_exec",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http:admin")],
            http.into(),
            admin.into(),
        );
    }
    let mut activated = activated_sockets().expect("two sockets");
    let facts: Vec<_> = activated.iter().map(|socket| (socket.name.as_str(), socket.descriptor)).collect();
    assert_eq!(facts, [("http", 3), ("admin", 4)]);
    assert_eq!(activated.take_tcp("nobody").expect("none is no error").len(), 0);

    let http = activated.take_tcp("http").expect("a TCP listener");
    assert_eq!(http.len(), 1);
    assert!(is_nonblocking(&http[0]) && is_close_on_exec(&http[0]));
    http[0].accept().expect("somebody waits");

    let admin = activated.take_unix("admin").expect("a Unix listener");
    assert_eq!(admin.len(), 1);
    assert!(is_nonblocking(&admin[0]) && is_close_on_exec(&admin[0]));
    admin[0].accept().expect("somebody waits");

    assert!(activated.is_empty());
}

#[test]
fn several_sockets_may_share_a_name_and_may_have_none() {
    if !is_activated() {
        return run_activated(
            "several_sockets_may_share_a_name_and_may_have_none",
            &[("LISTEN_FDS", "2")],
            tcp().into(),
            tcp().into(),
        );
    }
    let listeners = activated_sockets().expect("two sockets").take_tcp("unknown").expect("TCP listeners");
    assert_eq!(listeners.len(), 2);
}

#[test]
fn a_second_call_is_an_error_and_a_child_process_gets_nothing() {
    const CHILD: &str = "NETUTIL_TEST_CHILD";
    let test = "a_second_call_is_an_error_and_a_child_process_gets_nothing";
    if env::var_os(CHILD).is_some() {
        assert_eq!(env::var("LISTEN_FDS").expect("the environment is inherited"), "2");
        assert!(!is_open(3) && !is_open(4));
        assert!(activated_sockets().expect("not for this process").is_empty());
        return;
    }
    if !is_activated() {
        return run_activated(test, &[("LISTEN_FDS", "2")], tcp().into(), tcp().into());
    }
    let activated = activated_sockets().expect("two sockets");
    assert!(matches!(activated_sockets(), Err(ActivationError::AlreadyTaken)));
    assert_eq!(activated.iter().count(), 2);

    let mut child = Command::new(env::current_exe().expect("the path of this test"));
    assert_passed(&child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().expect("a child"));
}

#[test]
fn other_kinds_are_handed_over_as_they_are_and_are_no_listeners() {
    if !is_activated() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let file = fs::File::open("/dev/null").expect("a file");
        return run_activated(
            "other_kinds_are_handed_over_as_they_are_and_are_no_listeners",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "dns:null")],
            udp.into(),
            file.into(),
        );
    }
    let mut kinds = activated_sockets().expect("two descriptors").into_iter();
    let Some(Activated::Other(dns)) = kinds.next().map(|first| first.socket) else { panic!("no datagram") };
    assert!(is_close_on_exec(&dns));
    assert!(!is_nonblocking(&dns));
    UdpSocket::from(dns).local_addr().expect("a UDP socket");
    assert!(matches!(kinds.next().map(|second| second.socket), Some(Activated::Other(_))));
}

#[test]
fn a_connection_is_not_a_listener() {
    if !is_activated() {
        let listener = tcp();
        let connection = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        return run_activated(
            "a_connection_is_not_a_listener",
            &[("LISTEN_FDS", "2")],
            connection.into(),
            UnixStream::pair().expect("a pair").0.into(),
        );
    }
    let activated = activated_sockets().expect("two descriptors");
    assert!(activated.iter().all(|socket| matches!(socket.socket, Activated::Other(_))), "{activated:?}");
}

#[test]
fn a_name_of_another_kind_is_an_error_that_names_the_descriptor() {
    if !is_activated() {
        return run_activated(
            "a_name_of_another_kind_is_an_error_that_names_the_descriptor",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "other:http")],
            tcp().into(),
            tcp().into(),
        );
    }
    let mut activated = activated_sockets().expect("two sockets");
    let error = activated.take_unix("http").expect_err("it is a TCP listener");
    assert!(matches!(error, ActivationError::WrongKind { descriptor: 4, .. }), "{error:?}");
    assert_eq!(error.to_string(), r#"descriptor 4 ("http") is not a listening Unix stream socket"#);
    assert!(!is_open(4) && is_open(3));
    assert_eq!(activated.take_tcp("other").expect("it was left alone").len(), 1);
}

#[test]
fn a_descriptor_that_was_not_passed_is_an_error_and_the_others_close() {
    if !is_activated() {
        return run_activated(
            "a_descriptor_that_was_not_passed_is_an_error_and_the_others_close",
            &[("LISTEN_FDS", "3")],
            tcp().into(),
            tcp().into(),
        );
    }
    let error = activated_sockets().expect_err("5 is closed");
    assert!(matches!(error, ActivationError::NotPassed { descriptor: 5 }), "{error:?}");
    assert!(!is_open(3) && !is_open(4));
}

#[test]
fn a_descriptor_of_our_own_is_not_taken_for_a_passed_one() {
    if !is_activated() {
        return run_activated(
            "a_descriptor_of_our_own_is_not_taken_for_a_passed_one",
            &[("LISTEN_FDS", "64")],
            tcp().into(),
            tcp().into(),
        );
    }
    let own: Vec<_> = (0..80).map(|_| tcp()).collect();
    let error = activated_sockets().expect_err("only two were passed");
    assert!(matches!(error, ActivationError::NotPassed { .. }), "{error:?}");
    assert!(own.iter().all(|listener| listener.local_addr().is_ok()));
}

#[test]
fn a_malformed_environment_is_an_error_and_nothing_is_touched() {
    if !is_activated() {
        return run_activated(
            "a_malformed_environment_is_an_error_and_nothing_is_touched",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "only-one")],
            tcp().into(),
            tcp().into(),
        );
    }
    for _ in 0..2 {
        let error = activated_sockets().expect_err("two descriptors, one name");
        assert!(
            matches!(&error, ActivationError::Variable { variable: "LISTEN_FDNAMES", value, .. }
                if value == "only-one"),
            "{error:?}"
        );
    }
    assert!(is_open(3) && is_open(4));
}

#[test]
fn the_variables_can_be_kept_from_a_program_that_takes_this_ones_place() {
    if !is_activated() {
        return run_activated(
            "the_variables_can_be_kept_from_a_program_that_takes_this_ones_place",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")],
            tcp().into(),
            tcp().into(),
        );
    }
    let mut next = Command::new("env");
    for variable in ACTIVATION_VARIABLES {
        next.env_remove(variable);
    }
    let environment = String::from_utf8(next.output().expect("env").stdout).expect("UTF-8");
    assert!(!environment.contains("LISTEN_"), "{environment}");
}
