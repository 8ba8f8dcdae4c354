//! What can be wrong with a multipart body.

use http::StatusCode;

/// The first fault of a multipart body; nothing behind it is looked at (HU30).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// The body is not `multipart/form-data`.
    #[error("not multipart/form-data")]
    NotMultipart,
    /// The content type names no boundary, or one that RFC 2046 §5.1.1 does not allow.
    #[error("missing or invalid multipart boundary")]
    InvalidBoundary,
    /// The boundary is followed by something else than a line end or two hyphens.
    #[error("malformed multipart boundary line")]
    InvalidBoundaryLine,
    /// The body ends without a final boundary.
    #[error("multipart body cut short")]
    Truncated,
    /// A part without header fields.
    #[error("multipart part without header fields")]
    MissingPartHead,
    /// A field of a part's head is malformed: its name is no token, its value has a control byte, or it is folded.
    #[error("invalid header field in multipart part")]
    InvalidPartHead,
    /// The head of a part is not UTF-8.
    #[error("multipart part head is not UTF-8")]
    NotUtf8,
    /// Content-Disposition is missing, repeated, malformed, or not `form-data`.
    #[error("missing or invalid content disposition in multipart part")]
    InvalidDisposition,
    /// Content-Disposition has no `name`.
    #[error("multipart part without a name")]
    MissingName,
    /// More than [`Limits::parts`](super::Limits::parts).
    #[error("too many multipart parts")]
    TooManyParts,
    /// More than [`Limits::part_head_bytes`](super::Limits::part_head_bytes).
    #[error("multipart part head too large")]
    PartHeadTooLarge,
    /// More than [`Limits::field_bytes`](super::Limits::field_bytes) or [`Limits::file_bytes`](super::Limits::file_bytes).
    #[error("multipart part too large")]
    PartTooLarge,
}

impl MultipartError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotMultipart => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyParts | Self::PartHeadTooLarge | Self::PartTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
