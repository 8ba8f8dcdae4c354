//! How far bytes of one kind reach: what reading a head in one pass stands on.
//!
//! Eight or sixteen bytes are looked at together, as plain arithmetic that the compiler makes vector instructions of. What that
//! cannot decide, and the last few bytes of the input, are looked at one by one with the predicates of `grammar.rs`,
//! which alone say what belongs where.

use super::grammar::{is_field_value_byte, is_target_byte, is_token_byte};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// The length of the token at the front: a field name, a method.
#[inline(always)]
pub(crate) fn token(bytes: &[u8]) -> usize {
    span(bytes, neither_letter_nor_dash, is_token_byte)
}

/// The length of the request target at the front.
#[inline(always)]
pub(crate) fn target(bytes: &[u8]) -> usize {
    span(bytes, |word| below(word, b'$') | equal(word, 0x7F) | word, is_target_byte)
}

/// The length of what stands before a `?`.
#[inline(always)]
pub(crate) fn path(target: &[u8]) -> usize {
    span(target, |word| equal(word, b'?'), |byte| byte != b'?')
}

/// The length of the field value at the front, blanks around it included.
#[inline(always)]
pub(crate) fn field_value(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<16>()
        && chunk.iter().fold(true, |good, &byte| good & is_field_value_byte(byte))
    {
        rest = behind;
    }
    let suspects = |word| below(word, b' ') | equal(word, 0x7F);
    bytes.len() - rest.len() + span(rest, suspects, is_field_value_byte)
}

/// `suspects` marks with its high bit each of eight bytes that might not belong: none may be missed before the first marked one.
#[inline(always)]
fn span(bytes: &[u8], suspects: impl Fn(u64) -> u64, belongs: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let marks = suspects(u64::from_le_bytes(*chunk)) & HIGHS;
        if marks == 0 {
            rest = behind;
            continue;
        }
        let at = (marks.trailing_zeros() / 8) as usize;
        if !belongs(chunk[at]) {
            return bytes.len() - rest.len() + at;
        }
        rest = &rest[at + 1..];
    }
    let left = rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + left
}

/// Marks the first byte below `limit`, and perhaps some behind it.
#[inline(always)]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word
}

/// Marks the first byte that is `byte`, and perhaps some behind it.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference
}

/// Marks all bytes but letters and dashes, of which nearly all names are made.
#[inline(always)]
fn neither_letter_nor_dash(word: u64) -> u64 {
    let lower = word | (ONES << 5);
    // No sum carries over: the high bits are left out of both.
    let from_a = (lower & !HIGHS) + ONES * u64::from(0x80 - b'a');
    let beyond_z = (lower & !HIGHS) + ONES * u64::from(0x7F - b'z');
    let dash_gone = ((word ^ (ONES * u64::from(b'-'))) & !HIGHS) + ONES * 0x7F;
    ((!from_a | beyond_z) & dash_gone) | word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every place of a text of fitting bytes, at every distance from the end, every byte stops the span or does not as it should.
    fn agrees(span: fn(&[u8]) -> usize, belongs: fn(u8) -> bool, fitting: &[u8]) {
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 31, 40] {
            let text: Vec<u8> = fitting.iter().copied().cycle().take(len).collect();
            assert_eq!(span(&text), len);
            for at in 0..len {
                for byte in 0..=255 {
                    let mut text = text.clone();
                    text[at] = byte;
                    // What stands behind the first that does not fit is not looked at.
                    for behind in [None, Some(0), Some(b' '), Some(b':'), Some(0xFF)] {
                        if let (Some(behind), Some(next)) = (behind, text.get_mut(at + 1)) {
                            *next = behind;
                        }
                        let expected = text.iter().position(|&byte| !belongs(byte)).unwrap_or(len);
                        assert_eq!(span(&text), expected, "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_token_ends_where_its_grammar_says() {
        agrees(token, is_token_byte, b"Sec-Fetch_Site0~");
    }

    #[test]
    fn a_target_ends_where_its_grammar_says() {
        agrees(target, is_target_byte, b"/a%20b?c=d&e!~$");
    }

    #[test]
    fn a_path_ends_where_a_query_begins() {
        agrees(path, |byte| byte != b'?', b"/a%20b\x80>@");
    }

    #[test]
    fn a_field_value_ends_where_its_grammar_says() {
        agrees(field_value, is_field_value_byte, b"text/html;\tq=\x80 \xFF");
    }
}
