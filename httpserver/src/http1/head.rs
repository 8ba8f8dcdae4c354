//! From bytes to a request head, in one pass.
//!
//! [`RequestHead::parse`] reads the head that is usual: whole and right. Of any other it says no more than that it is not: whether
//! something is missing or wrong, and what, is for `scan.rs` to find, which looks at each byte once however they
//! come. So a head is parsed with its first bytes, and then not before the scan has seen the blank line.

use std::fmt;
use std::ops::Range;

use http::{Method, Version};

use super::error::RemoteError;
use super::framing::{Framing, FramingFields};
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
        *self = Self { headers, target, ..Self::new() };
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
        let Some((line, mut rest)) = RequestLine::parse(input) else { return Ok(None) };
        let start_len = input.len() - rest.len();
        let most = max_fields(limits);
        let mut framing = FramingFields::of(line.version);
        let fields = self.headers.begin();
        loop {
            let (name, behind) = rest.split_at(span::token(rest));
            match behind {
                [b':', behind @ ..] if !name.is_empty() && fields.len() < most => {
                    let (line, [b'\r', b'\n', behind @ ..]) = behind.split_at(span::field_value(behind))
                    else {
                        return Ok(None);
                    };
                    if fields.is_empty() {
                        // As much room for spans as the head takes: one allocation for a head of any kind, and later none.
                        fields.reserve(most.min(input.len() / size_of::<Field>()));
                    }
                    let value = trim_value(line);
                    framing.note(name, value);
                    fields.push(Field {
                        name: offset(input, name),
                        name_end: offset(input, name) + name.len() as u32,
                        value: offset(input, value),
                        value_end: offset(input, value) + value.len() as u32,
                    });
                    rest = behind;
                }
                [b'\r', b'\n', behind @ ..] if name.is_empty() => {
                    rest = behind;
                    break;
                }
                _ => return Ok(None),
            }
        }
        let len = input.len() - rest.len();
        if len > max_head_bytes(limits) || start_len > limits.request_line_bytes {
            return Ok(None);
        }

        self.headers.complete(&input[..len - 2], start_len);
        (self.form, self.authority, self.path, self.framing) = Default::default();
        self.method = match line.method {
            b"GET" => Method::GET,
            b"POST" => Method::POST,
            other => Method::from_bytes(other).map_err(|_| RemoteError::InvalidMethod)?,
        };
        self.version = line.version;
        self.set_target(line.target)?;
        self.framing = framing.decide(&self.method)?;
        Ok(Some(len))
    }

    fn set_target(&mut self, target: &[u8]) -> Result<(), RemoteError> {
        // Copied first and checked where it has come to lie: at the beginning of a piece of memory that is several times as fast.
        let mut bytes = std::mem::take(&mut self.target).into_bytes();
        bytes.clear();
        bytes.extend_from_slice(target);
        self.target = String::from_utf8(bytes).map_err(|_| RemoteError::InvalidTarget)?;
        let parts = Parts::of(&self.method, target)?;
        let place = |Range { start, end }| (start as u32, end as u32);
        (self.form, self.authority, self.path) = (parts.form, place(parts.authority), place(parts.path));
        Ok(())
    }
}

/// The first line of a head whose every byte is right.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    /// The line, and what follows it.
    #[inline]
    fn parse(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (method, rest) = input.split_at(span::token(input));
        let [b' ', rest @ ..] = rest else { return None };
        let (target, rest) = rest.split_at(span::target(rest));
        let (protocol, rest) = rest.split_first_chunk::<8>()?;
        let [minor @ b'0'..=b'9', b'\r', b'\n', rest @ ..] = rest else { return None };
        // Higher minor versions are served as the highest we know (RFC 9110 §6.2).
        let version = if *minor == b'0' { Version::HTTP_10 } else { Version::HTTP_11 };
        let is_right = protocol == b" HTTP/1." && !method.is_empty() && !target.is_empty();
        is_right.then_some((Self { method, target, version }, rest))
    }
}

/// A value without the blanks around it (RFC 9110 §5.6.3). Nearly all have one before and no more.
#[inline]
fn trim_value(line: &[u8]) -> &[u8] {
    let value = if let [b' ', value @ ..] = line { value } else { line };
    match value {
        [..=b' ', ..] | [.., ..=b' '] => trim_ows(value), // no other byte below a blank is in a value but TAB
        value => value,
    }
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

    pub(crate) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<HeadStep, RemoteError> {
        let skipped = if self.scan.is_fresh() { self.skip_empty_lines(input, limits)? } else { 0 };
        let rest = &input[skipped..];
        let unfinished = HeadStep { consumed: skipped, is_complete: false };
        if rest.is_empty() || rest == b"\r" {
            return Ok(unfinished);
        }
        if self.scan.is_fresh()
            && let Some(len) = head.parse(rest, limits)?
        {
            return Ok(HeadStep { consumed: skipped + len, is_complete: true });
        }
        head.clear();
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
