//! Response heads that the application encoded itself, as the oldest Tornado programs do.
//!
//! ```text
//!   HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
//! ```
//!
//! Such a head is taken apart here and sent through [`send_head`](super::Connection::send_head), so that it gets the same
//! checks, the same Date and the same framing as all others.

use std::mem::MaybeUninit;

use http::StatusCode;

use super::error::LocalError;
use super::limits::Limits;
use super::scan::{max_fields, max_head_bytes};
use crate::headers::Headers;

/// A pre-encoded response head, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, if it is not empty.
    pub reason: Option<&'a str>,
    /// The fields.
    pub headers: Headers,
    /// The length of the head; what follows it is body.
    pub len: usize,
}

impl<'a> RawHead<'a> {
    /// Takes `bytes` apart; `None` means that the blank line has not come yet.
    ///
    /// Lines may end in LF. The version is not looked at: what goes out is HTTP/1.1.
    ///
    /// # Errors
    /// [`LocalError::InvalidHead`], or [`LocalError::HeadTooLarge`] beyond [`Limits::head_bytes`] or [`Limits::fields`].
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Option<Self>, LocalError> {
        let bound = max_head_bytes(limits);
        let mut places = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &bytes[..bytes.len().min(bound)],
            &mut places[..max_fields(limits)],
        );
        let len = match parsed {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < bound => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(LocalError::HeadTooLarge);
            }
            Err(_) => return Err(LocalError::InvalidHead),
        };
        let code = response.code.unwrap_or_default();
        Ok(Some(Self {
            status: StatusCode::from_u16(code).map_err(|_| LocalError::InvalidHead)?,
            reason: response.reason.filter(|reason| !reason.is_empty()),
            headers: Headers::from_pairs(response.headers.iter().map(|field| (field.name, field.value)))?,
            len,
        }))
    }
}
