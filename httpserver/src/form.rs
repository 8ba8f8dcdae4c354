//! A form that has arrived whole, and what can be wrong with a body.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;

use crate::arguments::Arguments;
use crate::headers::Headers;
use crate::http1::grammar::list;
use crate::media_type::essence;
use crate::multipart::{self, Event, MultipartError, Parser, PartHead};

/// What a form may have at most. [`HttpOptions::form`](crate::HttpOptions::form) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormLimits {
    /// Fields of `application/x-www-form-urlencoded`. Beyond it: 413. Default 1000 (HU18). A query needs no such bound: it has
    /// [`request_line_bytes`](crate::http1::Limits::request_line_bytes).
    pub fields: usize,
    /// Parts of `multipart/form-data`.
    #[doc(alias = "set_parse_body_config")]
    pub multipart: multipart::Limits,
}

impl Default for FormLimits {
    fn default() -> FormLimits {
        FormLimits { fields: 1000, multipart: multipart::Limits::default() }
    }
}

/// The fields and files of a form: Tornado's `body_arguments` and `files`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Form {
    /// The fields, in the order they came.
    pub arguments: Arguments,
    /// The files, in the order they came; several may have one name (HU32).
    pub files: Vec<UploadedFile>,
}

/// A file within a form: Tornado's `HTTPFile`.
#[derive(Clone, PartialEq, Eq)]
#[doc(alias = "HTTPFile")]
pub struct UploadedFile {
    head: PartHead,
    body: Bytes,
}

impl UploadedFile {
    /// What the file's part says of itself: name of the field, name on the client, content type.
    #[must_use]
    pub fn head(&self) -> &PartHead {
        &self.head
    }

    /// The name of the form's field.
    #[must_use]
    pub fn name(&self) -> &str {
        self.head.name()
    }

    /// The name that the file had on the client, **not a path to write to**.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.head.file_name().unwrap_or_default()
    }

    /// The content type that the client gives, `application/unknown` if it gives none.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.head.content_type()
    }

    /// What is in the file: a part of the request's body, not a copy of it.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Debug for UploadedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UploadedFile");
        debug
            .field("name", &self.name())
            .field("file_name", &self.file_name())
            .field("bytes", &self.body.len());
        debug.finish_non_exhaustive()
    }
}

impl Form {
    /// Reads the form in a body, by its content type (HU27): of another type than the two of forms, or without one, there is
    /// nothing in it.
    ///
    /// # Errors
    ///
    /// [`BodyError::WrongType`] if there are two Content-Type fields, [`BodyError::Encoded`] if there is a Content-Encoding,
    /// [`BodyError::TooManyFields`], [`BodyError::Multipart`].
    #[doc(alias = "parse_body_arguments")]
    pub fn parse(headers: &Headers, body: &Bytes, limits: &FormLimits) -> Result<Form, BodyError> {
        let content_type = sole_content_type(headers)?;
        let kind = essence(content_type);
        let is_urlencoded = kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        let is_multipart = kind.eq_ignore_ascii_case(b"multipart/form-data");
        if !is_multipart && (body.is_empty() || !is_urlencoded) {
            return Ok(Form::default());
        }
        check_encoding(headers)?;
        if is_urlencoded {
            let arguments = Arguments::parse_at_most(body, limits.fields)?;
            return Ok(Form { arguments, files: Vec::new() });
        }
        Ok(Form::parse_multipart(content_type, body, &limits.multipart)?)
    }

    fn parse_multipart(
        content_type: &[u8],
        body: &Bytes,
        limits: &multipart::Limits,
    ) -> Result<Form, MultipartError> {
        let mut form = Form::default();
        let mut parser = Parser::new(content_type, limits)?;
        let mut at = 0;
        let mut part = None;
        loop {
            at += match parser.advance(&body[at..])? {
                Event::Part { consumed, head } => {
                    part = Some((head, at + consumed..at + consumed));
                    consumed
                }
                Event::Data { range, consumed } => {
                    if let Some((_, data)) = &mut part {
                        data.end = at + range.end;
                    }
                    consumed
                }
                Event::PartEnd { consumed } => {
                    if let Some((head, data)) = part.take() {
                        form.add(*head, body.slice(data));
                    }
                    consumed
                }
                Event::NeedMore { .. } => return Err(MultipartError::Truncated),
                Event::End => return Ok(form),
            };
        }
    }

    fn add(&mut self, head: PartHead, body: Bytes) {
        if head.is_file() {
            self.files.push(UploadedFile { head, body });
        } else {
            self.arguments.add(head.name(), &body);
        }
    }

    /// The first file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&UploadedFile> {
        self.files.iter().find(|file| file.name() == name)
    }
}

/// The content type, empty if there is none. Of two, a firewall in front may have gone by the other one.
pub(crate) fn sole_content_type(headers: &Headers) -> Result<&[u8], BodyError> {
    match headers.contains("content-type") {
        true => headers.sole("content-type").ok_or(BodyError::WrongType),
        false => Ok(b""),
    }
}

/// A coded body is not what its type says: parsing it as that would read garbage, or what an attacker hid in it.
pub(crate) fn check_encoding(headers: &Headers) -> Result<(), BodyError> {
    let mut codings = headers.get_list("content-encoding").flat_map(list).filter(|coding| !coding.is_empty());
    if codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
        Ok(())
    } else {
        Err(BodyError::Encoded)
    }
}

/// What is wrong with the content of a request's body: Tornado's `HTTPInputError` of form parsing (HU38).
///
/// A handler may pass it on with `?`: the client gets the [`status`](BodyError::status) and the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It has not arrived: the handler streams. [`Exchange::read_body`](crate::Exchange::read_body) reads it. The only fault
    /// here that is the handler's own.
    #[error("the body has not been read")]
    NotRead,
    /// It has a Content-Encoding that is not undone here.
    #[error("unsupported content encoding")]
    Encoded,
    /// It is not of the type that was asked for, or has two.
    #[error("unsupported content type")]
    WrongType,
    /// More fields than [`FormLimits::fields`].
    #[error("too many form fields")]
    TooManyFields,
    /// It is a malformed or too large multipart body.
    #[error("{0}")]
    Multipart(#[from] MultipartError),
    /// It, or a part of it, is larger than the handler allows.
    #[error("content larger than {limit} bytes")]
    TooLarge {
        /// What the handler allows.
        limit: u64,
    },
    /// It is no JSON, or not what was asked for.
    #[cfg(feature = "json")]
    #[error("invalid JSON at line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is not what its Content-Encoding says: corrupt, cut short, or with something behind its end.
    #[cfg(feature = "gzip")]
    #[error("content is not encoded as it says")]
    CorruptEncoding,
    /// Decoded it becomes larger than [`HttpOptions::max_inflation`](crate::HttpOptions::max_inflation) allows: a bomb.
    #[cfg(feature = "gzip")]
    #[error("content grows to more than {times} times its size")]
    InflatesTooMuch {
        /// What is allowed.
        times: u64,
    },
    /// It is not text in UTF-8.
    #[error("content is not UTF-8")]
    NotUtf8,
}

impl BodyError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::NotRead => StatusCode::INTERNAL_SERVER_ERROR,
            BodyError::Encoded | BodyError::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::TooManyFields | BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            #[cfg(feature = "gzip")]
            BodyError::InflatesTooMuch { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Multipart(error) => error.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether every byte of it is good, and only what they say is not what was asked for.
    pub(crate) fn is_about_meaning(&self) -> bool {
        match self {
            BodyError::NotRead => false,
            #[cfg(feature = "gzip")]
            BodyError::CorruptEncoding | BodyError::InflatesTooMuch { .. } => false,
            _ => true,
        }
    }

    /// A short name that stays the same, for counting by reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            BodyError::NotRead => "body_not_read",
            BodyError::Encoded => "content_encoding",
            BodyError::WrongType => "content_type",
            BodyError::TooManyFields => "too_many_form_fields",
            BodyError::Multipart(_) => "invalid_multipart",
            BodyError::TooLarge { .. } => "content_too_large",
            #[cfg(feature = "json")]
            BodyError::Json { .. } => "invalid_json",
            #[cfg(feature = "gzip")]
            BodyError::CorruptEncoding => "corrupt_encoding",
            #[cfg(feature = "gzip")]
            BodyError::InflatesTooMuch { .. } => "inflates_too_much",
            BodyError::NotUtf8 => "not_utf8",
        }
    }
}
