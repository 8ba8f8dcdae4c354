//! What a form may have at most.

/// Bounds on the parts of a multipart body; the whole of it is bounded by
/// [`Limits::body_bytes`](crate::http1::Limits::body_bytes).
///
/// Tornado's `ParseMultipartConfig` (HU31). Zero parts refuse every multipart body: its `enabled=False`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Parts of one body. Beyond it: 413. Default 100, as in Tornado, which lets one fewer pass.
    #[doc(alias = "max_parts")]
    pub parts: usize,
    /// The head of a part with its blank line. Beyond it: 413. Default 10 KiB, as in Tornado.
    #[doc(alias = "max_part_header_size")]
    pub part_head_bytes: usize,
    /// A part that is no file. Beyond it: 413. Default 1 MiB: such parts are usually kept in memory.
    pub field_bytes: u64,
    /// A part that is a file. Beyond it: 413. Default: no bound but that of the whole body.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { parts: 100, part_head_bytes: 10 << 10, field_bytes: 1 << 20, file_bytes: u64::MAX }
    }
}
