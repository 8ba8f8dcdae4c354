//! Who is tried when, who wins, and what becomes of the others. Tornado's connector tests have their names here.

use std::error::Error;
use std::io;
use std::time::Duration;

use ioloop::testing::{VirtualLoop, for_each_seed};

use super::scene::{Answer, Connects, Fails, Scene, Silent};
use crate::client::{ConnectError, TcpClient};

/// Connects to a host with these addresses; gives who won and the log, in which the winner is not closed yet.
#[track_caller]
fn winner(script: &[(&str, Answer)]) -> (String, Vec<String>) {
    winner_with(script, |client| client)
}

#[track_caller]
fn winner_with(script: &[(&str, Answer)], change: fn(TcpClient) -> TcpClient) -> (String, Vec<String>) {
    VirtualLoop::new().run(async {
        let scene = Scene::new(script).client(change);
        let connection = scene.connect().await.unwrap();
        (connection.name(), scene.log())
    })
}

#[track_caller]
fn failure(script: &[(&str, Answer)]) -> (ConnectError, Vec<String>) {
    VirtualLoop::new().run(async {
        let scene = Scene::new(script);
        let error = scene.connect().await.err().expect("nobody connects");
        (error, scene.log())
    })
}

#[test]
fn tc4_test_immediate_success_tries_nobody_else() {
    let (winner, log) = winner(&[("6a", Connects(0)), ("4b", Connects(0)), ("6c", Connects(0))]);
    assert_eq!(winner, "6a");
    assert_eq!(log, ["0 6a begins", "0 6a connects"]);
}

#[test]
fn tc4_test_one_family_second_try_begins_when_the_first_fails() {
    let (winner, log) = winner(&[("4a", Fails(100)), ("4b", Connects(100))]);
    assert_eq!(winner, "4b");
    assert_eq!(log, ["0 4a begins", "100 4a fails", "100 4b begins", "200 4b connects"]);
}

#[test]
fn tc4_test_two_families_immediate_failure_begins_the_other_family_at_once() {
    let (winner, log) = winner(&[("6a", Fails(0)), ("6b", Silent), ("4c", Connects(10))]);
    assert_eq!(winner, "4c");
    let expected = ["0 6a begins", "0 6a fails", "0 4c begins", "10 4c connects"];
    assert_eq!(log, expected);
}

#[test]
fn tc4_test_two_families_timeout_begins_the_other_family_after_the_delay() {
    let (winner, log) = winner(&[("6a", Silent), ("6b", Connects(0)), ("4c", Connects(0))]);
    assert_eq!(winner, "4c");
    assert_eq!(log, ["0 6a begins", "250 4c begins", "250 4c connects", "250 6a given up"]);
}

#[test]
fn tc9_the_families_take_turns_one_in_each_delay() {
    let (winner, log) =
        winner(&[("6a", Silent), ("6b", Silent), ("6c", Silent), ("4d", Silent), ("4e", Connects(20))]);
    assert_eq!(winner, "4e");
    let expected = ["0 6a begins", "250 4d begins", "500 6b begins", "750 4e begins", "770 4e connects"];
    assert_eq!(log[..5], expected);
    assert_eq!(log[5..], ["770 6a given up", "770 4d given up", "770 6b given up"]);
}

#[test]
fn tc5_test_success_after_timeout_a_late_first_address_wins_and_the_second_is_closed() {
    let (winner, log) = winner(&[("6a", Connects(300)), ("4b", Connects(100))]);
    assert_eq!(winner, "6a");
    assert_eq!(log, ["0 6a begins", "250 4b begins", "300 6a connects", "300 4b given up"]);
}

#[test]
fn tc5_of_two_that_connect_in_the_same_moment_the_earlier_wins_and_the_other_is_closed() {
    for_each_seed(50, |test| {
        test.run(async {
            let scene = Scene::new(&[("6a", Connects(300)), ("4b", Connects(50))]);
            let connection = scene.connect().await.unwrap();
            assert_eq!(connection.name(), "6a");
            assert_eq!(scene.log().last().unwrap(), "300 4b given up");
        });
    });
}

#[test]
fn tc5_who_connects_as_the_delay_ends_opens_no_second_socket() {
    for_each_seed(50, |test| {
        test.run(async {
            let scene = Scene::new(&[("6a", Connects(250)), ("4b", Connects(0))]);
            let connection = scene.connect().await.unwrap();
            assert_eq!((connection.name().as_str(), scene.log().len()), ("6a", 2));
        });
    });
}

#[test]
fn tc5_one_family_races_with_itself_so_that_a_silent_address_costs_the_delay_only() {
    let (winner, log) = winner(&[("4a", Silent), ("4b", Connects(0))]);
    assert_eq!(winner, "4b");
    assert_eq!(log, ["0 4a begins", "250 4b begins", "250 4b connects", "250 4a given up"]);
}

#[test]
fn a_failure_lets_the_next_begin_though_others_are_under_way_and_the_delay_counts_from_there() {
    let script = [("4a", Fails(300)), ("4b", Silent), ("4c", Silent), ("4d", Connects(0))];
    let (_, log) = winner(&script);
    let expected = ["0 4a begins", "250 4b begins", "300 4a fails", "300 4c begins", "550 4d begins"];
    assert_eq!(log[..5], expected);
}

#[test]
fn the_delay_is_an_option() {
    let short = |client: TcpClient| client.attempt_delay(Duration::from_millis(10));
    let (_, log) = winner_with(&[("6a", Silent), ("4b", Connects(0))], short);
    assert_eq!(log[..2], ["0 6a begins", "10 4b begins"]);
}

#[test]
fn tc9_a_delay_outside_the_bounds_of_rfc_8305_and_no_attempt_at_all_are_refused() {
    for change in [
        |client: TcpClient| client.attempt_delay(Duration::from_millis(9)),
        |client: TcpClient| client.attempt_delay(Duration::from_millis(2_001)),
        |client: TcpClient| client.attempts_at_once(0),
    ] {
        VirtualLoop::new().run(async {
            let scene = Scene::new(&[("4a", Connects(0))]).client(change);
            assert!(matches!(scene.connect().await, Err(ConnectError::InvalidOption(_))));
            assert!(scene.log().is_empty());
        });
    }
}

#[test]
fn no_more_addresses_are_tried_at_a_time_than_allowed() {
    let script = [("4a", Fails(5_000)), ("4b", Silent), ("4c", Connects(0))];
    let (_, log) = winner_with(&script, |client| client.attempts_at_once(2));
    let expected = ["0 4a begins", "250 4b begins", "5000 4a fails", "5000 4c begins"];
    assert_eq!(log[..4], expected);
}

#[test]
fn tc6_test_all_fail_gives_every_failure_and_the_last_as_the_source() {
    let (error, log) = failure(&[("6a", Fails(300)), ("6b", Fails(0)), ("4c", Fails(10))]);
    assert_eq!(Scene::failed(&error), ["4c", "6b", "6a"]);
    assert_eq!(log.last().unwrap(), "300 6a fails");
    assert_eq!(error.source().unwrap().source().unwrap().to_string(), "6a");
    assert!(
        error.to_string().starts_with("no connection to \"host\" (port 80) after 3 failed attempts"),
        "{error}"
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn tc4_test_one_family_failure_and_test_immediate_failure_end_at_once() {
    let (error, log) = failure(&[("4a", Fails(0)), ("4b", Fails(0))]);
    assert_eq!(Scene::failed(&error), ["4a", "4b"]);
    assert_eq!(log, ["0 4a begins", "0 4a fails", "0 4b begins", "0 4b fails"]);
    let (error, log) = failure(&[("4a", Fails(0))]);
    assert_eq!((Scene::failed(&error).len(), log.len()), (1, 2));
}

#[test]
fn tc6_a_host_without_addresses_is_an_error_of_its_own() {
    let (error, log) = failure(&[]);
    assert!(matches!(error, ConnectError::Resolve(netutil::ResolveError::NoAddress { .. })), "{error}");
    assert!(log.is_empty());
}

#[test]
fn giving_up_the_connect_gives_up_every_attempt_and_begins_no_other() {
    let test = VirtualLoop::new();
    test.run(async {
        let scene = Scene::new(&[("6a", Silent), ("4b", Silent), ("6c", Silent)]);
        assert!(ioloop::timeout(Duration::from_millis(300), scene.connect()).await.is_err());
        ioloop::sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.log(), ["0 6a begins", "250 4b begins", "300 6a given up", "300 4b given up"]);
    });
}

#[test]
fn addresses_that_fail_at_once_leave_the_loop_its_turns() {
    let test = VirtualLoop::new();
    test.run(async {
        let names: Vec<String> = ('A'..='Z').map(|letter| format!("4{letter}")).collect();
        let script: Vec<_> = names.iter().map(|name| (name.as_str(), Fails(0))).collect();
        let scene = Scene::new(&script);
        let turns = test.counters().turns;
        assert_eq!(Scene::failed(&scene.connect().await.err().unwrap()), names);
        assert!(test.counters().turns - turns >= 26);
    });
}

#[test]
fn whatever_the_addresses_do_each_socket_ends_once_and_none_begins_too_early() {
    for_each_seed(500, |test| {
        let names: Vec<String> = (0..10)
            .map(|number| format!("{}{}", if test.chance() < 0.5 { 4 } else { 6 }, char::from(b'a' + number)))
            .collect();
        let answer = || match (test.chance() * 10.0, (test.chance() * 20.0) as u64 * 50) {
            (0.0..4.0, after) => Fails(after),
            (4.0..5.0, after) => Connects(after),
            _ => Silent,
        };
        let script: Vec<_> = names.iter().map(|name| (name.as_str(), answer())).collect();
        test.run(async {
            let limited = |client: TcpClient| client.attempts_at_once(3).timeout(Duration::from_secs(20));
            let scene = Scene::new(&script).client(limited);
            drop(scene.connect().await);
            assert_orderly(&scene.log());
        });
    });
}

/// Reads a log: an attempt begins when the one before has had its time or some attempt has failed, three run at a time at
/// most, at most one connects, and none is left.
#[track_caller]
fn assert_orderly(log: &[String]) {
    let (mut open, mut connected, mut earliest) = (Vec::new(), 0, 0);
    for line in log {
        let [at, name, what] = *line.splitn(3, ' ').collect::<Vec<_>>() else { panic!("{line}") };
        let at: u64 = at.parse().unwrap();
        match what {
            "begins" => {
                assert!(at >= earliest && connected == 0, "{line} of {log:?}");
                open.push(name);
                assert!(open.len() <= 3, "{line} of {log:?}");
                earliest = at + 250;
            }
            "connects" => connected += 1,
            _ => {
                assert!(open.contains(&name), "{line} of {log:?}");
                open.retain(|one| *one != name);
                earliest = at.min(earliest);
            }
        }
    }
    assert!(open.is_empty() && connected <= 1, "{log:?}");
}
