//! The fields of a query or of a form, decoded.

use std::fmt;

use crate::form::BodyError;

/// Fields by name, each a list of values in the order they came: Tornado's `query_arguments` and `body_arguments` (HU17).
///
/// Values are bytes, as they came out of the percent-encoding; names too, but they are asked for as text. A field without
/// `=` has an empty value, an escape that is none stays as it is, `+` is a blank, and `&` alone separates.
///
/// ```
/// use httpserver::Arguments;
///
/// let arguments = Arguments::parse("q=caf%C3%A9+noir&lang=fr&lang=en&empty=");
/// assert_eq!(arguments.text("q"), Some("café noir"));
/// assert_eq!(arguments.text("lang"), Some("en"), "the last one");
/// assert_eq!(arguments.get_list("lang").count(), 2);
/// assert_eq!(arguments.get("empty"), Some(&b""[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Names and values, one after the other.
    bytes: Vec<u8>,
    /// Where each name ends, and behind it its value. A field begins where the one before it ends.
    fields: Vec<Ends>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl Arguments {
    /// No fields, no allocation.
    #[must_use]
    pub const fn new() -> Arguments {
        Arguments { bytes: Vec::new(), fields: Vec::new() }
    }

    /// The fields of a query or of a form that is encoded like one. It is looked at once and copied once; how many fields there
    /// may be is bounded by the length of the text.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Arguments {
        let text = text.as_ref();
        let mut arguments = Arguments { bytes: Vec::with_capacity(text.len()), fields: Vec::new() };
        for field in fields_of(text) {
            arguments.decode(field);
        }
        arguments
    }

    /// As [`parse`](Self::parse), with at most so many fields (HU18).
    pub(crate) fn parse_at_most(text: &[u8], fields: usize) -> Result<Arguments, BodyError> {
        match fields_of(text).nth(fields) {
            Some(_) => Err(BodyError::TooManyFields),
            None => Ok(Arguments::parse(text)),
        }
    }

    fn decode(&mut self, field: &[u8]) {
        let (name, value) = match memchr::memchr(b'=', field) {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &field[..0]),
        };
        percent_decode(name, Plus::IsBlank, &mut self.bytes);
        let name = self.bytes.len();
        percent_decode(value, Plus::IsBlank, &mut self.bytes);
        self.fields.push(Ends { name, value: self.bytes.len() });
    }

    /// Adds a field behind the others.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(name.as_ref());
        let name = self.bytes.len();
        self.bytes.extend_from_slice(value.as_ref());
        self.fields.push(Ends { name, value: self.bytes.len() });
    }

    /// Adds all fields of `other` behind these.
    pub fn append(&mut self, other: &Arguments) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = |ends: &Ends| Ends { name: ends.name + base, value: ends.value + base };
        self.fields.extend(other.fields.iter().map(moved));
    }

    /// The last value of this name: what Tornado's `get_argument` gives, untrimmed.
    #[must_use]
    #[doc(alias = "get_argument")]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(given, _)| *given == name.as_bytes()).last().map(|(_, value)| value)
    }

    /// The last value of this name as text; `None` also if it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All values of this name, in the order they came.
    #[doc(alias = "get_arguments")]
    pub fn get_list<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(given, _)| *given == name.as_bytes()).map(|(_, value)| value)
    }

    /// All fields as `(name, value)`, in the order they came.
    #[doc(alias = "qs_to_qsl")]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().enumerate().map(|(index, ends)| {
            let start = index.checked_sub(1).map_or(0, |before| self.fields[before].value);
            (&self.bytes[start..ends.name], &self.bytes[ends.name..ends.value])
        })
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get_list(name).next().is_some()
    }

    /// The number of fields; repeated names count each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Names alone: values are the users' and may be secret.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (name, _) in self.iter() {
            list.entry(&format_args!("\"{}\"", name.escape_ascii()));
        }
        list.finish()
    }
}

fn fields_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'&').filter(|field| !field.is_empty())
}

/// What `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    IsBlank,
    IsPlus,
}

/// Appends `text` decoded. An escape without two hexadecimal digits stays as it is.
pub(crate) fn percent_decode(text: &[u8], plus: Plus, out: &mut Vec<u8>) {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return,
            [b'%', high, low, behind @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    behind
                }
                _ => {
                    out.push(b'%');
                    &rest[1..]
                }
            },
            [b'+', behind @ ..] if plus == Plus::IsBlank => {
                out.push(b' ');
                behind
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                behind
            }
        };
    }
}
