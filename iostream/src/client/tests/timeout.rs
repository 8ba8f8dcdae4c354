//! The one deadline over everything: Tornado's overall-timeout cases.

use std::time::Duration;

use ioloop::testing::VirtualLoop;

use super::scene::{Answer, Connects, Fails, Scene, Silent, name};
use crate::client::{ConnectError, ConnectStep, TcpClient};

/// Connects within `limit` milliseconds.
#[track_caller]
fn within(limit: u64, script: &[(&str, Answer)]) -> (Result<String, ConnectError>, Vec<String>) {
    VirtualLoop::new().run(async {
        let limited = |client: TcpClient| client.timeout(Duration::from_millis(limit));
        let scene = Scene::new(script).client(limited);
        let result = scene.connect().await;
        let log = scene.log(); // before the winner is closed
        ioloop::sleep(Duration::from_secs(3_600)).await;
        let begun = |log: &[String]| log.iter().filter(|line| line.ends_with("begins")).count();
        assert_eq!(begun(&log), begun(&scene.log()), "nothing is opened afterwards");
        (result.map(|connection| connection.name()), log)
    })
}

/// Of a connect that ran out of time: who had failed, and who was given up.
#[track_caller]
fn timed_out(result: Result<String, ConnectError>) -> (Vec<String>, Vec<String>) {
    let error = result.unwrap_err();
    let ConnectError::TimedOut { step: ConnectStep::Connect, pending, .. } = &error else {
        panic!("{error}")
    };
    (Scene::failed(&error), pending.iter().map(|address| name(*address)).collect())
}

#[test]
fn tc3_test_one_family_timeout_closes_what_is_in_flight() {
    let (result, log) = within(200, &[("4a", Silent), ("4b", Connects(0))]);
    assert!(
        result
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("within 200ms, while connecting; 0 attempts failed")
    );
    assert_eq!(timed_out(result), (vec![], vec!["4a".to_owned()]));
    assert_eq!(log, ["0 4a begins", "200 4a given up"]);
}

#[test]
fn tc6_test_two_family_timeout_after_connect_timeout_closes_both() {
    let (result, log) = within(400, &[("6a", Silent), ("4b", Silent)]);
    assert_eq!(timed_out(result).1, ["6a", "4b"]);
    assert_eq!(log, ["0 6a begins", "250 4b begins", "400 6a given up", "400 4b given up"]);
}

#[test]
fn tc6_test_two_family_timeout_before_connect_timeout_never_tries_the_second() {
    let (result, log) = within(100, &[("6a", Silent), ("4b", Silent)]);
    assert_eq!(timed_out(result).1, ["6a"]);
    assert_eq!(log.len(), 2);
}

#[test]
fn tc3_test_one_family_success_before_the_deadline_stands() {
    let (result, log) = within(100, &[("4a", Connects(99))]);
    assert_eq!(result.unwrap(), "4a");
    assert_eq!(log, ["0 4a begins", "99 4a connects"]);
}

#[test]
fn tc3_success_at_the_deadline_is_not_lost() {
    let (result, _) = within(100, &[("4a", Connects(100))]);
    assert_eq!(result.unwrap(), "4a");
}

#[test]
fn tc3_test_one_family_second_try_after_connect_timeout_shares_the_deadline() {
    let (result, log) = within(120, &[("4a", Fails(100)), ("4b", Connects(50))]);
    assert_eq!(timed_out(result), (vec!["4a".to_owned()], vec!["4b".to_owned()]));
    assert_eq!(log.last().unwrap(), "120 4b given up");
}

#[test]
fn tc6_test_one_family_second_try_failure_before_the_deadline_is_a_failure_of_all() {
    let (result, _) = within(120, &[("4a", Fails(50)), ("4b", Fails(50))]);
    assert_eq!(Scene::failed(&result.unwrap_err()), ["4a", "4b"]);
}

#[test]
fn tc5_test_two_family_success_after_timeout_of_the_first_before_the_deadline() {
    let (result, log) = within(1_000, &[("6a", Silent), ("4b", Connects(700))]);
    assert_eq!(result.unwrap(), "4b");
    assert_eq!(log.last().unwrap(), "950 6a given up");
}

#[test]
fn a_limit_beyond_all_time_is_none() {
    VirtualLoop::new().run(async {
        let scene = Scene::new(&[("4a", Connects(1))]).client(|client| client.timeout(Duration::MAX));
        assert!(scene.connect().await.is_ok());
    });
}
