//! Byte ranges (RFC 9110 §14): which parts of a resource are asked for.

use std::ops::Range;

use crate::headers::Headers;
use crate::http1::grammar::list;

/// More ranges than this are not asked for by honest clients; the whole is served then.
const MOST: usize = 16;

/// What a Range field comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// The whole is to be served: the field says nothing that we understand or want to follow (§14.2).
    Ignored,
    /// These parts, in the order asked for, none empty, together no larger than the whole: that bounds what a request can make
    /// us send.
    Parts(Vec<Range<u64>>),
    /// None of the ranges has a byte in it: 416.
    Unsatisfiable,
}

/// Reads the Range field of a request for something of this length.
pub(crate) fn ranges(headers: &Headers, len: u64) -> Ranges {
    let mut fields = headers.get_list("range");
    let (Some(field), None) = (fields.next(), fields.next()) else { return Ranges::Ignored };
    let set = match field.iter().position(|&byte| byte == b'=') {
        Some(at) if field[..at].eq_ignore_ascii_case(b"bytes") => &field[at + 1..],
        _ => return Ranges::Ignored,
    };
    // Of nothing there is no part that Content-Range could name.
    if len == 0 {
        return Ranges::Ignored;
    }
    let specs = list(set).filter(|spec| !spec.is_empty()).take(MOST + 1);
    let Some(mut parts) = specs.map(|spec| part(spec, len)).collect::<Option<Vec<_>>>() else {
        return Ranges::Ignored;
    };
    if parts.is_empty() || parts.len() > MOST {
        return Ranges::Ignored;
    }
    parts.retain(|part| part.start < part.end);
    let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
    match parts.len() {
        0 => Ranges::Unsatisfiable,
        _ if total > len => Ranges::Ignored,
        _ => Ranges::Parts(parts),
    }
}

/// The part that one range means, empty if it lies behind the end. `None` if it is no range.
fn part(spec: &[u8], len: u64) -> Option<Range<u64>> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first, last) {
        ([], suffix) => Some(len.saturating_sub(number(suffix)?)..len),
        (first, []) => Some(number(first)?..len),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first..last.saturating_add(1).min(len))
        }
    }
}

/// A number, or the largest one we know where it is larger than that.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte| Some(sum.saturating_mul(10).saturating_add(digit(byte)?));
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, len: u64) -> Ranges {
        ranges(&Headers::from_pairs([("Range", field)]).unwrap(), len)
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges is what is meant")]
    fn ranges_of_all_forms() {
        let cases: [(&str, &[Range<u64>]); 9] = [
            ("bytes=0-0", &[0..1]),
            ("bytes=2-", &[2..10]),
            ("bytes=-3", &[7..10]),
            ("bytes=-30", &[0..10]),
            ("Bytes=9-99999999999999999999999", &[9..10]),
            ("bytes= 0-1 , 3-4,,", &[0..2, 3..5]),
            ("bytes=8-,0-1", &[8..10, 0..2]),
            ("bytes=0-4,20-30", &[0..5]),
            ("bytes=0-4,-0", &[0..5]),
        ];
        for (field, parts) in cases {
            assert_eq!(of(field, 10), Ranges::Parts(parts.to_vec()), "{field}");
        }
    }

    #[test]
    fn ranges_behind_the_end_are_unsatisfiable() {
        for field in ["bytes=10-", "bytes=10-20,99999999999999999999999-", "bytes=-0"] {
            assert_eq!(of(field, 10), Ranges::Unsatisfiable, "{field}");
        }
    }

    #[test]
    fn what_is_no_range_or_too_much_is_ignored() {
        for field in [
            "bytes",
            "items=0-1",
            "bytes=1-0",
            "bytes=a-",
            "bytes=-",
            "bytes=1",
            "bytes=0-1;",
            "bytes=+1-2",
            "bytes=0-1,x",
            "bytes=",
            "bytes=,",
        ] {
            assert_eq!(of(field, 10), Ranges::Ignored, "{field}");
        }
        assert_eq!(of("bytes=0-,0-", 10), Ranges::Ignored, "more than there is");
        assert_eq!(of(&format!("bytes={}", "0-0,".repeat(17)), 100), Ranges::Ignored);
        assert!(
            matches!(of(&format!("bytes={}", "0-0,".repeat(16)), 100), Ranges::Parts(parts) if parts.len() == 16)
        );
        assert_eq!(of("bytes=0-", 0), Ranges::Ignored);
        let two = Headers::from_pairs([("Range", "bytes=0-1"), ("Range", "bytes=2-3")]).unwrap();
        assert_eq!(ranges(&two, 10), Ranges::Ignored);
    }
}
