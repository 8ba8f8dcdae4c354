//! The load generator against the floor, both real: what is asked for is what is counted.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use benches::load::{Load, LoadError, Until, Wanted};
use benches::machine::Cpus;
use benches::running::Running;
use benches::scenario::{Over, SCENARIOS, Scenario, Traffic};
use benches::server::Launch;
use benches::slice::{Sample, SliceError};

const SAME: Cpus = Cpus { load: 0, server: 0 };

fn floor(arguments: &[String]) -> Running {
    let mut words: Vec<OsString> = vec![env!("CARGO_BIN_EXE_floor").into(), "--port".into(), "0".into()];
    words.extend(arguments.iter().map(OsString::from));
    Running::start(&Launch::announcing(words), &[], SAME).unwrap()
}

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[test]
fn the_floor_passes_for_a_right_server_in_every_scenario() {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.over == Over::Tcp) {
        let server = floor(&benches::server::floor_arguments(scenario));
        Sample::check(&server, scenario, &never())
            .unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    }
}

#[test]
fn exactly_the_requests_asked_for_are_sent_and_answered() {
    let server = floor(&[]);
    for (connections, depth, requests, expected) in [(1, 1, 100, 100), (7, 1, 100, 100), (5, 16, 800, 800)] {
        let request = Traffic::Get("/plaintext", 13).request(false);
        let wanted = Wanted::http(&request, depth);
        let mut load = Load::open(server.address(), connections, wanted, never()).unwrap();
        let measured = load.run(Until::Requests(requests)).unwrap();
        assert_eq!((measured.answers, measured.refused, measured.errors), (expected, 0, 0));
        assert_eq!(measured.latency.len(), expected);
    }
}

#[test]
fn a_connection_per_request_is_opened_for_each() {
    let server = floor(&["--close".to_string()]);
    let wanted = Wanted::http_then_close(&Traffic::Get("/plaintext", 13).request(true));
    let mut load = Load::open(server.address(), 3, wanted, never()).unwrap();
    let measured = load.run(Until::Requests(50)).unwrap();
    assert_eq!((measured.answers, measured.errors), (50, 0));
}

#[test]
fn an_open_loop_sends_what_its_rate_and_time_say() {
    let server = floor(&[]);
    let wanted = Wanted::http(&Traffic::Get("/plaintext", 13).request(false), 1);
    let mut load = Load::open(server.address(), 2, wanted, never()).unwrap();
    let measured = load.run_at_rate(5_000.0, Duration::from_millis(20)).unwrap();
    assert_eq!((measured.answers, measured.errors), (100, 0));
}

#[test]
fn a_server_that_drops_every_connection_but_the_first_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut first = listener.accept().unwrap().0;
        first.read_exact(&mut [0]).unwrap();
        first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        drop(first);
        listener.incoming().for_each(drop);
    });
    let wanted = Wanted::http(&Traffic::Get("/plaintext", 13).request(false), 1);
    let mut load = Load::open(address, 1, wanted, never()).unwrap();
    let result = load.run(Until::Elapsed(Duration::from_secs(600)));
    assert!(matches!(result, Err(LoadError::TooManyErrors)), "{result:?}");
}

#[test]
fn where_nobody_listens_there_is_no_answer() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wanted = Wanted::http(&Traffic::Get("/plaintext", 13).request(false), 1);
    assert!(matches!(Load::open(address, 1, wanted, never()), Err(LoadError::NoAnswer)));
}

#[test]
fn a_server_that_does_not_keep_connections_is_found_out() {
    let server = floor(&["--close".to_string()]);
    let found = Sample::check(&server, Scenario::named("plaintext-1").unwrap(), &never());
    assert!(matches!(found, Err(SliceError::Broken)), "{found:?}");
}

#[test]
fn more_answers_than_requests_are_an_error() {
    let server = floor(&["--request-bytes".to_string(), "10".to_string()]);
    let wanted = Wanted::http(&Traffic::Get("/plaintext", 13).request(false), 1);
    let result = Load::open(server.address(), 1, wanted, never());
    assert!(matches!(result, Err(LoadError::TooManyAnswers)));
}

#[test]
fn a_body_of_another_length_is_found_out() {
    let server = floor(&["--answer-bytes".to_string(), "12".to_string()]);
    let found = Sample::check(&server, Scenario::named("plaintext-1").unwrap(), &never());
    assert!(matches!(found, Err(SliceError::WrongBody { found: 12, expected: 13 })), "{found:?}");
}

#[test]
fn an_interrupted_load_ends_at_once() {
    let server = floor(&[]);
    let wanted = Wanted::http(&Traffic::Get("/plaintext", 13).request(false), 1);
    let result = Load::open(server.address(), 1, wanted, Arc::new(AtomicBool::new(true)));
    assert!(matches!(result, Err(LoadError::Interrupted)));
}

#[test]
fn a_server_is_gone_when_it_is_dropped() {
    let server = floor(&[]);
    let address = server.address();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}
