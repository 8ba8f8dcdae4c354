//! Byte classes and lists of RFC 9110 §5.5 and §5.6.

use super::span;

/// `tchar`: what names, methods and most keywords are made of.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// `unreserved` and `sub-delims` of RFC 3986: what a registered host name is made of, but for the comma.
///
/// A comma is legal there. In practice it means that somebody joined two Host fields, so we refuse it.
const REG_NAME: [bool; 256] = table(b"-._~!$&'()*+;=");

const fn table(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = true;
        index += 1;
    }
    table
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// What a request target is made of: visible ASCII but for `#`. A fragment is no part of any form; it is refused because what
/// stands behind it is path to one party and nothing to another.
pub(crate) fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

pub(crate) fn is_reg_name_byte(byte: u8) -> bool {
    REG_NAME[byte as usize]
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Compares without regard to case to a keyword of lower-case letters, digits and hyphens, in a few instructions.
///
/// Setting bit 5 makes letters lower-case and leaves the others; only control bytes could be mistaken, and no field has those.
pub(crate) fn is_keyword<const N: usize>(text: &[u8], lower: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else { return false };
    text.iter().zip(lower).fold(0, |difference, (byte, lower)| difference | ((byte | 0x20) ^ lower)) == 0
}

/// Visible bytes, blank, TAB and obs-text.
pub(crate) fn is_field_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7F) || byte == b'\t'
}

pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    span::all(bytes, is_field_value_byte)
}

/// The bytes without optional whitespace (SP, TAB; RFC 9110 §5.6.3) at both ends.
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty ones are given too.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows)
}
