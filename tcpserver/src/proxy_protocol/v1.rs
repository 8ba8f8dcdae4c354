//! Version 1: a line of text.
//!
//! ```text
//!   PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n
//!   PROXY TCP6 2001:db8::1 2001:db8::7 56324 443\r\n
//!   PROXY UNKNOWN …\r\n
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Parsed, ProxyError, ProxyHeader};
use crate::peer::PeerAddr;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line, with its end: two IPv6 addresses of 39 characters, after "UNKNOWN".
const LONGEST_LINE: usize = 107;

pub(super) fn parse(input: &[u8], max_bytes: usize) -> Parsed {
    let max_bytes = max_bytes.min(LONGEST_LINE);
    let within = &input[..input.len().min(max_bytes)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return if within.len() < max_bytes { Ok(None) } else { Err(ProxyError::TooLong { max_bytes }) };
    };
    let line = input[SIGNATURE.len()..end].strip_suffix(b"\r").ok_or(malformed("a line ends with CR LF"))?;
    Ok(Some((header(line)?, end + 1)))
}

/// Reads what stands between the signature and the end of the line: single blanks, and nothing more than there should be.
fn header(line: &[u8]) -> Result<ProxyHeader, ProxyError> {
    // The rest of such a line is to be ignored, whatever it is.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::default());
    }
    let line = str::from_utf8(line).map_err(|_| malformed("the line is not ASCII"))?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(malformed("the line is too short"));
    let ip: fn(&str) -> Option<IpAddr> = match word()? {
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(malformed("neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    let mut address = || ip(word()?).ok_or(malformed("an address is none of its family"));
    let (source, destination) = (address()?, address()?);
    let mut port = || port(word()?).ok_or(malformed("a port is none"));
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(malformed("the line is too long"));
    }
    let peer = |ip, port| Some(PeerAddr::Tcp(SocketAddr::new(ip, port)));
    Ok(ProxyHeader {
        source: peer(source, source_port),
        destination: peer(destination, destination_port),
        ..ProxyHeader::default()
    })
}

/// A port in decimal, without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if is_plain { u16::from_str(text).ok() } else { None }
}

const fn malformed(what: &'static str) -> ProxyError {
    ProxyError::Malformed(what)
}
