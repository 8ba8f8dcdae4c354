//! Header fields: a case-insensitive multi-map that keeps wire order and spelling.
//!
//! One byte buffer holds the field lines exactly as they stand on the wire, and a span per field points into it:
//!
//! ```text
//!   bytes   GET / HTTP/1.1\r\n Host: example.org\r\n Accept:*/*\r\n
//!           └── start line ──┘ └name┘ └──value──┘    └name┘└value┘
//! ```
//!
//! A request's head is copied here once, whatever the number of its fields; a response's fields are appended in wire
//! form. Either way "write all fields" is one copy of bytes. Nothing is allocated per field.

use std::borrow::Cow;
use std::fmt;

use crate::http1::grammar::{is_field_value, is_token, trim_ows};

/// Header fields, in the order and spelling of the wire.
///
/// Names compare without regard to case. Values are bytes: [RFC 9110 §5.5] allows `0x80..=0xFF`. Whatever is stored has
/// been validated, so a field can be written without being looked at again: there is no way in that skips the check.
///
/// Unlike Tornado's `HTTPHeaders`, [`len`](Self::len) counts field lines rather than distinct names, and neither the
/// order nor the spelling is lost.
///
/// ```
/// use httpserver::Headers;
///
/// let mut headers = Headers::new();
/// headers.add("Vary", "accept")?;
/// headers.add("vary", "cookie")?;
/// assert_eq!(headers.get("VARY"), Some(&b"accept"[..]));
/// assert_eq!(headers.as_bytes(), b"Vary: accept\r\nvary: cookie\r\n");
/// # Ok::<(), httpserver::HeaderError>(())
/// ```
///
/// [RFC 9110 §5.5]: https://www.rfc-editor.org/rfc/rfc9110#section-5.5
#[doc(alias = "HTTPHeaders")]
#[derive(Clone, Default)]
pub struct Headers {
    /// A start line (`start` bytes, may be none), then one line per field, contiguous and in order.
    bytes: Vec<u8>,
    fields: Vec<Field>,
    start: u32,
}

/// Where one field stands in the buffer. Its line begins at `name` and ends where the next one begins.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: u32,
    pub(crate) name_end: u32,
    pub(crate) value: u32,
    pub(crate) value_end: u32,
}

impl Headers {
    /// The most bytes that all fields may take together, in wire form.
    pub const MAX_BYTES: usize = 16 << 20;

    /// No fields, no allocation.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), fields: Vec::new(), start: 0 }
    }

    /// Fields from `(name, value)` pairs.
    ///
    /// `FromIterator` and `Extend` are not implemented because they cannot refuse a bad field.
    ///
    /// # Errors
    /// As [`add`](Self::add), for the first bad pair.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, HeaderError>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut headers = Self::new();
        headers.try_extend(pairs)?;
        Ok(headers)
    }

    /// Adds pairs in order; those before the first bad one stay.
    ///
    /// # Errors
    /// As [`add`](Self::add), for the first bad pair.
    #[doc(alias = "update")]
    pub fn try_extend<N, V>(&mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Result<(), HeaderError>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        pairs.into_iter().try_for_each(|(name, value)| self.add(name.as_ref(), value))
    }

    /// Adds a field and keeps those of the same name. Blanks around the value are left out.
    ///
    /// # Errors
    /// [`HeaderError::InvalidName`] unless the name is a token, [`HeaderError::InvalidValue`] for a control byte other
    /// than TAB, [`HeaderError::TooLarge`] beyond [`MAX_BYTES`](Self::MAX_BYTES). Nothing is changed then.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeaderError> {
        let value = trim_ows(value.as_ref());
        check(name, value)?;
        self.push(name.as_bytes(), value)
    }

    /// Sets a field: all of the same name go, the new one stands last.
    ///
    /// # Errors
    /// As [`add`](Self::add); nothing is changed then.
    #[doc(alias = "__setitem__")]
    pub fn insert(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeaderError> {
        let value = trim_ows(value.as_ref());
        check(name, value)?;
        let replaced = self.lines().filter(|(other, ..)| other.eq_ignore_ascii_case(name.as_bytes()));
        let replaced: usize = replaced.map(|(.., line)| line.len()).sum();
        if self.bytes.len() - replaced + line_len(name.as_bytes(), value) > Self::MAX_BYTES {
            return Err(HeaderError::TooLarge);
        }
        self.remove(name);
        self.push(name.as_bytes(), value)
    }

    /// Adds all fields of `other` in their order.
    ///
    /// # Errors
    /// [`HeaderError::TooLarge`]; nothing is changed then.
    pub fn append(&mut self, other: &Self) -> Result<(), HeaderError> {
        let lines = other.as_bytes();
        if self.bytes.len() + lines.len() > Self::MAX_BYTES {
            return Err(HeaderError::TooLarge);
        }
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(lines);
        self.fields.extend(other.fields.iter().map(|field| field.moved(other.start, base)));
        Ok(())
    }

    /// Removes all fields of this name and says how many there were.
    #[doc(alias = "__delitem__")]
    pub fn remove(&mut self, name: &str) -> usize {
        let Some(first) = self.fields.iter().position(|field| self.is_named(field, name)) else { return 0 };
        let before = self.fields.len();
        let (mut kept, mut end) = (first, self.fields[first].name);
        for index in first..before {
            let field = self.fields[index];
            if self.is_named(&field, name) {
                continue;
            }
            // Lines only move towards the front, over bytes that are already done with.
            let line_end = self.fields.get(index + 1).map_or(self.bytes.len(), |next| next.name as usize);
            self.bytes.copy_within(field.name as usize..line_end, end as usize);
            self.fields[kept] = field.moved(field.name, end);
            end += line_end as u32 - field.name;
            kept += 1;
        }
        self.bytes.truncate(end as usize);
        self.fields.truncate(kept);
        before - kept
    }

    /// The value of this name if there is one and no second: of two, others may go by the other one.
    pub(crate) fn sole(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.get_list(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_list(name).next()
    }

    /// The first value of this name as text; `None` also if it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All values of this name, in wire order, apart.
    pub fn get_list<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields.iter().filter(move |field| self.is_named(field, name)).map(|field| self.value(field))
    }

    /// All values of this name joined by commas, as Tornado's `headers[name]` gives them.
    ///
    /// Borrowed if there is but one. Not for `Set-Cookie`, whose values contain commas (RFC 9110 §5.3).
    #[doc(alias = "__getitem__")]
    pub fn joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.fields.iter().filter(|field| self.is_named(field, name));
        let mut joined = Cow::Borrowed(self.value(values.next()?));
        for field in values {
            let text = joined.to_mut();
            text.push(b',');
            text.extend_from_slice(self.value(field));
        }
        Some(joined)
    }

    /// Whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The number of field lines; repeated names count each time.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields as `(name, value)`, in wire order and spelling.
    #[doc(alias = "get_all")]
    pub fn iter(&self) -> Iter<'_> {
        Iter { headers: self, fields: self.fields.iter() }
    }

    /// All field lines in wire form, each ended by CRLF, without the blank line.
    #[doc(alias = "__str__")]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }

    /// Removes all fields and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.start = 0;
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Gives back memory beyond `bytes`, for a head that is kept for reuse after an unusually large one.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.shrink_to(bytes);
        self.fields.shrink_to(bytes / size_of::<Field>());
    }

    /// Begins to take a head: gives the place for where its fields are, as they are found good.
    pub(crate) fn begin(&mut self) -> &mut Vec<Field> {
        self.clear();
        &mut self.fields
    }

    /// Ends that: `head` is a start line of `start` bytes and the lines of the fields that have been found.
    pub(crate) fn complete(&mut self, head: &[u8], start: usize) {
        self.bytes.extend_from_slice(head);
        self.start = start as u32;
    }

    /// Each field as name, value and its whole line with CRLF.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
        self.fields.iter().enumerate().map(|(index, field)| {
            let end = self.fields.get(index + 1).map_or(self.bytes.len(), |next| next.name as usize);
            (self.name(field), self.value(field), &self.bytes[field.name as usize..end])
        })
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeaderError> {
        let at = self.bytes.len();
        let line = line_len(name, value);
        if at + line > Self::MAX_BYTES {
            return Err(HeaderError::TooLarge);
        }
        self.bytes.reserve(line);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        let (name_end, value_end) = (at + name.len(), self.bytes.len() - 2);
        self.fields.push(Field {
            name: at as u32,
            name_end: name_end as u32,
            value: name_end as u32 + 2,
            value_end: value_end as u32,
        });
        Ok(())
    }

    fn name(&self, field: &Field) -> &[u8] {
        &self.bytes[field.name as usize..field.name_end as usize]
    }

    fn value(&self, field: &Field) -> &[u8] {
        &self.bytes[field.value as usize..field.value_end as usize]
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        self.name(field).eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Field {
    fn moved(self, from: u32, to: u32) -> Self {
        let shift = |at: u32| at - from + to;
        Self {
            name: shift(self.name),
            name_end: shift(self.name_end),
            value: shift(self.value),
            value_end: shift(self.value_end),
        }
    }
}

/// The fields of a [`Headers`], in wire order.
pub struct Iter<'a> {
    headers: &'a Headers,
    fields: std::slice::Iter<'a, Field>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.fields.next()?;
        // A name is a token, hence ASCII.
        Some((str::from_utf8(self.headers.name(field)).unwrap_or_default(), self.headers.value(field)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Copies from the `http` crate's map, for those who come with one.
impl TryFrom<&http::HeaderMap> for Headers {
    type Error = HeaderError;

    fn try_from(map: &http::HeaderMap) -> Result<Self, HeaderError> {
        Self::from_pairs(map.iter())
    }
}

/// Equal when the same fields stand in the same order; names compare without regard to case.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other).all(|((a, x), (b, y))| a.eq_ignore_ascii_case(b) && x == y)
    }
}

impl Eq for Headers {}

/// Safe for logs: bytes are escaped and credentials are left out.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
        let mut map = f.debug_map();
        for (name, value) in self {
            if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
                map.entry(&name, &format_args!("(not shown)"));
            } else {
                map.entry(&name, &format_args!("\"{}\"", value.escape_ascii()));
            }
        }
        map.finish()
    }
}

/// Why a field was not taken.
#[doc(alias = "HTTPInputError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is empty or has a byte that is not a token character (RFC 9110 §5.1).
    #[error("invalid field name")]
    InvalidName,
    /// The value has CR, LF, NUL or another control byte than TAB (RFC 9110 §5.5).
    #[error("invalid field value")]
    InvalidValue,
    /// All fields together would exceed [`Headers::MAX_BYTES`].
    #[error("too many bytes of fields")]
    TooLarge,
}

fn check(name: &str, value: &[u8]) -> Result<(), HeaderError> {
    if !is_token(name.as_bytes()) {
        Err(HeaderError::InvalidName)
    } else if !is_field_value(value) {
        Err(HeaderError::InvalidValue)
    } else {
        Ok(())
    }
}

fn line_len(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + ": \r\n".len()
}
