//! The cookies of a request, read as browsers write them.

use std::borrow::Cow;
use std::fmt;

use crate::headers::Headers;

/// The cookies of a request (HU26, HU37), by name. They borrow from its Cookie fields; each look goes through them once.
///
/// Read as browsers and Tornado do: every `;` separates, also within quotes; a piece without `=` is a cookie without a name;
/// of several with one name the last counts; a value in double quotes loses them, and its backslash escapes, `\"` and
/// `\073` say, are undone. Nothing is an error.
///
/// Names and values are what the client says. Whatever matters needs a signature or a lookup on the server.
///
/// ```
/// use httpserver::{Cookies, Headers};
///
/// let headers = Headers::from_pairs([("Cookie", "theme=dark; id=\"a\\054b\"")])?;
/// let cookies = Cookies::of(&headers);
/// assert_eq!(cookies.text("theme").as_deref(), Some("dark"));
/// assert_eq!(cookies.text("id").as_deref(), Some("a,b"));
/// # Ok::<(), httpserver::HeaderError>(())
/// ```
#[derive(Clone, Copy)]
#[doc(alias = "parse_cookie")]
pub struct Cookies<'a> {
    headers: &'a Headers,
}

impl<'a> Cookies<'a> {
    /// The cookies in these header fields. Several Cookie fields count as one (RFC 9113 §8.2.3 has gateways split them).
    #[must_use]
    pub fn of(headers: &'a Headers) -> Cookies<'a> {
        Cookies { headers }
    }

    /// All cookies as `(name, value)`, in the order they came; a name may come more than once.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> + use<'a> {
        let chunks = self.headers.get_list("cookie").flat_map(|field| field.split(|&byte| byte == b';'));
        chunks.filter_map(|chunk| {
            let (name, value) = match memchr::memchr(b'=', chunk) {
                Some(at) => (chunk[..at].trim_ascii(), chunk[at + 1..].trim_ascii()),
                None => (&chunk[..0], chunk.trim_ascii()),
            };
            (!name.is_empty() || !value.is_empty()).then(|| (name, unquoted(value)))
        })
    }

    /// The value of this name, the last one if there are several.
    #[must_use]
    #[doc(alias = "get_cookie")]
    pub fn get(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.iter().filter(|(given, _)| *given == name.as_bytes()).last().map(|(_, value)| value)
    }

    /// The value of this name as text; `None` also if it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.get(name)? {
            Cow::Borrowed(value) => str::from_utf8(value).ok().map(Cow::Borrowed),
            Cow::Owned(value) => String::from_utf8(value).ok().map(Cow::Owned),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Names alone: values are often credentials.
impl fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (name, _) in self.iter() {
            list.entry(&format_args!("\"{}\"", name.escape_ascii()));
        }
        list.finish()
    }
}

/// Undoes the quotes of RFC 2109 that Python and its followers still write. One pass (CVE-2024-52804).
fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = value else { return Cow::Borrowed(value) };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        rest = match rest {
            [] => return Cow::Owned(out),
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', behind @ ..] => {
                out.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                behind
            }
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}
