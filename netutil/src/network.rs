//! A network in CIDR notation.

use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// All addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
///
/// Bits behind the prefix must be zero, for `10.1.2.3/8` is more often a mistake than a network. One of IPv4 that is written as IPv6,
/// `::ffff:10.0.0.0/104`, is one of IPv4.
///
/// ```
/// use netutil::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(network.contains("::ffff:10.1.2.3".parse()?));
/// assert!("10.1.2.3/8".parse::<Network>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// As 128 bits; an IPv4 address stands in the first 32.
    bits: u128,
    prefix: u8,
    is_v4: bool,
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(it, prefix)| (it, Some(prefix)));
        let written: IpAddr = address.parse().ok()?;
        let address = written.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        // An IPv4 network that is written as IPv6 has 96 bits more.
        let written_so = if written.is_ipv4() == address.is_ipv4() { 0 } else { 96 };
        let prefix: u8 = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse::<u8>().ok()?.checked_sub(written_so)?
            }
            Some(_) => return None,
        };
        let (bits, is_v4) = bits(address);
        let network = Network { bits, prefix, is_v4 };
        (prefix <= longest && bits & !network.mask() == 0).then_some(network)
    }

    /// Whether the address lies within. An IPv4 address that is written as IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address.to_canonical());
        is_v4 == self.is_v4 && bits & self.mask() == self.bits
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        Network::parse(text).ok_or_else(|| NetworkError(text.to_owned()))
    }
}

/// Not an IP address, nor a network with a prefix behind which all bits are zero.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is neither an IP address nor a network with nothing but zeros behind its prefix")]
pub struct NetworkError(String);

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_like_it() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "::ffff:11.0.0.0", false),
        ];
        for (network, address, holds) in cases {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "a",
            "10.1.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "127.1",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/8",
            "::ffff:10.0.0.1/104",
            "::ffff:10.0.0.0/129",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
