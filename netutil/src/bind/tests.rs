//! The decisions of bind_sockets, without the kernel's help where it would not fail on demand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::platform::AI_NUMERICHOST;

/// A socket that only knows its port and counts how many of its kind are open.
struct Fake {
    port: u16,
    open: Rc<Cell<usize>>,
}

impl Fake {
    fn new(port: u16, open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self { port, open: Rc::clone(open) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl LocalPort for Fake {
    fn local_port(&self) -> u16 {
        self.port
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn failure(address: SocketAddr, step: BindStep, kind: io::ErrorKind) -> BindError {
    BindError::Socket { address, step, source: kind.into() }
}

fn family_unsupported(address: SocketAddr) -> BindError {
    #[cfg(unix)]
    let number = libc::EAFNOSUPPORT;
    #[cfg(not(unix))]
    let number = 10047;
    BindError::Socket { address, step: BindStep::Socket, source: io::Error::from_raw_os_error(number) }
}

#[test]
fn nu1_1_reuse_port_is_refused_where_it_does_not_exist_before_anything_is_resolved() {
    // This is an error in any case: where there is SO_REUSEPORT, the resolver's.
    let options = BindOptions::new().address("no number").flags(AI_NUMERICHOST).reuse_port(true);
    let error = bind_sockets(0, &options).expect_err("it cannot be bound");
    assert_eq!(matches!(error, BindError::ReusePortUnsupported), !HAS_REUSE_PORT, "{error:?}");
}

#[test]
fn nu1_11_the_first_sockets_port_is_used_for_all_that_follow() {
    let open = Rc::new(Cell::new(0));
    let asked = RefCell::new(Vec::new());
    let addresses = ["10.0.0.1:0", "10.0.0.2:0", "[::1]:0"].map(address);
    let sockets = bind_each(&addresses, "", |address| {
        asked.borrow_mut().push(address);
        Ok(Fake::new(4711, &open))
    });
    assert_eq!(sockets.map(|sockets| sockets.len()).expect("nothing failed"), 3);
    assert_eq!(*asked.borrow(), ["10.0.0.1:0", "10.0.0.2:4711", "[::1]:4711"].map(address));
}

#[test]
fn nu1_11_a_skipped_first_address_leaves_the_choice_of_port_to_the_second() {
    let open = Rc::new(Cell::new(0));
    let asked = RefCell::new(Vec::new());
    let addresses = ["10.0.0.1:0", "[::1]:0", "[::2]:0"].map(address);
    let sockets = bind_each(&addresses, "", |address| {
        asked.borrow_mut().push(address.port());
        if address.is_ipv4() { Err(family_unsupported(address)) } else { Ok(Fake::new(4711, &open)) }
    });
    assert_eq!(sockets.map(|sockets| sockets.len()).expect("one family is enough"), 2);
    assert_eq!(*asked.borrow(), [0, 0, 4711]);
}

#[test]
fn nu1_15_sockets_made_before_an_error_are_closed() {
    let open = Rc::new(Cell::new(0));
    let addresses = ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"].map(address);
    let outcome = bind_each(&addresses, "", |address| {
        if address.is_ipv6() {
            assert_eq!(open.get(), 2);
            return Err(failure(address, BindStep::Bind, io::ErrorKind::AddrInUse));
        }
        Ok(Fake::new(80, &open))
    });
    assert!(matches!(outcome, Err(BindError::Socket { step: BindStep::Bind, .. })));
    drop(outcome);
    assert_eq!(open.get(), 0);
}

#[test]
fn nu1_16_nothing_found_and_everything_skipped_are_errors() {
    let none_found =
        bind_each(&[], "nowhere", |_| -> Result<Fake, _> { unreachable!("there is no address") });
    assert!(
        matches!(none_found, Err(BindError::NoAddress { ref address, skipped: None }) if address == "nowhere")
    );

    let all_skipped = bind_each(&[address("[::]:80")], "", |address| -> Result<Fake, _> {
        Err(family_unsupported(address))
    });
    let Err(BindError::NoAddress { skipped: Some(reason), .. }) = all_skipped else {
        panic!("nothing was bound")
    };
    let reason = reason.downcast::<BindError>().expect("the error of the last address");
    assert!(matches!(reason, BindError::Socket { step: BindStep::Socket, .. }));
}

#[test]
fn nu1_7_a_missing_family_is_skipped_only_when_the_socket_is_created() {
    let ipv6 = address("[::]:80");
    assert!(is_skipped("", &family_unsupported(ipv6)));
    assert!(!is_skipped("", &failure(ipv6, BindStep::Socket, io::ErrorKind::PermissionDenied)));

    let BindError::Socket { source, .. } = family_unsupported(ipv6) else { unreachable!("made above") };
    assert!(!is_skipped("", &BindError::Socket { address: ipv6, step: BindStep::Bind, source }));
}

#[test]
fn nu1_13_an_address_that_is_not_ours_is_skipped_only_as_the_ipv6_loopback_of_localhost() {
    let failed = |text, step, kind| failure(address(text), step, kind);
    use io::ErrorKind::{AddrInUse, AddrNotAvailable};

    assert!(is_skipped("localhost", &failed("[::1]:80", BindStep::Bind, AddrNotAvailable)));
    assert!(!is_skipped("::1", &failed("[::1]:80", BindStep::Bind, AddrNotAvailable)));
    assert!(!is_skipped("", &failed("[::1]:80", BindStep::Bind, AddrNotAvailable)));
    assert!(!is_skipped("localhost", &failed("[::2]:80", BindStep::Bind, AddrNotAvailable)));
    assert!(!is_skipped("localhost", &failed("127.0.0.1:80", BindStep::Bind, AddrNotAvailable)));
    assert!(!is_skipped("localhost", &failed("[::1]:80", BindStep::Bind, AddrInUse)));
    assert!(!is_skipped("localhost", &failed("[::1]:80", BindStep::Listen, AddrNotAvailable)));
}

#[test]
fn nu1_11_a_collision_starts_from_scratch_until_it_works() {
    let mut calls = 0;
    let outcome = retry_collisions(0, || {
        calls += 1;
        match calls {
            1 => Err(failure(address("[::]:4711"), BindStep::Bind, io::ErrorKind::AddrInUse)),
            2 => Err(failure(address("0.0.0.0:4712"), BindStep::Listen, io::ErrorKind::AddrInUse)),
            _ => Ok("bound"),
        }
    });
    assert_eq!(outcome.expect("the third attempt works"), "bound");
    assert_eq!(calls, 3);
}

#[test]
fn nu1_11_collisions_are_retried_a_bounded_number_of_times() {
    // The same address twice, with real sockets: the second always collides with the first.
    let twice = ["127.0.0.1:0"; 2].map(address);
    let options = BindOptions::new().address("127.0.0.1");
    let mut attempts = 0;
    let outcome = retry_collisions(0, || {
        attempts += 1;
        let bound = bind_each(&twice, "", |address| Bound::open(address, &options))?;
        bound.into_iter().map(|socket| socket.listen(1)).collect::<Result<Vec<_>, _>>()
    });
    let error = outcome.expect_err("nothing can listen twice on one address");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(attempts, PORT_ZERO_ATTEMPTS);
}

#[test]
fn nu1_11_only_a_collision_on_a_port_the_kernel_chose_is_retried() {
    let calls_until_error = |port, error: fn() -> BindError| {
        let mut calls = 0;
        retry_collisions(port, || -> Result<(), _> {
            calls += 1;
            Err(error())
        })
        .expect_err("every attempt fails");
        calls
    };
    let taken = || failure(address("[::]:80"), BindStep::Bind, io::ErrorKind::AddrInUse);
    let no_port_left = || failure(address("0.0.0.0:0"), BindStep::Bind, io::ErrorKind::AddrInUse);
    let forbidden = || failure(address("[::]:80"), BindStep::Bind, io::ErrorKind::PermissionDenied);
    assert_eq!(calls_until_error(80, taken), 1);
    assert_eq!(calls_until_error(0, no_port_left), 1);
    assert_eq!(calls_until_error(0, forbidden), 1);
    assert_eq!(calls_until_error(0, taken), PORT_ZERO_ATTEMPTS);
}
