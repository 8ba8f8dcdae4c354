//! Version 2: binary.
//!
//! ```text
//!    0           12         13         14       16
//!   ┌───────────┬──────────┬──────────┬────────┬───────────┬──────┐
//!   │ signature │ version, │ family,  │ length │ addresses │ TLVs │
//!   │           │ command  │ protocol │        │           │      │
//!   └───────────┴──────────┴──────────┴────────┴───────────┴──────┘
//!                                               ◀───── length ────▶
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::tlv::{ProxySsl, Tlvs, kind};
use super::{Parsed, ProxyError, ProxyHeader};
use crate::peer::PeerAddr;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands before the addresses.
const FIXED_BYTES: usize = 16;

/// A path of a Unix socket, padded with zeros.
const UNIX_PATH_BYTES: usize = 108;

/// The kind of a TLV, and how long it is.
const TLV_HEAD_BYTES: usize = 3;

pub(super) fn parse(input: &[u8], max_bytes: usize) -> Parsed {
    let is_local = match input.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(0x22..=0x2f) => return Err(malformed("the command is unknown")),
        Some(_) => return Err(malformed("the version is not 2")),
    };
    let Some(fixed) = input.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let end = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if end > max_bytes {
        return Err(ProxyError::TooLong { max_bytes });
    }
    let Some(header) = input.get(..end) else { return Ok(None) };
    // The proxy speaks for itself: all else is to be passed over.
    if is_local {
        return Ok(Some((ProxyHeader { is_local, ..ProxyHeader::default() }, end)));
    }
    let (source, destination, tlvs_at) = addresses(header)?;
    let tlvs = &header[tlvs_at..];
    check_tlvs(tlvs)?;
    check_sum(header, tlvs_at)?;
    Ok(Some((ProxyHeader { is_local, source, destination, tlvs: tlvs.into() }, end)))
}

/// Source and destination, and where the TLVs begin.
fn addresses(header: &[u8]) -> Result<(Option<PeerAddr>, Option<PeerAddr>, usize), ProxyError> {
    let family_and_protocol = header[13];
    if family_and_protocol & 0x0f > 2 {
        return Err(malformed("the transport protocol is unknown"));
    }
    let block = &header[FIXED_BYTES..];
    let too_short = || malformed("the header is shorter than its addresses");
    let (source, destination, used) = match family_and_protocol >> 4 {
        0 => (None, None, 0),
        1 => {
            let block: &[u8; 12] = block.first_chunk().ok_or_else(too_short)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            let (source, destination) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
            let [source_port, destination_port] = both_ports(ports);
            (tcp(source, source_port), tcp(destination, destination_port), block.len())
        }
        2 => {
            let block: &[u8; 36] = block.first_chunk().ok_or_else(too_short)?;
            let (source, rest) = block.split_first_chunk::<16>().ok_or_else(too_short)?;
            let (destination, ports) = rest.split_first_chunk::<16>().ok_or_else(too_short)?;
            let [source_port, destination_port] = both_ports(*ports.first_chunk().ok_or_else(too_short)?);
            let ip = |bytes: &[u8; 16]| Ipv6Addr::from(*bytes);
            (tcp(ip(source), source_port), tcp(ip(destination), destination_port), block.len())
        }
        3 => {
            let block = block.get(..2 * UNIX_PATH_BYTES).ok_or_else(too_short)?;
            let (source, destination) = block.split_at(UNIX_PATH_BYTES);
            (unix(source), unix(destination), block.len())
        }
        _ => return Err(malformed("the address family is unknown")),
    };
    Ok((source, destination, FIXED_BYTES + used))
}

fn both_ports([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

fn tcp(ip: impl Into<std::net::IpAddr>, port: u16) -> Option<PeerAddr> {
    Some(PeerAddr::Tcp(SocketAddr::new(ip.into(), port)))
}

/// A padded path; an abstract name and an unnamed socket have none.
#[cfg(unix)]
fn unix(padded: &[u8]) -> Option<PeerAddr> {
    use std::os::unix::ffi::OsStrExt as _;

    let path = padded.split(|&byte| byte == 0).next().filter(|path| !path.is_empty());
    Some(PeerAddr::from_unix(path.map(|path| std::ffi::OsStr::from_bytes(path).as_ref())))
}

#[cfg(not(unix))]
fn unix(_: &[u8]) -> Option<PeerAddr> {
    None
}

/// Checks that the TLVs fill their place, and those that contain others do too.
fn check_tlvs(all: &[u8]) -> Result<(), ProxyError> {
    if !Tlvs(all).are_whole() {
        return Err(malformed("a TLV is longer than its place"));
    }
    let is_good = |value| ProxySsl::of(value).is_some_and(|ssl| ssl.tlvs().are_whole());
    let mut ssl = Tlvs(all).filter(|tlv| tlv.kind == kind::SSL);
    if ssl.all(|tlv| is_good(tlv.value)) { Ok(()) } else { Err(malformed("the TLV about TLS is cut off")) }
}

/// Checks the checksum, if there is one: that of the whole header with zeros in its own place.
fn check_sum(header: &[u8], tlvs_at: usize) -> Result<(), ProxyError> {
    let mut at = tlvs_at;
    let mut found = None;
    for tlv in Tlvs(&header[tlvs_at..]) {
        let begin = at + TLV_HEAD_BYTES;
        at = begin + tlv.value.len();
        if tlv.kind == kind::CRC32C && found.replace((begin, tlv.value)).is_some() {
            return Err(malformed("there are two checksums"));
        }
    }
    let Some((begin, value)) = found else { return Ok(()) };
    let sum: [u8; 4] = value.try_into().map_err(|_| malformed("the checksum is not 4 bytes"))?;
    let parts: [&[u8]; 3] = [&header[..begin], &[0; 4], &header[begin + sum.len()..]];
    let is_right = crc32c(parts) == u32::from_be_bytes(sum);
    if is_right { Ok(()) } else { Err(ProxyError::WrongChecksum) }
}

const fn malformed(what: &'static str) -> ProxyError {
    ProxyError::Malformed(what)
}
