//! How many connections come from where.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr};

/// What one client has at its disposal: an IPv4 address, or an IPv6 /64, which is the least that a subscriber is given
/// (RFC 6177 §2) and within which addresses change at will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl Network {
    /// An IPv4 client that came through an IPv6 socket counts as the IPv4 client that it is.
    fn of(ip: IpAddr) -> Network {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Network::V4(ip),
            IpAddr::V6(ip) => Network::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// The connections of each client, as far as they are counted: an entry lives while a connection does, so there are never
/// more entries than connections. The hash is keyed, because its keys come from strangers.
#[derive(Default)]
pub(crate) struct PerIp {
    most: Cell<Option<usize>>,
    open: RefCell<HashMap<Network, usize>>,
}

/// The client has as many connections as it may.
#[derive(Debug)]
pub(crate) struct TooMany;

impl PerIp {
    pub(crate) fn limit(&self, most: usize) {
        self.most.set(Some(most));
    }

    pub(crate) fn limit_of(&self) -> Option<usize> {
        self.most.get()
    }

    /// Counts one more from `ip`, unless that is one too many. Whether it was counted: then it must
    /// [`leave`](PerIp::leave).
    pub(crate) fn enter(&self, ip: Option<IpAddr>) -> Result<bool, TooMany> {
        let (Some(most), Some(ip)) = (self.most.get(), ip) else { return Ok(false) };
        match self.open.borrow_mut().entry(Network::of(ip)) {
            Entry::Occupied(mut open) if *open.get() < most => *open.get_mut() += 1,
            Entry::Vacant(place) if most > 0 => _ = place.insert(1),
            _ => return Err(TooMany),
        }
        Ok(true)
    }

    /// Takes back what [`enter`](PerIp::enter) has counted.
    pub(crate) fn leave(&self, ip: IpAddr) {
        let mut table = self.open.borrow_mut();
        if let Entry::Occupied(mut open) = table.entry(Network::of(ip)) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        // Rarely, and by half at least: the cost is shared by as many that have left.
        if table.capacity() > 64 && table.len() < table.capacity() / 4 {
            let twice = 2 * table.len();
            table.shrink_to(twice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn limited(most: usize) -> PerIp {
        let table = PerIp::default();
        table.limit(most);
        table
    }

    #[test]
    fn ts7_an_ipv6_client_is_its_64_bits_of_network_and_a_mapped_ipv4_client_is_ipv4() {
        let table = limited(1);
        for (first, same, other) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("::1", "::2", "127.0.0.1"),
        ] {
            assert!(table.enter(ip(first)).expect("the first"));
            table.enter(ip(same)).expect_err("the same client");
            assert!(table.enter(ip(other)).expect("another client"));
        }
    }

    #[test]
    fn ts7_who_has_left_may_come_again_and_who_was_refused_counts_for_nothing() {
        let table = limited(2);
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..2 {
            table.enter(a).expect("room");
        }
        for _ in 0..5 {
            table.enter(a).expect_err("two are there");
        }
        table.enter(b).expect("another has room");
        table.leave(a.expect("an address"));
        table.enter(a).expect("room for one");
        table.enter(a).expect_err("and no more");
    }

    #[test]
    fn ts7_a_limit_of_none_admits_nobody_and_leaves_no_entry() {
        let table = limited(0);
        table.enter(ip("192.0.2.1")).expect_err("nobody may");
        assert!(table.open.borrow().is_empty());
        assert!(!table.enter(None).expect("without an address there is nothing to count"));
    }

    #[test]
    fn ts7_the_table_has_no_entry_without_a_connection_and_gives_its_memory_back() {
        let table = limited(3);
        let client = |n: u32| Ipv4Addr::from(n).into();
        for n in 0..10_000 {
            table.enter(Some(client(n))).expect("the first from there");
        }
        assert_eq!(table.open.borrow().len(), 10_000);
        for n in 0..10_000 {
            table.leave(client(n));
        }
        assert!(table.open.borrow().is_empty());
        assert!(table.open.borrow().capacity() <= 64, "{}", table.open.borrow().capacity());
    }

    #[test]
    fn ts7_clients_are_not_counted_while_there_is_no_limit() {
        let table = PerIp::default();
        assert!(!table.enter(ip("192.0.2.1")).expect("no limit"));
        assert!(table.open.borrow().is_empty());
    }
}
