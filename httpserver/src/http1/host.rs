//! Who is addressed: `uri-host [":" port]` of RFC 3986 §3.2.
//!
//! The grammar alone lets through `:80` (RFC 9110 §4.2.1 forbids an empty host), ports that no socket has, and commas
//! (`grammar.rs` says why not). User information is an error (RFC 9110 §4.2.4).

use std::net::Ipv6Addr;

use super::framing::decimal;
use super::grammar::is_reg_name_byte;

/// A host that may have a port, neither empty.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    // What nearly all are, in one pass: a name or an IPv4 address, perhaps with a port.
    let mut len = 0;
    while len < bytes.len() && is_reg_name_byte(bytes[len]) {
        len += 1;
    }
    match &bytes[len..] {
        [] => len > 0,
        // Four digits are a port whatever they are.
        [b':', port @ ..] if len > 0 && port.len() <= 4 && port.iter().all(u8::is_ascii_digit) => true,
        _ => is_any_authority(bytes),
    }
}

fn is_any_authority(bytes: &[u8]) -> bool {
    split(bytes).is_some_and(|(host, port)| is_host(host) && port.is_none_or(is_port_or_empty))
}

/// A host and a port, as CONNECT wants them (RFC 9112 §3.2.3).
pub(crate) fn is_host_and_port(bytes: &[u8]) -> bool {
    split(bytes).is_some_and(|(host, port)| {
        is_host(host) && port.is_some_and(|port| !port.is_empty() && is_port_or_empty(port))
    })
}

fn split(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = match bytes {
        [b'[', ..] => memchr::memchr(b']', bytes)? + 1,
        _ => memchr::memchr(b':', bytes).unwrap_or(bytes.len()),
    };
    let (host, rest) = bytes.split_at(end);
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(port))),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [] => false,
        [b'[', b'v' | b'V', inner @ .., b']'] => is_ip_future(inner),
        [b'[', inner @ .., b']'] => str::from_utf8(inner).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        _ => is_reg_name(host),
    }
}

/// A registered name or an IPv4 address: the grammar of the second lies within that of the first.
fn is_reg_name(host: &[u8]) -> bool {
    let mut rest = host;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_reg_name_byte(*byte) => rest,
            _ => return false,
        }
    }
}

/// What follows `v` in `IPvFuture`: hexadecimal digits, a dot, anything of a name or a colon.
fn is_ip_future(inner: &[u8]) -> bool {
    let Some(dot) = memchr::memchr(b'.', inner) else { return false };
    let (version, address) = (&inner[..dot], &inner[dot + 1..]);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && !address.is_empty()
        && address.iter().all(|&byte| is_reg_name_byte(byte) || byte == b':')
}

/// RFC 3986 allows a colon with nothing behind it.
fn is_port_or_empty(port: &[u8]) -> bool {
    port.is_empty() || decimal(port).is_ok_and(|number| number <= u64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hu19_hosts_that_rfc_3986_knows_are_taken() {
        for good in [
            "example.org",
            "EXAMPLE.org:80",
            "a_b",
            "a%41",
            "a:",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]",
            "[::ffff:1.2.3.4]",
            "[v1.fe:80]",
            "[vF.a]:1",
            "a!$&'()*+;=~",
            "localhost:00080",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn hu19_hosts_that_could_be_read_two_ways_are_refused() {
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user:pw@host",
            "a?b",
            "a#b",
            "a,b",
            "a:b",
            "a:80:80",
            "::1",
            "a:99999",
            "a:65536",
            "a:+80",
            "a%4",
            "a%zz",
            "%",
            "[::1",
            "[::1]x",
            "[]",
            "[1.2.3.4]",
            "[::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "a\\b",
            "a\"b",
            "a<b",
            "a\x7f",
            "h\u{e9}",
            "[::1]:x",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn connect_needs_a_port() {
        assert!(is_host_and_port(b"example.org:443"));
        assert!(is_host_and_port(b"[::1]:443"));
        for bad in ["example.org", "example.org:", ":443", "[::1]", "a:b"] {
            assert!(!is_host_and_port(bad.as_bytes()), "{bad}");
        }
    }
}
