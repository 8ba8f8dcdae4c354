//! The head of a part: its fields, its name, and whether it is a file.

use super::error::MultipartError;
use crate::arguments::{Plus, percent_decode};
use crate::headers::Headers;
use crate::media_type::{essence, parameters};

/// What a part says of itself before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHead {
    headers: Headers,
    name: String,
    file_name: Option<String>,
}

impl PartHead {
    /// The name of the form's field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that the file had on the client, if this is a file (HU32): never empty, and **not a path to write to**. A field
    /// with an empty file name is none: browsers send that where no file was chosen.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// Whether this is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_name.is_some()
    }

    /// The content type that the client gives, `application/unknown` if it gives none (HU32).
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.headers.text("content-type").unwrap_or("application/unknown")
    }

    /// All fields of the head.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Reads the lines of a head, each ended by CRLF, without the blank one.
    pub(super) fn parse(lines: &[u8]) -> Result<PartHead, MultipartError> {
        let lines = str::from_utf8(lines).map_err(|_| MultipartError::NotUtf8)?;
        let mut headers = Headers::new();
        for line in lines.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').ok_or(MultipartError::InvalidPartHead)?;
            headers.add(name, value).map_err(|_| MultipartError::InvalidPartHead)?;
        }
        let (name, file_name) = names(sole_disposition(&headers).ok_or(MultipartError::InvalidDisposition)?)?;
        Ok(PartHead { headers, name, file_name })
    }
}

fn sole_disposition(headers: &Headers) -> Option<&[u8]> {
    let mut dispositions = headers.get_list("content-disposition");
    let disposition = dispositions.next().filter(|it| essence(it).eq_ignore_ascii_case(b"form-data"))?;
    dispositions.next().is_none().then_some(disposition)
}

/// The name, and the file name if there is one; `filename*` goes before `filename` (HU33).
fn names(disposition: &[u8]) -> Result<(String, Option<String>), MultipartError> {
    let (mut name, mut file_name, mut extended) = (None, None, None);
    for parameter in parameters(disposition) {
        let (given, value) = parameter.map_err(|_| MultipartError::InvalidDisposition)?;
        let (slot, value) = if given.eq_ignore_ascii_case(b"name") {
            (&mut name, value)
        } else if given.eq_ignore_ascii_case(b"filename") {
            (&mut file_name, value)
        } else if given.eq_ignore_ascii_case(b"filename*") {
            (&mut extended, extended_value(&value).ok_or(MultipartError::InvalidDisposition)?)
        } else {
            continue;
        };
        // Two of one name: somebody would go by the other one.
        if slot.replace(value).is_some() {
            return Err(MultipartError::InvalidDisposition);
        }
    }
    // What was cut out of UTF-8 at ASCII bytes is UTF-8; an extended value may be anything.
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| MultipartError::NotUtf8);
    let name = text(name.ok_or(MultipartError::MissingName)?)?;
    let file_name = extended.or(file_name).map(text).transpose()?;
    Ok((name, file_name.filter(|name| !name.is_empty())))
}

/// `charset'language'percent-encoded` of RFC 8187, in the two charsets that it and its predecessor ask for, as UTF-8.
fn extended_value(value: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let mut decoded = Vec::new();
    percent_decode(text, Plus::IsPlus, &mut decoded);
    if charset.eq_ignore_ascii_case(b"utf-8") {
        Some(decoded)
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(decoded.into_iter().map(char::from).collect::<String>().into_bytes())
    } else {
        None
    }
}
