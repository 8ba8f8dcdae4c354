//! bind_sockets with real sockets.

mod support;

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use netutil::{AI_NUMERICHOST, AI_PASSIVE, BindError, BindOptions, BindStep, Family, bind_sockets};
use socket2::{Domain, SockRef, Socket, Type};
use support::has_ipv6;

fn bind(port: u16, options: &BindOptions) -> Vec<TcpListener> {
    bind_sockets(port, options).expect("the address can be bound")
}

fn loopback() -> BindOptions {
    BindOptions::new().address("127.0.0.1")
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().map(|listener| listener.local_addr().expect("a bound socket")).collect()
}

#[test]
fn nu1_11_port_zero_gives_one_number_for_all_families() {
    let bound = addresses(&bind(0, &BindOptions::new()));
    let port = bound[0].port();
    assert_ne!(port, 0);
    assert_eq!(bound[0], (Ipv4Addr::UNSPECIFIED, port).into());
    if has_ipv6("nu1_11_port_zero_gives_one_number_for_all_families") {
        assert_eq!(bound[1..], [(Ipv6Addr::UNSPECIFIED, port).into()]);
    }
}

#[test]
fn nu1_11_localhost_gives_one_number_for_all_its_addresses() {
    let bound = addresses(&bind(0, &BindOptions::new().address("localhost")));
    assert!(bound.iter().all(|address| address.ip().is_loopback()), "{bound:?}");
    assert!(bound.iter().all(|address| address.port() == bound[0].port()), "{bound:?}");
}

#[test]
fn nu1_2_the_empty_address_is_all_interfaces() {
    let bound = addresses(&bind(0, &BindOptions::new().address("")));
    assert!(bound.iter().all(|address| address.ip().is_unspecified()), "{bound:?}");
}

#[test]
fn nu1_4_flags_without_ai_passive_bind_loopback() {
    let bound = addresses(&bind(0, &BindOptions::new().family(Family::Ipv4).flags(0)));
    assert_eq!(bound, [(Ipv4Addr::LOCALHOST, bound[0].port()).into()]);
}

#[test]
fn a_chosen_family_is_the_only_one_bound() {
    let bound = addresses(&bind(0, &BindOptions::new().family(Family::Ipv4)));
    assert_eq!(bound, [(Ipv4Addr::UNSPECIFIED, bound[0].port()).into()]);
    if has_ipv6("a_chosen_family_is_the_only_one_bound") {
        let bound = addresses(&bind(0, &BindOptions::new().family(Family::Ipv6)));
        assert_eq!(bound, [(Ipv6Addr::UNSPECIFIED, bound[0].port()).into()]);
    }
}

#[test]
fn nu1_8_a_port_whose_old_connections_linger_can_be_bound_again() {
    let listeners = bind(0, &loopback());
    let address = addresses(&listeners)[0];
    let mut client = TcpStream::connect(address).expect("it listens");
    listeners[0].set_nonblocking(false).expect("an open socket");
    drop(listeners[0].accept().expect("the client is there"));
    // Our side has closed first, so this port is in FIN_WAIT2 and then in TIME_WAIT.
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    drop(client);
    drop(listeners);

    assert_eq!(addresses(&bind(address.port(), &loopback())), [address]);
}

#[test]
#[cfg(unix)]
fn nu1_8_reuse_address_is_set() {
    for listener in bind(0, &BindOptions::new()) {
        assert!(SockRef::from(&listener).reuse_address().expect("an open socket"));
    }
}

#[test]
fn nu1_9_with_reuse_port_several_sockets_listen_on_one_port() {
    let shared = loopback().reuse_port(true);
    let first = bind(0, &shared);
    let port = addresses(&first)[0].port();
    let second = bind(port, &shared);
    assert_eq!(addresses(&second), addresses(&first));
}

#[test]
fn nu1_9_without_reuse_port_a_taken_port_is_an_error_that_names_it() {
    let first = bind(0, &loopback());
    let taken = addresses(&first)[0];
    let error = bind_sockets(taken.port(), &loopback()).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    assert!(
        matches!(error, BindError::Socket { address, step: BindStep::Bind, .. } if address == taken),
        "{error:?}"
    );
}

#[test]
fn nu1_10_ipv6_sockets_are_ipv6_only() {
    if !has_ipv6("nu1_10_ipv6_sockets_are_ipv6_only") {
        return;
    }
    let ipv6 = bind(0, &BindOptions::new().family(Family::Ipv6));
    assert!(SockRef::from(&ipv6[0]).only_v6().expect("an IPv6 socket"));
}

#[test]
fn nu1_12_listeners_are_nonblocking() {
    for listener in bind(0, &BindOptions::new()) {
        assert!(support::is_nonblocking(&listener));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn listeners_are_close_on_exec() {
    assert!(bind(0, &BindOptions::new()).iter().all(support::is_close_on_exec));
}

#[test]
#[cfg(target_os = "linux")]
fn nu1_14_the_backlog_bounds_the_connections_that_wait() {
    let listeners = bind(0, &loopback().backlog(1));
    let address = addresses(&listeners)[0];
    let connect = || {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("an open socket");
        let _ = client.connect(&address.into()); // in progress
        client
    };
    // A loopback handshake is over when connect returns, as long as the queue has room. 64 would fit in the
    // default one.
    let clients = [(); 64].map(|()| connect());
    let connected = clients.iter().filter(|client| client.peer_addr().is_ok()).count();
    assert!(connected < clients.len(), "all {connected} found room");
}

#[test]
fn nu1_13_an_address_that_is_not_ours_is_an_error() {
    // TEST-NET-1 (RFC 5737) is nobody's.
    let error = bind_sockets(0, &BindOptions::new().address("192.0.2.1")).expect_err("not our address");
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert!(matches!(error, BindError::Socket { step: BindStep::Bind, .. }), "{error:?}");
}

#[test]
fn nu1_15_a_failed_call_leaves_no_socket_open() {
    if !has_ipv6("nu1_15_a_failed_call_leaves_no_socket_open") {
        return;
    }
    // Somebody has the IPv6 port and nobody the IPv4 one: the call fails at its second address.
    let mut occupants = bind(0, &BindOptions::new());
    let port = addresses(&occupants)[0].port();
    drop(occupants.remove(0));
    let error = bind_sockets(port, &BindOptions::new()).expect_err("the port is taken");
    assert!(matches!(error, BindError::Socket { address, .. } if address.is_ipv6()), "{error:?}");

    let ipv4 = bind(port, &BindOptions::new().family(Family::Ipv4));
    assert_eq!(addresses(&ipv4), [(Ipv4Addr::UNSPECIFIED, port).into()]);
}

#[test]
fn an_address_that_cannot_be_resolved_is_an_error_that_names_it() {
    let options = BindOptions::new().address("127.0.0.1.2").flags(AI_PASSIVE | AI_NUMERICHOST);
    let error = bind_sockets(0, &options).expect_err("no address");
    assert!(matches!(&error, BindError::Resolve { address, .. } if address == "127.0.0.1.2"), "{error:?}");
    assert!(io::Error::from(error).to_string().contains("127.0.0.1.2"));
}
