//! From bytes to a request head: httparse in one pass, then what it tolerates and we do not.
//!
//! httparse takes bare line feeds as line ends, obs-text in targets, and only the versions 1.0 and 1.1. It reads a head
//! from its beginning each time, so it is asked when a head is likely to be whole: with its first bytes, and then not
//! before `scan.rs` has seen the blank line.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;

use http::{Method, Version};

use super::error::RemoteError;
use super::framing::{Framing, decide};
use super::limits::Limits;
use super::scan::{Bounds, Scan, max_fields, max_head_bytes};
use super::target::{TargetForm, classify, path_start};
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
        let path = self.path_and_query().split('?').next().unwrap_or_default();
        if path.is_empty() && self.form == TargetForm::Absolute { "/" } else { path }
    }

    /// What stands behind the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
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

    /// Gives back memory beyond `bytes`, after an unusually large head.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.headers.shrink_to(bytes);
        self.target.shrink_to(bytes);
    }

    fn path_and_query(&self) -> &str {
        let target = self.target();
        &target[path_start(self.form, target.as_bytes())..]
    }

    /// Parses a whole head. `None` means that it is not whole or that something is wrong with its bytes: `scan.rs` knows what.
    /// An error means that its bytes are right and what they say is not.
    fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, RemoteError> {
        #[cfg(test)]
        super::scan::counters::PARSED.with(|count| count.set(count.get() + 1));
        let mut places = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(input, &mut places[..max_fields(limits)]);
        let Ok(httparse::Status::Complete(len)) = parsed else { return Ok(None) };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Ok(None);
        };
        let start_len = request.headers.first().map_or(len - 2, |field| offset(input, field.name.as_bytes()));
        let is_strict = len <= max_head_bytes(limits)
            && start_len <= limits.request_line_bytes
            && ends_with_crlf(input, len)
            && ends_with_crlf(input, len - 2)
            && request
                .headers
                .iter()
                .all(|field| ends_with_crlf(input, offset(input, field.name.as_bytes())));
        if !is_strict {
            return Ok(None);
        }

        let fields = request.headers.iter().map(|field| Field {
            name: offset(input, field.name.as_bytes()) as u32,
            name_end: end(input, field.name.as_bytes()),
            value: offset(input, field.value) as u32,
            value_end: end(input, field.value),
        });
        self.headers.fill(&input[..len - 2], start_len, fields);
        (self.form, self.authority, self.framing) = Default::default();
        self.target.clear();
        self.method = match method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => Method::from_bytes(method.as_bytes()).map_err(|_| RemoteError::InvalidMethod)?,
        };
        self.version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        self.target.push_str(target);
        let (form, authority) = classify(&self.method, target.as_bytes())?;
        self.form = form;
        self.authority = authority.map_or((0, 0), |Range { start, end }| (start as u32, end as u32));
        let fields = request.headers.iter().map(|field| (field.name.as_bytes(), field.value));
        self.framing = decide(&self.method, self.version, fields)?;
        Ok(Some(len))
    }

    /// Parses a head whose every byte has been found good.
    #[cold]
    fn parse_scanned(&mut self, input: &[u8], limits: &Limits) -> Result<(), RemoteError> {
        if self.parse(input, limits)?.is_some() {
            return Ok(());
        }
        // What is left is HTTP/1.2 and its kind, which RFC 9110 §6.2 wants treated as the highest minor version we know.
        let mut known = input.to_vec();
        if let Some(minor) = memchr::memchr(b'\r', input).and_then(|at| known.get_mut(at.checked_sub(1)?)) {
            *minor = b'1';
        }
        self.parse(&known, limits)?.map(|_| ()).ok_or(RemoteError::InvalidVersion)
    }
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
        head.parse_scanned(&rest[..len], limits)?;
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

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

fn end(whole: &[u8], part: &[u8]) -> u32 {
    (offset(whole, part) + part.len()) as u32
}

fn ends_with_crlf(input: &[u8], end: usize) -> bool {
    input[..end].ends_with(b"\r\n")
}
