//! How far bytes of one kind reach: what reading a head in one pass stands on.
//!
//! Sixteen bytes are looked at together, as plain arithmetic that the compiler makes vector instructions of. What that leaves open,
//! and the last few bytes of the input, are looked at one by one with the predicates of `grammar.rs`, which alone say
//! what belongs where.

use super::grammar::{is_field_value_byte, is_target_byte, is_token_byte};

/// The length of the token at the front: a field name, a method. Letters and dashes are what nearly all consist of.
#[inline(always)]
pub(crate) fn token(bytes: &[u8]) -> usize {
    span(bytes, |byte| (byte | 0x20).wrapping_sub(b'a') < 26 || byte == b'-', is_token_byte)
}

/// The length of the request target at the front.
#[inline(always)]
pub(crate) fn target(bytes: &[u8]) -> usize {
    span(bytes, |byte| byte.wrapping_sub(b'$') <= b'~' - b'$', is_target_byte)
}

/// The length of the field value at the front, blanks around it included.
#[inline(always)]
pub(crate) fn field_value(bytes: &[u8]) -> usize {
    span(bytes, |byte| byte >= b' ' && byte != 0x7F, is_field_value_byte)
}

/// Whether all bytes belong. What is not a multiple of a chunk is looked at in chunks that overlap.
#[inline(always)]
pub(crate) fn all(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> bool {
    let fold = |chunk: &[u8]| chunk.iter().fold(true, |all, &byte| all & belongs(byte));
    if let Some(last) = bytes.last_chunk::<16>() {
        return bytes.chunks_exact(16).all(fold) && fold(last);
    }
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => fold(first) & fold(last),
        _ => fold(bytes),
    }
}

/// The number of bytes at the front that `belongs`; all bytes for which `surely` is true do.
#[inline(always)]
fn span(bytes: &[u8], surely: impl Fn(u8) -> bool, belongs: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<16>() {
        let doubts = u128::from_le_bytes(chunk.map(|byte| if surely(byte) { 0 } else { 0xFF }));
        if doubts == 0 {
            rest = behind;
            continue;
        }
        let at = (doubts.trailing_zeros() / 8) as usize;
        if !belongs(chunk[at]) {
            return bytes.len() - rest.len() + at;
        }
        rest = &rest[at + 1..];
    }
    let left = rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + left
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
    fn all_belong_unless_one_does_not_wherever_it_stands() {
        for len in 0..70 {
            let mut text = vec![b'a'; len];
            assert!(all(&text, |byte| byte == b'a'), "{len}");
            for at in 0..len {
                text[at] = b'b';
                assert!(!all(&text, |byte| byte == b'a'), "{at} of {len}");
                text[at] = b'a';
            }
        }
    }

    #[test]
    fn a_field_value_ends_where_its_grammar_says() {
        agrees(field_value, is_field_value_byte, b"text/html;\tq=\x80 \xFF");
    }
}
