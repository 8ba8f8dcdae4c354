//! From the options to the addresses to bind: one blocking `getaddrinfo`, then order, duplicates and a quirk.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use socket2::{Domain, Type};

use crate::error::BindError;
use crate::options::{BindOptions, Family};
use crate::platform::AI_CANONNAME;

/// The addresses to bind, in order, each once. Empty when nothing but quirks was found.
pub(crate) fn resolve(port: u16, options: &BindOptions) -> Result<Vec<SocketAddr>, BindError> {
    let mut addresses = look_up(port, options)
        .map_err(|source| BindError::Resolve { address: options.address.clone(), source })?;
    if cfg!(target_os = "macos") {
        addresses.retain(|address| !is_scoped_localhost(&options.address, address));
    }
    Ok(in_binding_order(addresses))
}

fn look_up(port: u16, options: &BindOptions) -> io::Result<Vec<SocketAddr>> {
    let host = match options.address.as_str() {
        "" => None,
        address => Some(address),
    };
    // Two digits at least: with AI_NUMERICSERV, some versions of macOS crash on "0".
    let service = format!("{port:02}");
    let hints = AddrInfoHints {
        // We have no use for the canonical name, and dns-lookup panics over one that is not UTF-8.
        flags: options.flags & !AI_CANONNAME,
        address: family_hint(options.family),
        // Without a socket type each address comes once per protocol (NU1.5).
        socktype: Type::STREAM.into(),
        protocol: 0,
    };
    getaddrinfo(host, Some(&service), Some(hints))?.map(|found| found.map(|info| info.sockaddr)).collect()
}

/// `AF_UNSPEC` is not narrowed to IPv4 anywhere (NU1.3): there is no std without IPv6, and a kernel without
/// it is met when the socket is created (NU1.7).
fn family_hint(family: Family) -> i32 {
    match family {
        Family::Unspecified => 0,
        Family::Ipv4 => Domain::IPV4.into(),
        Family::Ipv6 => Domain::IPV6.into(),
    }
}

/// macOS lists `fe80::1%lo0` under `localhost`, and nobody who says localhost means that one (NU1.6).
fn is_scoped_localhost(host: &str, address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V6(address) => host == "localhost" && address.scope_id() != 0,
        SocketAddr::V4(_) => false,
    }
}

/// IPv4 first, so that partial failures are the same on every run; within a family the resolver's order. Each
/// address once: some resolvers list 127.0.0.1 twice, and the second bind would fail (NU1.5).
fn in_binding_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses.sort_by_key(SocketAddr::is_ipv6); // a stable sort
    addresses
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

    use super::*;
    use crate::platform::{AI_NUMERICHOST, AI_PASSIVE};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn nu1_5_ipv4_comes_first_and_the_resolvers_order_is_kept_within_a_family() {
        let found = addresses(&["[::2]:1", "10.0.0.9:1", "[::1]:1", "10.0.0.1:1"]);
        let expected = addresses(&["10.0.0.9:1", "10.0.0.1:1", "[::2]:1", "[::1]:1"]);
        assert_eq!(in_binding_order(found), expected);
    }

    #[test]
    fn nu1_5_exact_duplicates_are_dropped_and_the_first_stays() {
        let found = addresses(&["127.0.0.1:1", "[::1]:1", "127.0.0.2:1", "127.0.0.1:1", "[::1]:1"]);
        assert_eq!(in_binding_order(found), addresses(&["127.0.0.1:1", "127.0.0.2:1", "[::1]:1"]));
    }

    #[test]
    fn nu1_5_an_address_is_found_once_not_once_per_protocol() {
        let found = look_up(80, &BindOptions::new().address("127.0.0.1")).expect("a literal");
        assert_eq!(found, addresses(&["127.0.0.1:80"]));
    }

    #[test]
    fn nu1_5_addresses_that_differ_in_scope_are_not_duplicates() {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let found: Vec<SocketAddr> =
            (1..=2).map(|scope| SocketAddrV6::new(link_local, 1, 0, scope).into()).collect();
        assert_eq!(in_binding_order(found.clone()), found);
    }

    #[test]
    fn nu1_6_only_scoped_ipv6_results_of_localhost_are_the_macos_quirk() {
        let scoped: SocketAddr = "[fe80::1%4]:1".parse().expect("an address");
        assert!(is_scoped_localhost("localhost", &scoped));
        assert!(!is_scoped_localhost("fe80::1%lo0", &scoped));
        assert!(!is_scoped_localhost("", &scoped));
        assert!(!is_scoped_localhost("localhost", &"[::1]:1".parse().expect("an address")));
        assert!(!is_scoped_localhost("localhost", &"127.0.0.1:1".parse().expect("an address")));
    }

    #[test]
    fn nu1_2_no_address_is_every_interface_and_a_literal_is_itself() {
        let everywhere = resolve(80, &BindOptions::new()).expect("no look-up is needed");
        assert_eq!(everywhere[0], (Ipv4Addr::UNSPECIFIED, 80).into());
        assert!(everywhere.iter().all(|address| address.ip().is_unspecified() && address.port() == 80));

        let literal = resolve(0, &BindOptions::new().address("192.0.2.7")).expect("a literal");
        assert_eq!(literal, addresses(&["192.0.2.7:0"]));
    }

    #[test]
    fn nu1_4_without_ai_passive_no_address_is_loopback() {
        let found = resolve(65535, &BindOptions::new().flags(0)).expect("no look-up is needed");
        assert!(!found.is_empty());
        assert!(
            found.iter().all(|address| address.ip().is_loopback() && address.port() == 65535),
            "{found:?}"
        );
    }

    #[test]
    fn nu1_4_flags_reach_the_resolver_and_its_refusal_names_the_address() {
        let options = BindOptions::new().address("localhost").flags(AI_PASSIVE | AI_NUMERICHOST);
        let error = resolve(0, &options).expect_err("localhost is not a number");
        assert!(matches!(&error, BindError::Resolve { address, .. } if address == "localhost"), "{error:?}");
    }

    #[test]
    fn a_request_for_the_canonical_name_changes_nothing() {
        let options = BindOptions::new().address("127.0.0.1").flags(AI_PASSIVE | AI_CANONNAME);
        assert_eq!(resolve(0, &options).expect("a literal"), addresses(&["127.0.0.1:0"]));
    }

    #[test]
    fn the_family_limits_what_is_found() {
        let all = BindOptions::new();
        let ipv4 = resolve(0, &all.clone().family(Family::Ipv4)).expect("no look-up is needed");
        assert_eq!(ipv4, addresses(&["0.0.0.0:0"]));
        let error = resolve(0, &all.address("::1").family(Family::Ipv4)).expect_err("the families differ");
        assert!(matches!(error, BindError::Resolve { .. }), "{error:?}");
    }

    #[test]
    fn an_address_that_no_resolver_could_take_is_an_error_and_no_panic() {
        for address in ["a\0b", "[::1]", "127.0.0.1:80", &"x".repeat(100_000)] {
            let options = BindOptions::new().address(address).flags(AI_NUMERICHOST);
            assert!(matches!(resolve(0, &options), Err(BindError::Resolve { .. })), "{address:.20}");
        }
    }
}
