//! From the options to the addresses to bind: one blocking `getaddrinfo`, then order and a quirk.

use std::net::SocketAddr;

use crate::error::BindError;
use crate::lookup::look_up;
use crate::options::BindOptions;

/// The addresses to bind, in order, each once. Empty when nothing but quirks was found.
pub(crate) fn resolve(port: u16, options: &BindOptions) -> Result<Vec<SocketAddr>, BindError> {
    let host = Some(options.address.as_str()).filter(|address| !address.is_empty());
    let mut addresses = look_up(host, port, options.family, options.flags)
        .map_err(|error| BindError::Resolve { address: options.address.clone(), source: error.into() })?;
    if cfg!(target_os = "macos") {
        addresses.retain(|address| !is_scoped_localhost(&options.address, address));
    }
    Ok(in_binding_order(addresses))
}

/// macOS lists `fe80::1%lo0` under `localhost`, and nobody who says localhost means that one (NU1.6).
fn is_scoped_localhost(host: &str, address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V6(address) => host == "localhost" && address.scope_id() != 0,
        SocketAddr::V4(_) => false,
    }
}

/// IPv4 first, so that partial failures are the same on every run; within a family the resolver's order
/// (NU1.5).
fn in_binding_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6); // a stable sort
    addresses
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::options::Family;
    use crate::platform::{AI_CANONNAME, AI_NUMERICHOST, AI_PASSIVE};

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
