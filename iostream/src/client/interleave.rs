//! The order in which addresses are tried.

use std::net::SocketAddr;

/// The families take turns, beginning with that of the first address; within each the order stays (RFC 8305 §4, with a
/// First Address Family Count of 1). So a network that is broken costs one attempt, however many addresses it has.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let mut ordered = Vec::with_capacity(addresses.len());
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|one| one.is_ipv6() == first);
    let mut other = other.into_iter();
    for address in preferred {
        ordered.push(address);
        ordered.extend(other.next());
    }
    ordered.extend(other);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports are names here: below 10 for IPv4, from 10 on for IPv6.
    fn interleaved(ports: &[u16]) -> Vec<u16> {
        let address = |&port: &u16| match port {
            0..10 => SocketAddr::from(([127, 0, 0, 1], port)),
            _ => SocketAddr::from(([0_u16; 8], port)),
        };
        interleave(ports.iter().map(address).collect()).iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn tc4_the_families_take_turns_beginning_with_that_of_the_first_address() {
        assert_eq!(interleaved(&[10, 11, 12, 1, 2, 3]), [10, 1, 11, 2, 12, 3]);
        assert_eq!(interleaved(&[1, 10, 11, 2]), [1, 10, 2, 11]);
        assert_eq!(interleaved(&[10, 1, 2, 3]), [10, 1, 2, 3], "what is left comes in its order");
        assert_eq!(interleaved(&[10, 11, 12, 1]), [10, 1, 11, 12]);
    }

    #[test]
    fn tc4_test_one_family_keeps_its_order() {
        assert_eq!(interleaved(&[3, 1, 2]), [3, 1, 2]);
        assert_eq!(interleaved(&[]), [0; 0]);
    }
}
