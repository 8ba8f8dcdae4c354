//! The resolvers, with nothing that needs a network.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use netutil::{
    BlockingResolver, Family, OverrideKey, OverrideResolver, OverrideTarget, ResolveError, Resolver,
};

type Question = (String, u16, Family);

/// Notes what it is asked and always knows the same answer.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<Question>>,
}

impl Recorder {
    fn last(&self) -> Question {
        self.asked.lock().expect("no panic").last().expect("it was asked").clone()
    }
}

impl Resolver for Recorder {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        self.asked.lock().expect("no panic").push((host.to_owned(), port, family));
        Ok(vec![address("192.0.2.1:1")])
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn blocking(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
    BlockingResolver.resolve(host, port, family)
}

fn resolvers() -> [Arc<dyn Resolver>; 3] {
    let none: [(&str, &str); 0] = [];
    [
        Arc::new(BlockingResolver),
        Arc::new(OverrideResolver::new(BlockingResolver, none)),
        Arc::new(Box::new(BlockingResolver) as Box<dyn Resolver>),
    ]
}

// Tornado's test_localhost.
#[test]
fn nu5_1_localhost_is_a_loopback_address_with_the_port_asked_for() {
    for resolver in resolvers() {
        let found = resolver.resolve("localhost", 80, Family::Unspecified).expect("every machine has it");
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    }
}

/// An interface that is not there: getaddrinfo finds that out by itself and asks no name server.
const BAD_HOST: &str = "fe80::1%netutil-none";

// Tornado's test_bad_host.
#[test]
fn nu5_1_a_failing_look_up_is_an_io_error_of_every_resolver() {
    for resolver in resolvers() {
        let ask = || -> io::Result<_> { Ok(resolver.resolve(BAD_HOST, 80, Family::Unspecified)?) };
        let error =
            ask().expect_err("no such interface").downcast::<ResolveError>().expect("our error inside");
        assert!(matches!(error, ResolveError::LookUp { .. }), "{error:?}");
    }
}

#[test]
fn nu5_1_a_refusal_of_getaddrinfo_names_host_port_and_code() {
    let error = blocking(BAD_HOST, 8080, Family::Ipv6).expect_err("no such interface");
    let ResolveError::LookUp { host, port: 8080, code: Some(code), .. } = &error else { panic!("{error:?}") };
    assert_eq!(host, BAD_HOST);
    assert_ne!(*code, 0);
    assert!(error.to_string().contains(BAD_HOST) && error.to_string().contains("8080"), "{error}");
}

#[test]
fn nu5_1_a_literal_is_itself() {
    for family in [Family::Unspecified, Family::Ipv4] {
        assert_eq!(blocking("192.0.2.7", 80, family).expect("a literal"), [address("192.0.2.7:80")]);
    }
    for family in [Family::Unspecified, Family::Ipv6] {
        assert_eq!(blocking("2001:db8::7", 0, family).expect("a literal"), [address("[2001:db8::7]:0")]);
    }
}

#[test]
fn nu5_1_a_literal_of_the_other_family_is_an_error() {
    for (host, family) in [("192.0.2.7", Family::Ipv6), ("::1", Family::Ipv4)] {
        let error = blocking(host, 80, family).expect_err("the families differ");
        assert!(
            matches!(&error, ResolveError::NoAddress { host: named, port: 80, family: asked }
                if named == host && *asked == family),
            "{error:?}"
        );
    }
}

#[test]
fn the_family_limits_what_is_found() {
    let found = blocking("localhost", 80, Family::Ipv4).expect("every machine has it");
    assert_eq!(found, [address("127.0.0.1:80")]);
}

#[test]
fn nu5_3_each_address_appears_once() {
    let mut found = blocking("localhost", 80, Family::Unspecified).expect("every machine has it");
    let all = found.len();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), all);
}

#[test]
fn a_host_that_no_resolver_could_take_is_an_error_and_no_panic() {
    let long = "x.".repeat(127) + "x";
    let longer = "x".repeat(100_000);
    let label = format!("{}.example", "x".repeat(64));
    for (host, why) in [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("\0", "NUL"),
        ("[::1]", "brackets"),
        (&long, "longer"),
        (&longer, "longer"),
        (&label, "63"),
        ("münchen.example", "IDNA"),
        ("１.2.3.4", "IDNA"),
    ] {
        let error = blocking(host, 80, Family::Unspecified).expect_err("no host");
        assert!(
            matches!(&error, ResolveError::InvalidHost { reason, port: 80, .. } if reason.contains(why)),
            "{host:.20}: {error:?}"
        );
    }
}

#[test]
fn nu5_2_a_resolver_is_asked_on_another_thread() {
    let recorder = Arc::new(Recorder::default());
    let resolver: Arc<dyn Resolver> = Arc::clone(&recorder) as _;
    let asking = thread::spawn(move || resolver.resolve("example.com", 80, Family::Ipv4));
    assert_eq!(asking.join().expect("no panic").expect("it knows one"), [address("192.0.2.1:1")]);
    assert_eq!(recorder.last(), ("example.com".to_owned(), 80, Family::Ipv4));
}

// Tornado's test_import, where a module was being imported.
#[test]
fn nu5_4_resolving_on_a_thread_while_a_static_is_made_does_not_deadlock() {
    static FOUND: LazyLock<Vec<SocketAddr>> = LazyLock::new(|| {
        let looking = thread::spawn(|| blocking("localhost", 80, Family::Ipv4));
        looking.join().expect("no panic").expect("every machine has it")
    });
    assert_eq!(*FOUND, [address("127.0.0.1:80")]);
}

/// What the inner resolver is asked, in place of the question.
#[track_caller]
fn assert_asks(resolver: &OverrideResolver<Arc<Recorder>>, inner: &Recorder, table: &[(Question, Question)]) {
    for ((host, port, family), instead) in table {
        resolver.resolve(host, *port, *family).expect("the recorder always knows one");
        assert_eq!(inner.last(), *instead);
    }
}

fn question(host: &str, port: u16, family: Family) -> Question {
    (host.to_owned(), port, family)
}

// Tornado's test_resolve_multiaddr, and the widest key.
#[test]
fn nu5_5_the_narrowest_key_decides() {
    use Family::{Ipv4, Ipv6, Unspecified};

    let inner = Arc::new(Recorder::default());
    let target = OverrideTarget::from;
    let resolver = OverrideResolver::new(
        Arc::clone(&inner),
        [
            (OverrideKey::from("example.com"), target("by-host")),
            (OverrideKey::from(("example.com", 80)), target("by-port")),
            (OverrideKey::from(("example.com", 80, Ipv4)), target("by-ipv4")),
            (OverrideKey::from(("example.com", 80, Ipv6)), target("by-ipv6")),
        ],
    );
    assert_asks(
        &resolver,
        &inner,
        &[
            (question("example.com", 80, Ipv4), question("by-ipv4", 80, Ipv4)),
            (question("example.com", 80, Ipv6), question("by-ipv6", 80, Ipv6)),
            (question("example.com", 80, Unspecified), question("by-port", 80, Unspecified)),
            (question("example.com", 443, Ipv4), question("by-host", 443, Ipv4)),
        ],
    );
}

#[test]
fn nu5_5_an_unspecified_family_in_a_key_is_not_every_family() {
    let inner = Arc::new(Recorder::default());
    let mapping = [(("example.com", 80, Family::Unspecified), "elsewhere")];
    let resolver = OverrideResolver::new(Arc::clone(&inner), mapping);
    assert_asks(
        &resolver,
        &inner,
        &[
            (
                question("example.com", 80, Family::Unspecified),
                question("elsewhere", 80, Family::Unspecified),
            ),
            (question("example.com", 80, Family::Ipv4), question("example.com", 80, Family::Ipv4)),
        ],
    );
}

#[test]
fn nu5_5_a_target_with_a_port_replaces_the_port_and_one_without_keeps_it() {
    let inner = Arc::new(Recorder::default());
    let resolver = OverrideResolver::new(
        Arc::clone(&inner),
        [
            ("moved", OverrideTarget::from(("127.0.0.1", 8080))),
            ("renamed", OverrideTarget::from("127.0.0.2")),
        ],
    );
    assert_asks(
        &resolver,
        &inner,
        &[
            (question("moved", 80, Family::Ipv4), question("127.0.0.1", 8080, Family::Ipv4)),
            (question("renamed", 80, Family::Ipv4), question("127.0.0.2", 80, Family::Ipv4)),
        ],
    );
}

#[test]
fn nu5_5_misses_pass_through_and_targets_are_not_keys_again() {
    let inner = Arc::new(Recorder::default());
    let resolver = OverrideResolver::new(Arc::clone(&inner), [("a", "b"), ("b", "c")]);
    assert_asks(
        &resolver,
        &inner,
        &[
            (question("a", 80, Family::Ipv4), question("b", 80, Family::Ipv4)),
            (question("A", 80, Family::Ipv6), question("A", 80, Family::Ipv6)),
            (question("other", 1, Family::Unspecified), question("other", 1, Family::Unspecified)),
        ],
    );
}

// close() closes the inner resolver: here it is dropped.
#[test]
fn nu5_5_the_inner_resolver_goes_with_the_outer_one() {
    let inner = Arc::new(Recorder::default());
    drop(OverrideResolver::new(Arc::clone(&inner), [("a", "b")]));
    assert_eq!(Arc::strong_count(&inner), 1);
}
