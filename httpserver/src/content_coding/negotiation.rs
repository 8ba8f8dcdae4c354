//! Whether a response is to be encoded, decided in one function: what the client accepts (RFC 9110 §12.5.3), what the response is, and
//! what its fields then have to say.

use http::StatusCode;

use super::{Compression, has_encodable_body, is_head, replaced};
use crate::headers::Headers;
use crate::http1::grammar::{list, trim_ows};
use crate::http1::{RequestHead, ResponseHead, ResponseLength};
use crate::media_type::essence;

/// What matters of a request.
#[derive(Debug)]
pub(crate) struct Accepted {
    gzip: bool,
    pub(crate) is_head: bool,
    /// What the client has, if some of it was encoded here.
    weak_tags: Option<Box<[u8]>>,
}

/// What is to become of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is, with these fields: to others it may be encoded.
    Plain(Headers),
    /// It is encoded, with these fields.
    Encoded {
        headers: Headers,
        /// How long it is before that, if that is known.
        length: Option<u64>,
    },
}

impl Accepted {
    pub(crate) fn by(head: &RequestHead) -> Accepted {
        let tags = head.headers().joined("if-none-match");
        let weak_tags = tags.filter(|tags| memchr::memmem::find(tags, b"W/\"").is_some());
        Accepted {
            gzip: accepts_gzip(head.headers().get_list("accept-encoding")),
            is_head: is_head(head.method()),
            weak_tags: weak_tags.map(|tags| tags.into_owned().into()),
        }
    }

    /// `None` where encoding is out of the question.
    pub(crate) fn judge(
        &self,
        head: &ResponseHead<'_>,
        compression: &Compression,
        may_encode: bool,
    ) -> Option<Verdict> {
        if head.status == StatusCode::NOT_MODIFIED {
            return self.not_modified(head.headers);
        }
        let content_type = head.headers.get("content-type").or(head.content_type.map(str::as_bytes))?;
        let is_out = !has_encodable_body(head.status)
            || !is_compressible(content_type)
            || head.headers.contains("content-encoding")
            || head.headers.contains("content-range")
            || forbids_transforming(head.headers);
        let length = length(head, self.is_head)?;
        if is_out || length.is_some_and(|length| length < compression.minimum_bytes) {
            return None;
        }
        let mut headers = varying(head.headers.clone());
        if !self.gzip || !may_encode {
            return Some(Verdict::Plain(headers));
        }
        if let Some(tag) = headers.get("etag").filter(|tag| !tag.starts_with(b"W/")) {
            headers = replaced(&headers, "ETag", &[b"W/", tag].concat());
        }
        headers.remove("content-length");
        headers.remove("accept-ranges");
        headers.add("Content-Encoding", "gzip").ok()?;
        Some(Verdict::Encoded { headers, length })
    }

    /// The client has it encoded, so its tag is the weak one, and nobody knows its length.
    fn not_modified(&self, headers: &Headers) -> Option<Verdict> {
        let tag = headers.get("etag")?;
        let weak = [b"W/", tag].concat();
        let has = |tag: &[u8]| list(self.weak_tags.as_deref().unwrap_or_default()).any(|it| it == tag);
        (has(&weak) && !has(tag)).then(|| {
            let mut headers = varying(replaced(headers, "ETag", &weak));
            headers.remove("content-length");
            Verdict::Plain(headers)
        })
    }
}

/// How long the body is, or would have been that an answer to HEAD leaves out; `None` within if nobody knows yet. `None` for what is an
/// error anyway.
fn length(head: &ResponseHead<'_>, is_left_out: bool) -> Option<Option<u64>> {
    let mut fields = head.headers.get_list("content-length");
    let field = match (fields.next(), fields.next()) {
        (None, _) => None,
        (Some(field), None) => Some(str::from_utf8(field).ok()?.parse().ok()?),
        _ => return None,
    };
    match (head.length, field) {
        (ResponseLength::Known(0), Some(field)) if is_left_out => Some(Some(field)),
        (ResponseLength::Known(length), Some(field)) if length != field => None,
        (ResponseLength::Known(length), _) => Some(Some(length)),
        (ResponseLength::Streamed, field) => Some(field),
    }
}

/// Says that others may get another body (RFC 9110 §12.5.5).
fn varying(mut headers: Headers) -> Headers {
    let is_said = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    if !headers.get_list("vary").flat_map(list).any(is_said) {
        // Beyond what fields may take it is not stored: then the response is an error when it is sent.
        let _stored = headers.add("Vary", "Accept-Encoding");
    }
    headers
}

/// Also the way for a handler to have a response left as it is.
fn forbids_transforming(headers: &Headers) -> bool {
    let mut directives = headers.get_list("cache-control").flat_map(list);
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Not `text/event-stream`: each of its clients would hold the encoder's memory for days.
pub(super) fn is_compressible(content_type: &[u8]) -> bool {
    const TYPES: [&[u8]; 8] = [
        b"application/javascript",
        b"application/json",
        b"application/manifest+json",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/xml",
        b"image/vnd.microsoft.icon",
    ];
    let essence = essence(content_type).to_ascii_lowercase();
    TYPES.contains(&&*essence)
        || essence.starts_with(b"text/") && essence != b"text/event-stream"
        || essence.ends_with(b"+json")
        || essence.ends_with(b"+xml")
}

/// Whether gzip is accepted, and no less than the body as it is.
fn accepts_gzip<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut gzip, mut identity, mut others) = (None, None, None);
    for element in fields.flat_map(list) {
        let (coding, weight) = weighted(element);
        let Some(weight) = weight else { continue };
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            gzip = gzip.max(Some(weight));
        } else if coding.eq_ignore_ascii_case(b"identity") {
            identity = Some(weight);
        } else if coding == b"*" {
            others = Some(weight);
        }
    }
    let gzip = gzip.or(others).unwrap_or(0);
    gzip > 0 && identity.is_none_or(|identity| gzip >= identity)
}

/// A coding with its weight in thousandths (RFC 9110 §12.4.2). No weight if it has one that is none.
fn weighted(element: &[u8]) -> (&[u8], Option<u16>) {
    let Some(end) = memchr::memchr(b';', element) else { return (element, Some(1000)) };
    let (coding, parameter) = (trim_ows(&element[..end]), trim_ows(&element[end + 1..]));
    let weight = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => thousandths(value),
        _ => None,
    };
    (coding, weight)
}

fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut weight = u16::from(whole - b'0') * 1000;
    for (digit, worth) in digits.iter().zip([100, 10, 1]) {
        weight += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * worth;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_wants_it_no_less_than_the_body_as_it_is() {
        for (field, accepts) in [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("br, gzip;q=0.5", true),
            ("deflate, br", false),
            ("*", true),
            ("*;q=0", false),
            ("*;q=0, gzip", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("gzip;q=0.001", true),
            ("gzip ; Q=1.000", true),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("gzip, identity;q=0", true),
            ("gzip;q=1.001", false),
            ("gzip;q=x", false),
            ("gzip;q=", false),
            ("gzip;q=0.0001", false),
            ("gzip;level=9", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip([field.as_bytes()].into_iter()), accepts, "{field}");
        }
        assert!(!accepts_gzip([].into_iter()), "nothing is said");
        assert!(accepts_gzip([&b"br"[..], b"gzip"].into_iter()), "two fields are one list");
    }

    #[test]
    fn texts_are_worth_it_and_what_is_compressed_already_is_not() {
        for good in
            ["text/html; charset=utf-8", "Application/JSON", "image/svg+xml", "application/problem+json"]
        {
            assert!(is_compressible(good.as_bytes()), "{good}");
        }
        for bad in ["image/png", "application/zip", "application/octet-stream", "text/event-stream", ""] {
            assert!(!is_compressible(bad.as_bytes()), "{bad}");
        }
    }
}
