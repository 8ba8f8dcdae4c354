//! `multipart/form-data` (RFC 7578), piece by piece: bytes in, events out. No socket, no clock, no task.
//!
//! [`Parser`] is fed what has arrived and says what it has found. It holds no bytes: whoever drives it drops what was
//! `consumed` and gives the rest again, with more behind it. Each byte is looked at a bounded number of times, however the
//! body is cut, and nothing is kept beyond the head of one part.
//!
//! ```
//! use httpserver::multipart::{Event, Limits, Parser};
//!
//! let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n--b--\r\n";
//! let mut parser = Parser::new(b"multipart/form-data; boundary=b", &Limits::default())?;
//! let (mut rest, mut value) = (&body[..], Vec::new());
//! loop {
//!     match parser.advance(rest)? {
//!         Event::Part { consumed, head } => {
//!             assert_eq!(head.name(), "a");
//!             rest = &rest[consumed..];
//!         }
//!         Event::Data { range, consumed } => {
//!             value.extend_from_slice(&rest[range]);
//!             rest = &rest[consumed..];
//!         }
//!         Event::PartEnd { consumed } => rest = &rest[consumed..],
//!         Event::NeedMore { .. } => panic!("the body ends too early"),
//!         Event::End => break,
//!     }
//! }
//! assert_eq!(value, b"hello");
//! # Ok::<(), httpserver::multipart::MultipartError>(())
//! ```
//!
//! ```text
//!             --boundary            CRLF CRLF               CRLF --boundary
//!  Preamble ──────────────▶ Head ──────────────▶ Data ─────────────────────┐
//!                             ▲                                            ▼
//!                             └────────────── CRLF ──────────────────── Boundary ── -- ──▶ Epilogue
//! ```

mod error;
mod limits;
mod parser;
mod part;

pub use error::MultipartError;
pub use limits::Limits;
pub use parser::{Event, Parser};
pub use part::PartHead;
