//! Conditional requests (RFC 9110 §13): whether what the client has is still good, decided in one function.

use std::time::{Duration, SystemTime};

use http::Method;

use crate::headers::Headers;

/// What tells one version of a resource from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    /// With its quotes, `W/` before them if it is weak.
    pub(crate) etag: Option<&'a str>,
    /// In whole seconds, as HTTP says it.
    pub(crate) last_modified: Option<SystemTime>,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As if nothing had been asked.
    Whole,
    /// The same, and a Range counts.
    Ranges,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Judges the preconditions in the order of RFC 9110 §13.2.2. `now` is the date of the response.
pub(crate) fn judge(
    method: &Method,
    headers: &Headers,
    validators: &Validators<'_>,
    now: SystemTime,
) -> Verdict {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    // What is no date, or a list of them, is not looked at (§13.1.3, §13.1.4).
    let date = |name| date(headers.sole(name)?);
    if headers.contains("if-match") {
        if !matches_any(headers, "if-match", validators.etag, is_same) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date("if-unmodified-since"), validators.last_modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if headers.contains("if-none-match") {
        if matches_any(headers, "if-none-match", validators.etag, is_alike) {
            return if is_read { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if let (true, Some(since), Some(modified)) =
        (is_read, date("if-modified-since"), validators.last_modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    let counts = *method == Method::GET && headers.contains("range") && is_in_range(headers, validators, now);
    if counts { Verdict::Ranges } else { Verdict::Whole }
}

/// If-Range (§13.1.5): the parts that the client has are of this very version.
fn is_in_range(headers: &Headers, validators: &Validators<'_>, now: SystemTime) -> bool {
    if !headers.contains("if-range") {
        return true;
    }
    let Some(field) = headers.sole("if-range") else { return false };
    if let Some((tag, [])) = entity_tag(field) {
        return validators.etag.is_some_and(|etag| is_same(tag, etag.as_bytes()));
    }
    let date = date(field);
    // A date is as good as a tag only if nothing can have changed since within the same second (§8.8.2.2).
    let is_strong =
        |modified: SystemTime| now.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1));
    date.is_some() && date == validators.last_modified.filter(|modified| is_strong(*modified))
}

fn date(field: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(field).ok()?).ok()
}

/// Whether a list of tags has ours, or is `*`.
fn matches_any(headers: &Headers, name: &str, etag: Option<&str>, compare: fn(&[u8], &[u8]) -> bool) -> bool {
    headers.get_list(name).any(|field| {
        if field == b"*" {
            return true;
        }
        let Some(etag) = etag else { return false };
        let mut rest = field;
        loop {
            while let [b' ' | b'\t' | b',', behind @ ..] = rest {
                rest = behind;
            }
            let Some((tag, behind)) = entity_tag(rest) else { return false };
            if compare(tag, etag.as_bytes()) {
                return true;
            }
            rest = behind;
        }
    })
}

/// The tag at the start of a text, and what follows it. A tag may contain commas.
fn entity_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let opaque = text.strip_prefix(b"W/").unwrap_or(text);
    let inner = opaque.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', inner)?;
    Some(text.split_at(text.len() - inner.len() + end + 1))
}

/// Whether this is an entity tag and nothing else: what is quoted has neither blanks nor quotes (§8.8.3).
pub(crate) fn is_entity_tag(text: &str) -> bool {
    let is_whole = matches!(entity_tag(text.as_bytes()), Some((_, [])));
    is_whole && text.bytes().all(|byte| byte > b' ' && byte != 0x7F)
}

/// The strong comparison of RFC 9110 §8.8.3.2: the same, byte by byte.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other && !one.starts_with(b"W/")
}

/// The weak comparison: as good as the same.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    one.strip_prefix(b"W/").unwrap_or(one) == other.strip_prefix(b"W/").unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 27 Jan 2013 18:43:19 GMT";
    const MODIFIED: &str = "Sun, 27 Jan 2013 18:43:20 GMT";
    const AFTER: &str = "Sun, 27 Jan 2013 18:43:21 GMT";

    #[expect(clippy::needless_pass_by_value, reason = "so the cases read as a table")]
    fn judged(method: Method, etag: &str, fields: &[(&str, &str)]) -> Verdict {
        let last_modified = httpdate::parse_http_date(MODIFIED).ok();
        let validators = Validators { etag: Some(etag), last_modified };
        let now = last_modified.unwrap() + Duration::from_secs(10);
        judge(&method, &Headers::from_pairs(fields.iter().copied()).unwrap(), &validators, now)
    }

    fn get(fields: &[(&str, &str)]) -> Verdict {
        judged(Method::GET, "\"a\"", fields)
    }

    #[test]
    fn if_none_match_compares_weakly_and_goes_before_dates() {
        for list in ["\"a\"", "W/\"a\"", "*", "\"b\", \"a,\" , \"a\"", ",\"b\",W/\"a\""] {
            assert_eq!(get(&[("If-None-Match", list)]), Verdict::NotModified, "{list}");
            assert_eq!(
                judged(Method::HEAD, "W/\"a\"", &[("If-None-Match", list)]),
                Verdict::NotModified,
                "{list}"
            );
            assert_eq!(judged(Method::PUT, "\"a\"", &[("If-None-Match", list)]), Verdict::Failed, "{list}");
        }
        for list in ["\"b\"", "a", "\"a", "", "\"b,\"a\"\"", "w/\"a\""] {
            assert_eq!(
                get(&[("If-None-Match", list), ("If-Modified-Since", AFTER)]),
                Verdict::Whole,
                "{list}"
            );
        }
        assert_eq!(get(&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")]), Verdict::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_goes_before_dates() {
        assert_eq!(get(&[("If-Match", "\"b\", \"a\""), ("If-Unmodified-Since", BEFORE)]), Verdict::Whole);
        assert_eq!(get(&[("If-Match", "*")]), Verdict::Whole);
        assert_eq!(get(&[("If-Match", "W/\"a\"")]), Verdict::Failed);
        assert_eq!(judged(Method::GET, "W/\"a\"", &[("If-Match", "W/\"a\"")]), Verdict::Failed);
        assert_eq!(
            judged(Method::PUT, "\"a\"", &[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")]),
            Verdict::Failed
        );
    }

    #[test]
    fn dates_count_to_the_second_and_bad_ones_not_at_all() {
        let since = |date| get(&[("If-Modified-Since", date)]);
        assert_eq!(
            [BEFORE, MODIFIED, AFTER, "yesterday"].map(since),
            [Verdict::Whole, Verdict::NotModified, Verdict::NotModified, Verdict::Whole]
        );
        let since = |date| get(&[("If-Unmodified-Since", date)]);
        assert_eq!(
            [BEFORE, MODIFIED, AFTER, "yesterday"].map(since),
            [Verdict::Failed, Verdict::Whole, Verdict::Whole, Verdict::Whole]
        );
        let twice = |name, date| get(&[(name, date), (name, date)]);
        assert_eq!(twice("If-Modified-Since", AFTER), Verdict::Whole, "a list is no date");
        assert_eq!(twice("If-Unmodified-Since", BEFORE), Verdict::Whole);
        assert_eq!(
            judged(Method::POST, "\"a\"", &[("If-Modified-Since", AFTER)]),
            Verdict::Whole,
            "for reading alone"
        );
    }

    #[test]
    fn a_range_counts_if_if_range_says_so() {
        let range = |if_range| get(&[("Range", "bytes=0-"), ("If-Range", if_range)]);
        assert_eq!(get(&[("Range", "bytes=0-")]), Verdict::Ranges);
        assert_eq!(range("\"a\""), Verdict::Ranges);
        assert_eq!(range(MODIFIED), Verdict::Ranges);
        for bad in ["\"b\"", "W/\"a\"", "\"a\", \"b\"", AFTER, BEFORE, "x", "*"] {
            assert_eq!(range(bad), Verdict::Whole, "{bad}");
        }
        assert_eq!(judged(Method::HEAD, "\"a\"", &[("Range", "bytes=0-")]), Verdict::Whole, "for GET alone");
        assert_eq!(get(&[("Range", "bytes=0-"), ("If-None-Match", "\"a\"")]), Verdict::NotModified);
    }

    #[test]
    fn a_date_within_the_last_second_is_no_proof() {
        let modified = httpdate::parse_http_date(MODIFIED).unwrap();
        let validators = Validators { etag: None, last_modified: Some(modified) };
        let headers = Headers::from_pairs([("Range", "bytes=0-"), ("If-Range", MODIFIED)]).unwrap();
        let at = |later| judge(&Method::GET, &headers, &validators, modified + Duration::from_millis(later));
        assert_eq!((at(999), at(1000)), (Verdict::Whole, Verdict::Ranges));
    }
}
