//! What a peer may send at most.

/// Bounds on one request. Every one has a default and an error of its own; none can be switched off by accident.
///
/// ```
/// use httpserver::http1::Limits;
///
/// let mut limits = Limits::default();
/// limits.body_bytes = 1 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The whole head: request line, fields, blank line. Beyond it: 431. Default 64 KiB, as in Tornado; a proxy that
    /// adds a fat token to browser cookies stays below 20 KiB. At most [`Headers::MAX_BYTES`](crate::Headers::MAX_BYTES)
    /// has effect.
    #[doc(alias = "max_header_size")]
    pub head_bytes: usize,
    /// The request line with its CRLF. Beyond it: 414, or 501 if there is nothing but a method within it. Default 8 KiB (RFC 9112 §3 asks
    /// for at least 8000).
    pub request_line_bytes: usize,
    /// Field lines of a head. Beyond it: 431. Default 100, three times what browsers send behind two proxies. At most
    /// [`MAX_FIELDS`](Self::MAX_FIELDS) has effect.
    pub fields: usize,
    /// Empty lines before a request line. Beyond it: 400. Default 4; RFC 9112 §2.2 asks for at least one, for clients that
    /// send CRLF after a body.
    pub empty_lines: u8,
    /// The decoded body. Beyond it: 413. Default 100 MiB, as in Tornado. Handlers may change it for one request with
    /// [`Connection::set_max_body_size`](super::Connection::set_max_body_size).
    #[doc(alias = "max_body_size")]
    pub body_bytes: u64,
    /// A chunk-size line with extensions and CRLF. Beyond it: 400. Default 256 bytes; real ones have ten, signed uploads
    /// ninety.
    pub chunk_line_bytes: u16,
    /// All chunk extensions of one body. Beyond it: 400. Default 16 KiB. We ignore them, so whoever sends more is
    /// making us read for nothing (RFC 9112 §7.1.1).
    pub chunk_extension_bytes: u32,
    /// The trailer section with its blank line. Beyond it: 431. Default 8 KiB; it is buffered whole.
    pub trailer_bytes: usize,
    /// Field lines of a trailer section. Beyond it: 431. Default 32.
    pub trailer_fields: usize,
}

impl Limits {
    /// The most field lines that [`fields`](Self::fields) can allow.
    pub const MAX_FIELDS: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            request_line_bytes: 8 << 10,
            fields: 100,
            empty_lines: 4,
            body_bytes: 100 << 20,
            chunk_line_bytes: 256,
            chunk_extension_bytes: 16 << 10,
            trailer_bytes: 8 << 10,
            trailer_fields: 32,
        }
    }
}
