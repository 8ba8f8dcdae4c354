//! How far bytes of one kind reach: what reading a head in one pass stands on.
//!
//! Eight bytes are looked at together, as one number: `doubts` sets the highest bit of each that may not belong. Those, and the last few
//! bytes of the input, are then looked at one by one with the predicates of `grammar.rs`, which alone say what belongs where.
//! A carry out of a byte that belongs can make another doubt and can take none away.
//!
//! Places are `u32`: so the compiler sees that they do not overflow, and the bounds are checked with one comparison.

use super::grammar::{is_field_value_byte, is_target_byte, is_token_byte};

/// Where the token that begins `at` ends, a field name or a method, if `stop` follows it. Letters are what nearly all consist of.
#[inline(always)]
pub(crate) fn token(input: &[u8], at: u32, stop: u8) -> Option<u32> {
    let doubts = |word: u64| {
        let lower = word | each(0x20);
        !lower.wrapping_add(each(0x80 - b'a')) | lower.wrapping_add(each(0x7F - b'z')) | word
    };
    span(input, at, |byte| byte == stop, doubts, is_token_byte)
}

/// Where the request target that begins `at` ends, if a blank follows it, or the first question mark in it.
#[inline(always)]
pub(crate) fn path(input: &[u8], at: u32) -> Option<u32> {
    let doubts = |word: u64| {
        let is_not_mark = (word ^ each(b'?')).wrapping_add(each(0x7F));
        word.wrapping_sub(each(b'$')) | word.wrapping_add(each(1)) | word | !is_not_mark
    };
    span(input, at, |byte| byte == b' ' || byte == b'?', doubts, is_target_byte)
}

/// Where the request target that begins `at` ends, if a blank follows it.
#[inline(always)]
pub(crate) fn target(input: &[u8], at: u32) -> Option<u32> {
    let doubts = |word: u64| word.wrapping_sub(each(b'$')) | word.wrapping_add(each(1)) | word;
    span(input, at, |byte| byte == b' ', doubts, is_target_byte)
}

/// Where the field value that begins `at` ends, blanks around it included, if CR follows it.
#[inline(always)]
pub(crate) fn field_value(input: &[u8], mut at: u32) -> Option<u32> {
    let is_plain = |byte| byte >= b' ' && byte != 0x7F;
    // Many are long, and so many bytes together are vectors to the compiler.
    while let Some(chunk) = chunk::<16>(input, at) {
        if all(chunk, is_plain) {
            at += 16;
            continue;
        }
        let doubts = u128::from_le_bytes(chunk.map(|byte| if is_plain(byte) { 0 } else { 0xFF }));
        at += doubts.trailing_zeros() / 8;
        if input[at as usize] == b'\r' {
            return Some(at);
        }
        break; // a TAB, or what belongs nowhere
    }
    let doubts = |word: u64| (word.wrapping_sub(each(b' ')) | word.wrapping_add(each(1))) & !word;
    span(input, at, |byte| byte == b'\r', doubts, is_field_value_byte)
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

/// So many bytes from this place on.
#[inline(always)]
pub(crate) fn chunk<const N: usize>(input: &[u8], at: u32) -> Option<&[u8; N]> {
    input.get(at as usize..at as usize + N)?.first_chunk()
}

/// The place of the first byte from `at` on that stops, if all bytes before it belong, which it does not.
#[inline(always)]
fn span(
    input: &[u8],
    mut at: u32,
    stops: impl Fn(u8) -> bool,
    doubts: impl Fn(u64) -> u64,
    belongs: impl Fn(u8) -> bool,
) -> Option<u32> {
    loop {
        let word = match chunk(input, at) {
            Some(word) => u64::from_le_bytes(*word),
            None => last_word(input, at),
        };
        let mut found = doubts(word) & each(0x80);
        while found != 0 {
            let place = found.trailing_zeros() & !7;
            let byte = (word >> place) as u8;
            if stops(byte) {
                return Some(at + place / 8);
            }
            if !belongs(byte) {
                return None;
            }
            found &= found - 1;
        }
        at += 8;
    }
}

/// What is left of the input from there on, fewer than eight bytes, and zeros, which belong nowhere.
#[cold]
#[inline(never)]
fn last_word(input: &[u8], at: u32) -> u64 {
    let rest = input.get(at as usize..).unwrap_or_default();
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// The same byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    type Span = fn(&[u8], u32) -> Option<u32>;

    /// At every place of a text of fitting bytes, at every distance from the end, every byte, and every byte behind it, ends the span or does
    /// not as it should.
    fn agrees(span: Span, stops: &[u8], belongs: fn(u8) -> bool, fitting: &[u8]) {
        let agree = |text: &[u8], start: usize| {
            let end = text[start..].iter().position(|&byte| !belongs(byte) || stops.contains(&byte));
            let expected = end.map(|len| start + len).filter(|&at| stops.contains(&text[at]));
            assert_eq!(span(text, start as u32), expected.map(|at| at as u32), "{text:?} from {start}");
        };
        for len in [0, 1, 7, 8, 9, 15, 16, 17, 31, 40] {
            let text: Vec<u8> =
                fitting.iter().copied().cycle().take(len).chain(stops[..1].iter().copied()).collect();
            agree(&text[..len], 0);
            for at in 0..=len {
                agree(&text, at);
                for byte in 0..=255 {
                    let mut text = text.clone();
                    text[at] = byte;
                    agree(&text, 0);
                }
            }
        }
        let text: Vec<u8> =
            fitting.iter().copied().cycle().take(24).chain(stops[..1].iter().copied()).collect();
        for (at, byte, next) in [0, 3, 7, 22]
            .iter()
            .flat_map(|&at| (0..=0xFFFF).map(move |pair: u16| (at, pair as u8, (pair >> 8) as u8)))
        {
            let mut text = text.clone();
            (text[at], text[at + 1]) = (byte, next);
            agree(&text, 0);
        }
    }

    #[test]
    fn a_token_ends_where_its_grammar_says() {
        agrees(|input, at| token(input, at, b':'), b":", is_token_byte, b"Sec-Fetch_Site0~");
    }

    #[test]
    fn a_target_ends_where_its_grammar_says() {
        agrees(target, b" ", is_target_byte, b"/a%20b?c=d&e!~$");
    }

    #[test]
    fn a_path_ends_where_its_target_does_or_at_a_question_mark() {
        agrees(path, b" ?", is_target_byte, b"/a%20b/c=d&e!~$");
    }

    #[test]
    fn a_field_value_ends_where_its_grammar_says() {
        agrees(field_value, b"\r", is_field_value_byte, b"text/html;\tq=\x80 \xFF");
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
}
