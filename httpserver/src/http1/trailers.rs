//! Trailer sections (RFC 9110 §6.5): kept apart from the header fields, and not allowed to act as such.

use super::error::RemoteError;
use super::grammar::trim_ows;
use crate::headers::Headers;

/// Fields that must be known before the body: framing, routing, conditions, authentication, and how to read the body
/// (RFC 9110 §6.5.1). RFC 9112 §7.1.2 lets us take them for an error, in both directions.
const FORBIDDEN: [&str; 26] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

pub(crate) fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// Splits a section whose every byte `scan.rs` has found good, blank line included.
pub(crate) fn parse(section: &[u8]) -> Result<Option<Box<Headers>>, RemoteError> {
    let mut trailers = None;
    for line in section.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = str::from_utf8(&line[..colon]).map_err(|_| RemoteError::InvalidFieldName)?;
        if is_forbidden(name) {
            return Err(RemoteError::ForbiddenTrailer);
        }
        let fields: &mut Box<Headers> = trailers.get_or_insert_default();
        fields.add(name, trim_ows(&line[colon + 1..])).map_err(|_| RemoteError::InvalidFieldValue)?;
    }
    Ok(trailers)
}
