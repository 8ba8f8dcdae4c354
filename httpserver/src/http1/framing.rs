//! Where a request's body ends, and all else that its fields decide about the connection.

use http::{Method, Version};

use super::error::RemoteError;
use super::grammar::{is_keyword, is_token, list};
use super::host::is_authority;

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is no body.
    #[default]
    Empty,
    /// So many bytes, at least one.
    Known(u64),
    /// Chunks, until an empty one.
    Chunked,
}

/// What the head of a request says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Framing {
    /// How the end of the body is found.
    pub body: BodyLength,
    /// Whether the peer wants to go on after this request.
    pub keep_alive: bool,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the peer offers to switch protocols (RFC 9110 §7.8). Only then may the response be a 101.
    pub upgrade: bool,
}

/// What the fields of one head say of its framing, noted one after the other while they are read.
pub(crate) struct FramingFields<'a> {
    is_11: bool,
    length: Option<(&'a [u8], u64)>,
    coding: Option<Coding>,
    host: Option<&'a [u8]>,
    options: Options,
    expects_continue: bool,
    offers_upgrade: bool,
    /// The first thing that was wrong; what comes behind it is not looked at.
    error: Option<RemoteError>,
}

impl<'a> FramingFields<'a> {
    pub(crate) fn of(version: Version) -> Self {
        Self {
            is_11: version == Version::HTTP_11,
            length: None,
            coding: None,
            host: None,
            options: Options::default(),
            expects_continue: false,
            offers_upgrade: false,
            error: None,
        }
    }

    /// Whether a name of this length that begins like this may mean something here: that tells nearly all others apart.
    #[inline(always)]
    pub(crate) fn may_mean(name_len: u32, first: u8) -> bool {
        let name = (name_len, first | 0x20);
        matches!(name, (4, b'h') | (6, b'e') | (7, b'u') | (10 | 14, b'c') | (17, b't'))
    }

    /// Takes the next field into account.
    #[inline(always)]
    pub(crate) fn note(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 => self.note_host(name, value),
            10 => self.note_connection(name, value),
            _ => self.note_rare(name, value),
        }
    }

    #[inline(always)]
    fn note_host(&mut self, name: &[u8], value: &'a [u8]) {
        if is_keyword(name, b"host") && self.host.replace(value).is_some() {
            self.error.get_or_insert(RemoteError::InvalidHost);
        }
    }

    #[inline(never)]
    fn note_connection(&mut self, name: &[u8], value: &[u8]) {
        if is_keyword(name, b"connection") {
            self.options.note(value);
        }
    }

    #[inline(never)]
    fn note_rare(&mut self, name: &[u8], value: &'a [u8]) {
        let noted = match name.len() {
            6 if is_keyword(name, b"expect") && self.is_11 => self.note_expectation(value),
            7 if is_keyword(name, b"upgrade") => {
                self.offers_upgrade = true;
                return;
            }
            14 if is_keyword(name, b"content-length") => {
                one_length(self.length, value).map(|length| self.length = Some(length))
            }
            17 if is_keyword(name, b"transfer-encoding") => {
                one_coding(self.coding, value).map(|coding| self.coding = Some(coding))
            }
            _ => return,
        };
        if let Err(error) = noted {
            self.error.get_or_insert(error);
        }
    }

    fn note_expectation(&mut self, value: &[u8]) -> Result<(), RemoteError> {
        for expectation in list(value).filter(|expectation| !expectation.is_empty()) {
            if !is_keyword(expectation, b"100-continue") {
                return Err(RemoteError::UnknownExpectation);
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    /// Decides from *all* fields; whatever two parties could read differently is refused.
    pub(crate) fn decide(&self, method: &Method, known_host: &mut KnownHost) -> Result<Framing, RemoteError> {
        let Self { is_11, length, coding, options, .. } = *self;
        if let Some(error) = self.error {
            return Err(error);
        }
        match self.host {
            None if is_11 => return Err(RemoteError::MissingHost),
            Some(host) if host != known_host.as_bytes() => known_host.learn(host)?,
            _ => {}
        }
        let body = match (length, coding) {
            (Some(_), Some(_)) => return Err(RemoteError::ConflictingFraming),
            (None, Some(_)) if !is_11 => return Err(RemoteError::InvalidTransferEncoding),
            (None, Some(Coding::Chunked)) => BodyLength::Chunked,
            // 501 SHOULD be the answer to an unknown coding, but 400 MUST be where `chunked` is not the last (RFC 9112 §6.3, rule 4).
            (None, Some(Coding::Unknown)) => return Err(RemoteError::InvalidTransferEncoding),
            (None, Some(Coding::UnknownThenChunked)) => return Err(RemoteError::UnknownTransferCoding),
            (Some((_, 0)), None) | (None, None) => BodyLength::Empty,
            (Some((_, bytes)), None) => BodyLength::Known(bytes),
        };
        if body != BodyLength::Empty && *method == Method::CONNECT {
            return Err(RemoteError::ContentInConnect);
        }
        // An HTTP/1.0 request that may have a body but does not say so once meant "until I close".
        let is_delimited = || length.is_some() || matches!(*method, Method::GET | Method::HEAD);
        Ok(Framing {
            body,
            keep_alive: !options.close && (is_11 || options.keep_alive && is_delimited()),
            expects_continue: self.expects_continue && body != BodyLength::Empty,
            upgrade: is_11 && self.offers_upgrade && options.upgrade,
        })
    }
}

/// A host that was good: peers name the same again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownHost {
    /// Longer ones are rare, and are checked each time.
    bytes: [u8; 63],
    len: u8,
}

impl KnownHost {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Checks another one.
    #[cold]
    #[inline(never)]
    fn learn(&mut self, host: &[u8]) -> Result<(), RemoteError> {
        if !host.is_empty() && !is_authority(host) {
            return Err(RemoteError::InvalidHost);
        }
        if let Some(bytes) = self.bytes.get_mut(..host.len()) {
            bytes.copy_from_slice(host);
            self.len = host.len() as u8;
        }
        Ok(())
    }
}

impl Default for KnownHost {
    fn default() -> Self {
        Self { bytes: [0; 63], len: 0 }
    }
}

/// The connection options that mean something to us (RFC 9110 §7.6.1).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Options {
    /// Takes a Connection field into account.
    pub(crate) fn note(&mut self, value: &[u8]) {
        // What nearly all say; the list below would find it too, in four times as many instructions.
        if is_keyword(value, b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        self.note_list(value);
    }

    #[inline(never)]
    fn note_list(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= is_keyword(option, b"close");
            self.keep_alive |= is_keyword(option, b"keep-alive");
            self.upgrade |= is_keyword(option, b"upgrade");
        }
    }
}

/// One length from all Content-Length fields: repeats must be equal as text (RFC 9112 §6.3, rule 5), so `3, 03` is refused.
fn one_length<'a>(earlier: Option<(&'a [u8], u64)>, value: &'a [u8]) -> Result<(&'a [u8], u64), RemoteError> {
    let mut length = earlier;
    for text in list(value) {
        length = match length {
            Some((first, _)) if first != text => return Err(RemoteError::InvalidContentLength),
            Some(same) => Some(same),
            None => Some((text, decimal(text)?)),
        };
    }
    // A list has at least one element, be it empty; an empty one is no number.
    length.ok_or(RemoteError::InvalidContentLength)
}

/// Digits and nothing else. What cannot be counted is larger than any limit.
pub(crate) fn decimal(text: &[u8]) -> Result<u64, RemoteError> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(RemoteError::InvalidContentLength);
    }
    text.iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(RemoteError::BodyTooLarge)
}

/// What the transfer codings come down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown,
    UnknownThenChunked,
}

/// `chunked` once and last (RFC 9112 §6.1); others before it are well-formed but unknown to us.
fn one_coding(earlier: Option<Coding>, value: &[u8]) -> Result<Coding, RemoteError> {
    let mut coding = earlier;
    for element in list(value) {
        let name = element.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
        if !is_token(name) {
            return Err(RemoteError::InvalidTransferEncoding);
        }
        let is_chunked = is_keyword(name, b"chunked");
        coding = match (coding, is_chunked) {
            // Nothing may follow it, and it has no parameters.
            (Some(Coding::Chunked | Coding::UnknownThenChunked), _) => {
                return Err(RemoteError::InvalidTransferEncoding);
            }
            (_, true) if name.len() != element.len() => return Err(RemoteError::InvalidTransferEncoding),
            (None, true) => Some(Coding::Chunked),
            (Some(Coding::Unknown), true) => Some(Coding::UnknownThenChunked),
            (_, false) => Some(Coding::Unknown),
        };
    }
    coding.ok_or(RemoteError::InvalidTransferEncoding)
}
