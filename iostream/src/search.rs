//! Where the bytes up to a delimiter end.

use memchr::{memchr, memmem};

/// So many bytes are searched in one step: most lines of most protocols end within them.
const NEAR: usize = 64;

/// Where the first `delimiter` in `bytes` ends; nowhere, for an empty one.
///
/// If the first byte like its last is near it is most often its last, and finding that takes half the instructions of beginning one
/// of `memchr`'s searches, which are faster in the long run.
#[inline]
pub(crate) fn end_of(delimiter: &[u8], bytes: &[u8]) -> Option<usize> {
    let (last, before) = delimiter.split_last()?;
    let mut searched = 0;
    if let Some(near) = bytes.first_chunk() {
        searched = match near_position(*last, near) {
            Some(at) if ends_with(&near[..at], before) => return Some(at + 1),
            Some(at) => at + 1,
            None => NEAR,
        };
    }
    far_end(delimiter, bytes, searched)
}

/// With what every processor of the kind has: nothing is looked up and nothing is called. Where this line ends is what looking for
/// the next one waits for, so it is the way to the answer that has to be short, more than the number of its steps.
#[inline]
fn near_position(byte: u8, bytes: &[u8; NEAR]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return memchr::arch::x86_64::sse2::memchr::One::new(byte)?.find(bytes);
    #[cfg(target_arch = "aarch64")]
    return memchr::arch::aarch64::neon::memchr::One::new(byte)?.find(bytes);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    memchr::arch::all::memchr::One::new(byte).find(bytes)
}

/// The end behind `searched` bytes, in which there is none. A short delimiter is searched by its last byte: a prepared searcher would
/// have to live in the future of every read that waits, and is larger than a connection.
#[inline(never)]
fn far_end(delimiter: &[u8], bytes: &[u8], searched: usize) -> Option<usize> {
    let (last, before) = delimiter.split_last()?;
    if before.len() > 3 {
        return end_of_long(delimiter, bytes);
    }
    let mut end = searched;
    loop {
        end += memchr(*last, &bytes[end..])? + 1;
        if ends_with(&bytes[..end - 1], before) {
            return Some(end);
        }
    }
}

/// By itself, so that the search for a short one does not pay for the room that the searcher takes.
#[inline(never)]
fn end_of_long(delimiter: &[u8], bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, delimiter).map(|at| at + delimiter.len())
}

/// No call for the delimiters of lines.
#[inline]
fn ends_with(bytes: &[u8], end: &[u8]) -> bool {
    match end {
        [] => true,
        [byte] => bytes.last() == Some(byte),
        _ => bytes.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(delimiter: &[u8], bytes: &[u8]) -> Option<usize> {
        (delimiter.len()..=bytes.len()).find(|end| bytes[..*end].ends_with(delimiter))
    }

    #[test]
    fn a_delimiter_of_any_length_is_found_wherever_it_is() {
        for delimiter in [&b"\n"[..], b"\r\n", b"\n\n", b"\n\r\n", b"\r\n\r\n", b"-end-"] {
            for before in 0..200 {
                for after in [0, 1, 63, 64, 65, 200] {
                    let bytes = [&vec![b'x'; before], delimiter, &vec![b'\n'; after]].concat();
                    assert_eq!(end_of(delimiter, &bytes), naive(delimiter, &bytes), "{before} {after}");
                    assert_eq!(end_of(delimiter, &bytes[..before]), None);
                }
            }
        }
    }

    #[test]
    fn what_looks_like_its_beginning_or_its_end_does_not_count() {
        let bytes = "\n\r\r\nx\n\r".repeat(40);
        for delimiter in [&b"\n"[..], b"\r\n", b"\n\n", b"\n\r\n", b"\r\n\r\n", b"x\n\r\n\r\r", b"\r\r", b"y"]
        {
            for from in 0..bytes.len() {
                let bytes = &bytes.as_bytes()[from..];
                assert_eq!(end_of(delimiter, bytes), naive(delimiter, bytes), "{delimiter:?} from {from}");
            }
        }
    }

    #[test]
    fn an_empty_delimiter_is_nowhere() {
        assert_eq!(end_of(b"", b"something"), None);
    }
}
