//! The small helpers of Tornado's `httputil` and `escape`: hosts with ports, URLs with queries and escapes, dates.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use crate::arguments::{Plus, percent_decode};

/// Splits `host:port` (HU36). The port is `None` where there is none, or none that a socket can have; then the text is all
/// host. An IPv6 address keeps its brackets, and without brackets its colons.
///
/// ```
/// use httpserver::split_host_and_port;
///
/// assert_eq!(split_host_and_port("example.org:8080"), ("example.org", Some(8080)));
/// assert_eq!(split_host_and_port("[::1]:8080"), ("[::1]", Some(8080)));
/// assert_eq!(split_host_and_port("[::1]"), ("[::1]", None));
/// ```
#[must_use]
pub fn split_host_and_port(netloc: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = netloc.rsplit_once(':') else { return (netloc, None) };
    let is_whole_host = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_whole_host && is_number => (host, Some(port)),
        // RFC 3986 §3.2.3 allows a colon with nothing behind it.
        _ if is_whole_host && port.is_empty() => (host, None),
        _ => (netloc, None),
    }
}

/// Appends `params` to the query of `url`, percent-encoded, before its fragment (HU34). Fields that `url` has already are
/// encoded anew, so that `?x` becomes `?x=`. Without params the URL stays as it is.
///
/// ```
/// use httpserver::url_concat;
///
/// assert_eq!(url_concat("http://example.org/a?c=d#top", [("e", "f g")]), "http://example.org/a?c=d&e=f+g#top");
/// ```
#[must_use]
pub fn url_concat<N, V>(url: &str, params: impl IntoIterator<Item = (N, V)>) -> String
where
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let mut params = params.into_iter().peekable();
    if params.peek().is_none() {
        return url.to_owned();
    }
    let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, fragment)| (rest, Some(fragment)));
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut out = String::with_capacity(url.len() + 32);
    out.push_str(base);
    let mut separator = '?';
    let mut add = |name: &[u8], value: &[u8]| {
        out.push(separator);
        separator = '&';
        form_encode(name, &mut out);
        out.push('=');
        form_encode(value, &mut out);
    };
    crate::Arguments::parse(query).iter().for_each(|(name, value)| add(name, value));
    params.for_each(|(name, value)| add(name.as_ref(), value.as_ref()));
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

/// Undoes percent-encoding, in a segment of a [`path`](crate::RequestFacts::path) say: Tornado's `url_unescape` with `plus=False`. A `+`
/// stays what it is, and so does an escape without two hexadecimal digits. `None` if what comes out is not UTF-8.
///
/// Split a path before its segments are decoded: an escaped slash separates nothing (RFC 3986 §2.2). What comes out may be
/// anything, `..` and NUL included; for files there is [`StaticFile::open_below`](crate::StaticFile::open_below).
///
/// ```
/// use httpserver::url_unescape;
///
/// let segments: Vec<_> = "/menu/caf%C3%A9/50%25+tip%2Ftax".split('/').skip(1).map(url_unescape).collect();
/// assert_eq!(segments, [Some("menu".into()), Some("café".into()), Some("50%+tip/tax".into())]);
/// assert_eq!(url_unescape("100%"), Some("100%".into()));
/// assert_eq!(url_unescape("%FF"), None);
/// ```
#[must_use]
pub fn url_unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    percent_decode(text.as_bytes(), Plus::IsPlus, &mut decoded);
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// As HTML forms encode: a blank is `+`, what RFC 3986 calls unreserved stays, the rest is escaped.
fn form_encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
}

/// The time as HTTP writes it, in GMT: `Sun, 27 Jan 2013 18:43:20 GMT` (HU35, RFC 9110 §5.6.7). Times that this form cannot
/// say, before 1970 or after 9999, are taken for the nearest that it can.
#[must_use]
pub fn format_timestamp(time: SystemTime) -> String {
    use std::time::{Duration, UNIX_EPOCH};
    const LAST: u64 = 253_402_300_799;
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}
