//! What a response head is to say, and how its body is to be framed.

use http::StatusCode;

use super::error::LocalError;
use super::framing::{Options, decimal};
use super::grammar::{is_field_value, is_keyword};
use super::state::Sending;
use crate::headers::{HeaderError, Headers};

/// How long the body of a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseLength {
    /// So many bytes.
    Known(u64),
    /// Not known yet: chunks, or the end of the connection for HTTP/1.0. A Content-Length field of the application makes it known.
    Streamed,
}

/// The head of a response, borrowed from whoever sends it.
///
/// ```
/// use httpserver::http1::{ResponseHead, ResponseLength};
///
/// let head = ResponseHead::new(http::StatusCode::OK)
///     .content_type("text/plain; charset=utf-8")
///     .length(ResponseLength::Known(5));
/// ```
#[derive(Debug, Clone, Copy)]
#[doc(alias = "ResponseStartLine")]
pub struct ResponseHead<'a> {
    pub(crate) status: StatusCode,
    pub(crate) reason: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) headers: &'a Headers,
    pub(crate) length: ResponseLength,
}

static NO_HEADERS: Headers = Headers::new();

impl<'a> ResponseHead<'a> {
    /// This status, no fields, a streamed body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: None,
            content_type: None,
            headers: &NO_HEADERS,
            length: ResponseLength::Streamed,
        }
    }

    /// Another reason phrase than the status's own.
    pub fn reason(mut self, reason: &'a str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// A Content-Type, for responses that need no other field. One among the [`headers`](Self::headers) goes before it.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// The fields. They are sent as they are, but for what frames the message and manages the connection.
    pub fn headers(mut self, headers: &'a Headers) -> Self {
        self.headers = headers;
        self
    }

    /// The length of the body; for HEAD and 304, of the body that is left out.
    pub fn length(mut self, length: ResponseLength) -> Self {
        self.length = length;
        self
    }
}

/// What the application's fields say about what we decide.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) content_length: Option<u64>,
    pub(crate) options: Options,
    pub(crate) has_connection: bool,
    pub(crate) has_content_type: bool,
    pub(crate) has_date: bool,
    pub(crate) has_server: bool,
    pub(crate) has_upgrade: bool,
}

impl Survey {
    pub(crate) fn of(head: &ResponseHead<'_>) -> Result<Self, LocalError> {
        if !head.reason.is_none_or(|text| is_field_value(text.as_bytes())) {
            return Err(LocalError::InvalidReason);
        }
        check_content_type(head.content_type)?;
        let mut survey = Self::default();
        for (name, value, _) in head.headers.lines() {
            survey.note(name, value)?;
        }
        Ok(survey)
    }

    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), LocalError> {
        match name.len() {
            4 if is_keyword(name, b"date") => self.has_date = true,
            6 if is_keyword(name, b"server") => self.has_server = true,
            7 if is_keyword(name, b"upgrade") => self.has_upgrade = true,
            10 if is_keyword(name, b"connection") => {
                self.has_connection = true;
                self.options.note(value);
            }
            12 if is_keyword(name, b"content-type") => self.has_content_type = true,
            14 if is_keyword(name, b"content-length") => {
                let length = decimal(value).map_err(|_| LocalError::InvalidContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(LocalError::InvalidContentLength);
                }
            }
            17 if is_keyword(name, b"transfer-encoding") => {
                return Err(LocalError::FramingNotAllowed);
            }
            _ => {}
        }
        Ok(())
    }
}

#[inline]
pub(crate) fn check_content_type(content_type: Option<&str>) -> Result<(), LocalError> {
    match content_type {
        Some(text) if !is_field_value(text.as_bytes()) => Err(HeaderError::InvalidValue.into()),
        _ => Ok(()),
    }
}

/// What was asked, as far as it decides how to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) is_http_11: bool,
    pub(crate) is_head: bool,
    pub(crate) is_connect: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) upgrade: bool,
    /// As nearly all requests do: for an answer and no more, by HTTP/1.1.
    pub(crate) is_plain: bool,
}

impl Asked {
    pub(crate) const NONE: Self = Self {
        is_http_11: false,
        is_head: false,
        is_connect: false,
        keep_alive: false,
        expects_continue: false,
        upgrade: false,
        is_plain: false,
    };
}

/// How a body is framed: what the head says of it, and what has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) framing: FramingField,
    pub(crate) body: Sending,
    pub(crate) switches: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FramingField {
    None,
    ContentLength(u64),
    Chunked,
}

/// Frames a final response (RFC 9112 §6.3, RFC 9110 §8.6). Where a status has no content, a Content-Length of zero is left out.
pub(crate) fn plan(
    status: StatusCode,
    length: ResponseLength,
    asked: Asked,
    survey: &Survey,
) -> Result<Plan, LocalError> {
    let is_left_out = asked.is_head || status == StatusCode::NOT_MODIFIED;
    let length = known_length(length, survey.content_length, is_left_out)?;
    let empty = Plan { framing: FramingField::None, body: Sending::Empty, switches: false };
    let switch = Plan { switches: true, ..empty };
    let is_tunnel = asked.is_connect && status.is_success();
    match status.as_u16() {
        101 | 204 | 205 if length.is_some_and(|bytes| bytes > 0) => Err(LocalError::BodyNotAllowed),
        _ if is_tunnel && length.is_some_and(|bytes| bytes > 0) => Err(LocalError::BodyNotAllowed),
        _ if is_tunnel => Ok(switch),
        101 if asked.is_http_11 && asked.upgrade && survey.has_upgrade => Ok(switch),
        101 => Err(LocalError::UpgradeNotOffered),
        100..=199 => Err(LocalError::InvalidStatus),
        204 => Ok(empty),
        205 => Ok(Plan { framing: FramingField::ContentLength(0), ..empty }),
        // "0" would describe the body that a 200 would have had.
        304 if survey.content_length.is_none() && length == Some(0) => Ok(empty),
        304 => Ok(Plan { framing: length.map_or(FramingField::None, FramingField::ContentLength), ..empty }),
        _ => Ok(match length {
            _ if asked.is_head => Plan {
                framing: length.map_or(FramingField::None, FramingField::ContentLength),
                body: Sending::Omitted,
                switches: false,
            },
            Some(bytes) => Plan {
                framing: FramingField::ContentLength(bytes),
                body: Sending::Known { declared: bytes, remaining: bytes },
                switches: false,
            },
            None if asked.is_http_11 => {
                Plan { framing: FramingField::Chunked, body: Sending::Chunked, switches: false }
            }
            None => Plan { framing: FramingField::None, body: Sending::UntilClose, switches: false },
        }),
    }
}

fn known_length(
    length: ResponseLength,
    field: Option<u64>,
    is_left_out: bool,
) -> Result<Option<u64>, LocalError> {
    match (length, field) {
        // Who does not make a body that is left out says how long it would have been by the field alone.
        (ResponseLength::Known(0), Some(field)) if is_left_out => Ok(Some(field)),
        (ResponseLength::Known(body), Some(field)) if field != body => {
            Err(LocalError::LengthMismatch { field, body })
        }
        (ResponseLength::Known(bytes), _) => Ok(Some(bytes)),
        (ResponseLength::Streamed, field) => Ok(field),
    }
}
