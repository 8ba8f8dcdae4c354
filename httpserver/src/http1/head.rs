//! From bytes to a request head, in one pass.
//!
//! [`RequestHead::parse`] reads the head that is usual: whole and right. Of any other it says no more than that it is not: whether
//! something is missing or wrong, and what, is for `scan.rs` to find, which looks at each byte once however they
//! come. So a head is parsed with its first bytes, and then not before the scan has seen the blank line.

use std::fmt;
use std::ops::Range;

use http::{Method, Version};

use super::error::RemoteError;
use super::framing::{Framing, FramingFields, KnownHost};
use super::grammar::trim_ows;
use super::limits::Limits;
use super::scan::{Bounds, Scan, max_fields, max_head_bytes};
use super::span;
use super::target::{Parts, TargetForm};
use crate::headers::{Field, Headers};

/// The head of a request. Keep one per connection or loop and let
/// [`receive_head`](super::Connection::receive_head) refill it: no allocation once its buffers have grown.
#[doc(alias = "RequestStartLine")]
#[derive(Clone, Default)]
pub struct RequestHead {
    method: Method,
    version: Version,
    form: TargetForm,
    target: String,
    /// Its place in `target`.
    authority: (u32, u32),
    /// The place of the path in `target`. A query begins behind its end.
    path: (u32, u32),
    framing: Framing,
    headers: Headers,
    known_host: KnownHost,
}

impl RequestHead {
    /// An empty one, to be filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// The method, case-sensitive (RFC 9110 §9.1). Any token is one.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target as sent: visible ASCII, in one of four forms.
    #[doc(alias = "uri")]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The form of the target.
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// The path of the target, still percent-encoded; `/` where an absolute form has none, `*` for OPTIONS, empty for CONNECT.
    pub fn path(&self) -> &str {
        let (start, end) = self.path;
        let path = &self.target[start as usize..end as usize];
        if path.is_empty() && self.form == TargetForm::Absolute { "/" } else { path }
    }

    /// What stands behind the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target[self.path.1 as usize..].strip_prefix('?')
    }

    /// HTTP/1.0 or HTTP/1.1. Later minor versions are served, and shown, as 1.1 (RFC 9110 §6.2).
    pub fn version(&self) -> Version {
        self.version
    }

    /// Who is asked, as `host` or `host:port`: from the target if it names one (RFC 9112 §3.2.2), else from Host. `None` if Host
    /// is empty, or missing in HTTP/1.0.
    pub fn host(&self) -> Option<&str> {
        let (start, end) = self.authority;
        let named = self.target.get(start as usize..end as usize).filter(|named| !named.is_empty());
        let host = named.or_else(|| self.headers.text("host"))?;
        (!host.is_empty()).then_some(host)
    }

    /// What the fields decided about body and connection.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The header fields, in wire order.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The header fields, to be changed. Framing has been decided and does not change with them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        let (mut headers, mut target) = (std::mem::take(&mut self.headers), std::mem::take(&mut self.target));
        headers.clear();
        target.clear();
        *self = Self { headers, target, known_host: self.known_host, ..Self::new() };
    }

    /// Bytes of memory that the text of the head takes.
    #[must_use]
    pub(crate) fn memory(&self) -> usize {
        self.headers.memory() + self.target.capacity()
    }

    /// Gives back memory beyond `bytes`, after an unusually large head.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.headers.shrink_to(bytes);
        self.target.shrink_to(bytes);
    }

    /// Parses a whole head and gives its length. `None` means that it is not whole or that something is wrong with its bytes:
    /// `scan.rs` knows what. An error means that its bytes are right and what they say is not.
    fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, RemoteError> {
        #[cfg(test)]
        super::scan::counters::PARSED.with(|count| count.set(count.get() + 1));
        let input = &input[..input.len().min(max_head_bytes(limits))];
        let Some((line, start)) = RequestLine::parse(input) else { return Ok(None) };
        if start as usize > limits.request_line_bytes {
            return Ok(None);
        }
        let most = max_fields(limits);
        let mut framing = FramingFields::of(line.version);
        let fields = self.headers.begin();
        let Some(end) = field_lines(input, start, most, fields, &mut framing) else { return Ok(None) };
        self.headers.complete(&input[..end as usize], start as usize);
        self.set_line(&line, input)?;
        self.framing = framing.decide(&self.method, &mut self.known_host)?;
        Ok(Some(end as usize + 2))
    }

    fn set_line(&mut self, line: &RequestLine<'_>, input: &[u8]) -> Result<(), RemoteError> {
        (self.form, self.authority, self.path, self.framing) = Default::default();
        self.set_method(line.method)?;
        self.version = line.version;
        self.set_target(line.target, input)?;
        let parts = Parts::of(&self.method, line.target, line.path_len)?;
        let place = |Range { start, end }| (start as u32, end as u32);
        (self.form, self.authority, self.path) = (parts.form, place(parts.authority), place(parts.path));
        Ok(())
    }

    fn set_method(&mut self, name: &[u8]) -> Result<(), RemoteError> {
        if name == b"GET" {
            if self.method != Method::GET {
                self.method = Method::GET;
            }
            return Ok(());
        }
        self.method = match name {
            b"POST" => Method::POST,
            name => Method::from_bytes(name).map_err(|_| RemoteError::InvalidMethod)?,
        };
        Ok(())
    }

    fn set_target(&mut self, target: &[u8], input: &[u8]) -> Result<(), RemoteError> {
        // Copied first and checked where it has come to lie, at the beginning of a piece of memory, and in whole blocks: that is several times as
        // fast. What stands behind a target nearly always is text as well.
        let mut bytes = std::mem::take(&mut self.target).into_bytes();
        bytes.clear();
        let behind = &input[offset(input, target) as usize..];
        for block in behind.chunks_exact(16).take(target.len().div_ceil(16)) {
            bytes.extend_from_slice(block);
        }
        self.target = match String::from_utf8(bytes) {
            Ok(text) if text.len() >= target.len() => text,
            Ok(text) => exactly(target, text.into_bytes())?,
            Err(error) => exactly(target, error.into_bytes())?,
        };
        self.target.truncate(target.len());
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn exactly(target: &[u8], mut bytes: Vec<u8>) -> Result<String, RemoteError> {
    bytes.clear();
    bytes.extend_from_slice(target);
    String::from_utf8(bytes).map_err(|_| RemoteError::InvalidTarget)
}

/// The first line of a head whose every byte is right.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    /// Up to the first question mark, or all of the target.
    path_len: usize,
    version: Version,
}

impl<'a> RequestLine<'a> {
    /// The line, and where what follows it begins.
    #[inline]
    fn parse(input: &'a [u8]) -> Option<(Self, u32)> {
        let method_end = if input.starts_with(b"GET ") { 3 } else { span::token(input, 0, b' ')? };
        let target_at = method_end + 1;
        let path_end = span::path(input, target_at)?;
        let target_end =
            if input[path_end as usize] == b' ' { path_end } else { span::target(input, path_end)? };
        let [protocol @ .., minor, b'\r', b'\n'] = span::chunk::<11>(input, target_end)? else { return None };
        // Higher minor versions are served as the highest we know (RFC 9110 §6.2).
        let version = if *minor == b'0' { Version::HTTP_10 } else { Version::HTTP_11 };
        let is_right =
            protocol == b" HTTP/1." && minor.is_ascii_digit() && method_end > 0 && target_at < target_end;
        let method = &input[..method_end as usize];
        let target = &input[target_at as usize..target_end as usize];
        is_right.then_some((
            Self { method, target, path_len: (path_end - target_at) as usize, version },
            target_end + 11,
        ))
    }
}

/// Finds where the fields are, and what they say of framing; gives the place of the blank line.
#[inline(never)]
fn field_lines<'a>(
    input: &'a [u8],
    mut at: u32,
    most: usize,
    fields: &mut Vec<Field>,
    framing: &mut FramingFields<'a>,
) -> Option<u32> {
    while span::chunk(input, at)? != b"\r\n" {
        let name_end = span::token(input, at, b':')?;
        let value = name_end + 1;
        // Nearly all have one blank before the value and no more.
        let value = if *input.get(value as usize)? == b' ' { value + 1 } else { value };
        let value_end = span::field_value(input, value)?;
        if span::chunk(input, value_end)? != b"\r\n" || fields.len() >= most || name_end == at {
            return None;
        }
        let (mut value, end) = (value, value_end + 2);
        let mut value_end = value_end;
        if input[value as usize] <= b' ' || input[value_end as usize - 1] <= b' ' {
            (value, value_end) = trimmed(input, value, value_end);
        }
        if FramingFields::may_mean(name_end - at, input[at as usize]) {
            let name = &input[at as usize..name_end as usize];
            framing.note(name, &input[value as usize..value_end as usize]);
        }
        if fields.len() == fields.capacity() {
            make_room(fields, most, input);
        }
        fields.push(Field { name: at, name_end, value, value_end });
        at = end;
    }
    Some(at)
}

/// As much room for spans as the head takes: one allocation for a head of any kind, and later none.
#[cold]
#[inline(never)]
fn make_room(fields: &mut Vec<Field>, most: usize, input: &[u8]) {
    fields.reserve(most.min(input.len() / size_of::<Field>()));
}

/// Without the blanks around it (RFC 9110 §5.6.3).
#[cold]
#[inline(never)]
fn trimmed(input: &[u8], start: u32, end: u32) -> (u32, u32) {
    let value = trim_ows(&input[start as usize..end as usize]);
    let at = offset(input, value);
    (at, at + value.len() as u32)
}

/// Where `part`, a slice of `whole`, begins in it.
#[inline]
fn offset(whole: &[u8], part: &[u8]) -> u32 {
    (part.as_ptr().addr() - whole.as_ptr().addr()) as u32
}

/// Without the fields: those have a safe form of their own.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("version", &self.version)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// Where reading a head stands between two calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadReader {
    scan: Scan,
    empty_lines: u8,
}

/// A step of reading a head: `consumed` bytes are done with, and perhaps the head is complete.
pub(crate) struct HeadStep {
    pub(crate) consumed: usize,
    pub(crate) is_complete: bool,
}

impl HeadReader {
    pub(crate) const fn new() -> Self {
        Self::after_empty_lines(0)
    }

    pub(crate) const fn after_empty_lines(lines: u8) -> Self {
        Self { scan: Scan::head(), empty_lines: lines }
    }

    pub(crate) fn empty_lines(&self) -> u8 {
        self.empty_lines
    }

    #[inline]
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<HeadStep, RemoteError> {
        if self.scan.is_fresh()
            && let Some(len) = head.parse(input, limits)?
        {
            return Ok(HeadStep { consumed: len, is_complete: true });
        }
        self.read_unusual(input, limits, head)
    }

    /// Reads what has empty lines in front, comes in pieces, or is wrong.
    #[cold]
    #[inline(never)]
    fn read_unusual(
        &mut self,
        input: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<HeadStep, RemoteError> {
        head.clear(); // nothing of the request before is told as one of this
        let skipped = if self.scan.is_fresh() { self.skip_empty_lines(input, limits)? } else { 0 };
        let rest = &input[skipped..];
        let unfinished = HeadStep { consumed: skipped, is_complete: false };
        if rest.is_empty() || rest == b"\r" {
            return Ok(unfinished);
        }
        if skipped > 0
            && let Some(len) = head.parse(rest, limits)?
        {
            return Ok(HeadStep { consumed: skipped + len, is_complete: true });
        }
        let Some(len) = self.scan.advance(rest, &Bounds::head(limits))? else { return Ok(unfinished) };
        if head.parse(&rest[..len], limits)?.is_none() {
            // Every byte has been found good, so it cannot be; were it so, the peer would be told.
            head.clear();
            return Err(RemoteError::InvalidFieldName);
        }
        Ok(HeadStep { consumed: skipped + len, is_complete: true })
    }

    fn skip_empty_lines(&mut self, input: &[u8], limits: &Limits) -> Result<usize, RemoteError> {
        let mut rest = input;
        loop {
            rest = match rest {
                [b'\r', b'\n', ..] if self.empty_lines >= limits.empty_lines => {
                    return Err(RemoteError::TooManyEmptyLines);
                }
                [b'\r', b'\n', rest @ ..] => {
                    self.empty_lines += 1;
                    rest
                }
                [b'\r', _, ..] => return Err(RemoteError::BareCr),
                [b'\n', ..] => return Err(RemoteError::BareLf),
                _ => return Ok(input.len() - rest.len()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Limits, Received, RemoteError, RequestHead};

    fn receive(head: &mut RequestHead, input: &[u8]) -> Result<Received, RemoteError> {
        Connection::new().receive_head(input, &Limits::default(), head)
    }

    #[test]
    fn what_follows_a_target_of_any_length_is_no_part_of_it() {
        let mut head = RequestHead::new();
        for len in 0..50 {
            let target = format!("/{}", "x".repeat(len));
            for behind in ["", "\r\nGET / HTTP/1.1", "\u{e9}\u{20ac}\u{e9}\u{20ac}\u{e9}"] {
                for bytes in [behind.as_bytes(), &behind.as_bytes()[..behind.len() / 2], b"\xFF\xFE"] {
                    let request = [format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes(), bytes].concat();
                    let consumed = request.len() - bytes.len();
                    assert_eq!(receive(&mut head, &request), Ok(Received::Head { consumed }));
                    assert_eq!((head.target(), head.path()), (&target[..], &target[..]));
                }
            }
        }
    }

    #[test]
    fn a_query_begins_at_the_first_question_mark() {
        let mut head = RequestHead::new();
        for (target, path, query) in [
            ("/", "/", None),
            ("/?", "/", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a/long/path/to/a/thing?and=a&long=query", "/a/long/path/to/a/thing", Some("and=a&long=query")),
            ("http://host?b/c?d", "/", Some("b/c?d")),
            ("http://host/a?b", "/a", Some("b")),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(receive(&mut head, request.as_bytes()).is_ok(), "{target}");
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn hu19_a_host_is_judged_anew_whatever_was_good_before() {
        let long = "x".repeat(200);
        let hosts =
            ["a", "a b", "a", "", "example.org:80", "example.org:99999", &long, "/", &long, "a,b", "a"];
        let mut head = RequestHead::new();
        for host in hosts {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let is_good = !["a b", "example.org:99999", "/", "a,b"].contains(&host);
            let received = receive(&mut head, request.as_bytes());
            assert_eq!(received.is_ok(), is_good, "{host}: {received:?}");
            if is_good {
                assert_eq!(head.host(), Some(host).filter(|host| !host.is_empty()));
            }
            let twice = format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n");
            assert_eq!(receive(&mut head, twice.as_bytes()), Err(RemoteError::InvalidHost));
        }
    }
}
