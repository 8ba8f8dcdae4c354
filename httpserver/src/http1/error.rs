//! Path 3, step 6 (ARCHITECTURE): what went wrong, on whose side, and the status that says so on the wire (408 among them).

use http::StatusCode;

use crate::headers::HeaderError;

/// The peer broke the protocol or a limit. The connection cannot go on: answer with
/// [`send_error`](super::Connection::send_error) if nothing was answered yet, then close.
#[doc(alias = "HTTPInputError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A line feed without carriage return in a head, chunk line or trailer. RFC 9112 §2.2 would let us take it as a line end;
    /// what two parsers end differently can be smuggled.
    #[error("line feed without carriage return")]
    BareLf,
    /// A carriage return that no line feed follows (RFC 9112 §2.2).
    #[error("carriage return without line feed")]
    BareCr,
    /// More than [`Limits::empty_lines`](super::Limits::empty_lines) before the request line.
    #[error("too many empty lines before the request")]
    TooManyEmptyLines,
    /// The method is not a token followed by one blank (RFC 9112 §3).
    #[error("invalid method")]
    InvalidMethod,
    /// The method does not fit within [`Limits::request_line_bytes`](super::Limits::request_line_bytes) (RFC 9112 §3).
    #[error("method too long")]
    MethodTooLong,
    /// The request target has none of the four forms of RFC 9112 §3.2, or not the one that goes with the method.
    #[error("invalid request target")]
    InvalidTarget,
    /// No `HTTP/d.d` where it should be (RFC 9112 §2.3).
    #[error("invalid HTTP version")]
    InvalidVersion,
    /// Another major version than 1 (RFC 9110 §15.6.6).
    #[error("unsupported HTTP version")]
    UnsupportedVersion,
    /// A field name is empty, not a token, or not directly followed by a colon (RFC 9112 §5.1).
    #[error("invalid field name")]
    InvalidFieldName,
    /// A control byte in a field value (RFC 9110 §5.5).
    #[error("invalid field value")]
    InvalidFieldValue,
    /// A line begins with a blank: obsolete folding (RFC 9112 §5.2) or a blank line that is not empty.
    #[error("folded field line")]
    FoldedField,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    #[error("missing Host")]
    MissingHost,
    /// Several Host fields, or one that is not `uri-host [":" port]` (RFC 9110 §7.2).
    #[error("invalid Host")]
    InvalidHost,
    /// Content-Length is not a number, or several that differ (RFC 9112 §6.3).
    #[error("invalid Content-Length")]
    InvalidContentLength,
    /// Transfer-Encoding is malformed, repeats `chunked`, does not end with it, or comes with HTTP/1.0 (RFC 9112 §6.1).
    #[error("invalid Transfer-Encoding")]
    InvalidTransferEncoding,
    /// Transfer-Encoding and Content-Length in one request (RFC 9112 §6.1).
    #[error("both Transfer-Encoding and Content-Length")]
    ConflictingFraming,
    /// A transfer coding before `chunked` that we do not know (RFC 9112 §6.1).
    #[error("unknown transfer coding")]
    UnknownTransferCoding,
    /// Content in a CONNECT request, which has none: others take it for the first bytes of the tunnel (RFC 9110 §9.3.6).
    #[error("content in a CONNECT request")]
    ContentInConnect,
    /// CONNECT to a handler that opens no tunnels: it answers with success and a body, as it does to all other methods (RFC 9110
    /// §15.6.2). Found by the driver.
    #[error("tunnels are not supported")]
    TunnelNotSupported,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    #[error("unknown expectation")]
    UnknownExpectation,
    /// A chunk size that is not hexadecimal or too large to count (RFC 9112 §7.1).
    #[error("invalid chunk size")]
    InvalidChunkSize,
    /// A malformed chunk extension (RFC 9112 §7.1.1).
    #[error("invalid chunk extension")]
    InvalidChunkExtension,
    /// Chunk data is not followed by CRLF (RFC 9112 §7.1).
    #[error("chunk data not followed by a line end")]
    InvalidChunkEnd,
    /// More than [`Limits::chunk_line_bytes`](super::Limits::chunk_line_bytes).
    #[error("chunk line too long")]
    ChunkLineTooLong,
    /// More than [`Limits::chunk_extension_bytes`](super::Limits::chunk_extension_bytes).
    #[error("too many chunk extensions")]
    ChunkExtensionsTooLarge,
    /// A trailer field that would change framing, routing or the meaning of the body (RFC 9110 §6.5.1).
    #[error("field not allowed in trailers")]
    ForbiddenTrailer,
    /// The peer ended its side within a request.
    #[error("request cut short")]
    Truncated,
    /// The head did not arrive in time. Found by the driver: there is no clock here.
    #[error("timeout while reading the request head")]
    HeadTimeout,
    /// The body did not arrive in time, or too slowly. Found by the driver.
    #[error("timeout while reading the request body")]
    BodyTimeout,
    /// More than [`Limits::body_bytes`](super::Limits::body_bytes), announced or sent.
    #[error("request body too large")]
    BodyTooLarge,
    /// More than [`Limits::request_line_bytes`](super::Limits::request_line_bytes).
    #[error("request line too long")]
    RequestLineTooLong,
    /// More than [`Limits::head_bytes`](super::Limits::head_bytes).
    #[error("request head too large")]
    HeadTooLarge,
    /// More than [`Limits::fields`](super::Limits::fields).
    #[error("too many header fields")]
    TooManyFields,
    /// More than [`Limits::trailer_bytes`](super::Limits::trailer_bytes) or
    /// [`Limits::trailer_fields`](super::Limits::trailer_fields).
    #[error("trailer section too large")]
    TrailersTooLarge,
}

impl RemoteError {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::UnknownTransferCoding | Self::MethodTooLong | Self::TunnelNotSupported => {
                StatusCode::NOT_IMPLEMENTED
            }
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A short name that stays the same, for counting by reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::TooManyEmptyLines => "too_many_empty_lines",
            Self::InvalidMethod => "invalid_method",
            Self::MethodTooLong => "method_too_long",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidVersion => "invalid_version",
            Self::UnsupportedVersion => "unsupported_version",
            Self::InvalidFieldName => "invalid_field_name",
            Self::InvalidFieldValue => "invalid_field_value",
            Self::FoldedField => "folded_field",
            Self::MissingHost => "missing_host",
            Self::InvalidHost => "invalid_host",
            Self::InvalidContentLength => "invalid_content_length",
            Self::InvalidTransferEncoding => "invalid_transfer_encoding",
            Self::ConflictingFraming => "conflicting_framing",
            Self::UnknownTransferCoding => "unknown_transfer_coding",
            Self::ContentInConnect => "content_in_connect",
            Self::TunnelNotSupported => "tunnel_not_supported",
            Self::UnknownExpectation => "unknown_expectation",
            Self::InvalidChunkSize => "invalid_chunk_size",
            Self::InvalidChunkExtension => "invalid_chunk_extension",
            Self::InvalidChunkEnd => "invalid_chunk_end",
            Self::ChunkLineTooLong => "chunk_line_too_long",
            Self::ChunkExtensionsTooLarge => "chunk_extensions_too_large",
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::Truncated => "truncated",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::RequestLineTooLong => "request_line_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::TrailersTooLarge => "trailers_too_large",
        }
    }
}

/// We tried to send something that is not HTTP. Nothing wrong was written; after
/// [`TooMuchBody`](Self::TooMuchBody) and [`TooLittleBody`](Self::TooLittleBody) the connection must close, after all others
/// it is as it was before the call.
#[doc(alias = "HTTPOutputError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is no request to respond to.
    #[error("no request to respond to")]
    NoRequest,
    /// The head of the response has already been sent.
    #[error("response head already sent")]
    HeadAlreadySent,
    /// The head of the response has not been sent yet.
    #[error("response head not sent yet")]
    HeadNotSent,
    /// The response is already finished or was aborted.
    #[error("response already finished")]
    AlreadyFinished,
    /// Another status is wanted here: 1xx is not final, and what is not 1xx is not informational.
    #[error("status not allowed here")]
    InvalidStatus,
    /// The reason phrase has a control byte (RFC 9112 §4).
    #[error("invalid reason phrase")]
    InvalidReason,
    /// A 1xx response to HTTP/1.0, a second 100, or a 100 that the peer does not wait for (RFC 9110 §10.1.1, §15.2).
    #[error("informational response not allowed")]
    InformationalNotAllowed,
    /// 101 without an Upgrade field, or to a request that offered none (RFC 9110 §7.8).
    #[error("switching protocols was not offered or not answered")]
    UpgradeNotOffered,
    /// The application's Content-Length is no number, or there are several.
    #[error("invalid Content-Length in response")]
    InvalidContentLength,
    /// The application's Content-Length differs from the length of the body it gave.
    #[error("Content-Length is {field} but the body has {body} bytes")]
    LengthMismatch {
        /// What the field says.
        field: u64,
        /// What the body has.
        body: u64,
    },
    /// The application set Transfer-Encoding, or Content-Length in an informational response.
    #[error("framing is not the application's to set here")]
    FramingNotAllowed,
    /// A body with a status that has none: 1xx, 204, 205, 304 or 2xx to CONNECT.
    #[error("body not allowed with this status")]
    BodyNotAllowed,
    /// More body than announced. None of the last piece was written. The connection must close.
    #[error("body is longer than the announced {declared} bytes")]
    TooMuchBody {
        /// What was announced.
        declared: u64,
    },
    /// Less body than announced. The connection must close.
    #[error("body ends {missing} bytes before the announced length")]
    TooLittleBody {
        /// How many bytes are missing.
        missing: u64,
    },
    /// Trailers after a body of known length (RFC 9112 §7.1.2).
    #[error("trailers need a streamed body")]
    TrailersNotAllowed,
    /// A trailer field that would change framing, routing or the meaning of the body (RFC 9110 §6.5.1).
    #[error("field not allowed in trailers")]
    ForbiddenTrailer,
    /// A pre-encoded head that is not one.
    #[error("invalid pre-encoded response head")]
    InvalidHead,
    /// A pre-encoded head that is longer, or has more fields, than [`Limits`](super::Limits) allow.
    #[error("pre-encoded response head too large")]
    HeadTooLarge,
    /// A field that cannot be stored.
    #[error(transparent)]
    Header(#[from] HeaderError),
}
