//! One blocking `getaddrinfo` call, for binding and for the resolver.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrInfoHints, LookupError, getaddrinfo};
use socket2::{Domain, Type};

use crate::options::Family;
use crate::platform::AI_CANONNAME;

/// What the system's resolver knows of `host`, in its order, each address once. No host means this one.
pub(crate) fn look_up(
    host: Option<&str>,
    port: u16,
    family: Family,
    flags: i32,
) -> Result<Vec<SocketAddr>, LookupError> {
    // Two digits at least: with AI_NUMERICSERV, some versions of macOS crash on "0".
    let service = format!("{port:02}");
    let hints = AddrInfoHints {
        // We have no use for the canonical name, and dns-lookup panics over one that is not UTF-8.
        flags: flags & !AI_CANONNAME,
        address: family_hint(family),
        // Without a socket type each address comes once per protocol (NU1.5, NU5.3).
        socktype: Type::STREAM.into(),
        protocol: 0,
    };
    let found = getaddrinfo(host, Some(&service), Some(hints))?;
    Ok(each_once(found.map(|found| found.map(|info| info.sockaddr)).collect::<io::Result<_>>()?))
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

/// Some resolvers list 127.0.0.1 twice: a second bind would fail, a second connect be wasted.
fn each_once(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;
    use crate::platform::AI_PASSIVE;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn nu1_3_an_unspecified_family_is_not_narrowed() {
        assert_eq!(family_hint(Family::Unspecified), 0);
        let found = look_up(None, 80, Family::Unspecified, AI_PASSIVE).expect("no look-up is needed");
        assert!(found.contains(&"0.0.0.0:80".parse().expect("an address")), "{found:?}");
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            assert!(found.contains(&"[::]:80".parse().expect("an address")), "{found:?}");
        }
    }

    // NU5.3 too.
    #[test]
    fn nu1_5_an_address_is_found_once_not_once_per_protocol() {
        let found = look_up(Some("127.0.0.1"), 80, Family::Unspecified, 0).expect("a literal");
        assert_eq!(found, addresses(&["127.0.0.1:80"]));
    }

    #[test]
    fn nu1_5_exact_duplicates_are_dropped_and_the_first_stays() {
        let found = addresses(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1", "127.0.0.1:1", "[::1]:1"]);
        assert_eq!(each_once(found), addresses(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]));
    }

    #[test]
    fn nu1_5_addresses_that_differ_in_scope_are_not_duplicates() {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let found: Vec<SocketAddr> =
            (1..=2).map(|scope| SocketAddrV6::new(link_local, 1, 0, scope).into()).collect();
        assert_eq!(each_once(found.clone()), found);
    }
}
