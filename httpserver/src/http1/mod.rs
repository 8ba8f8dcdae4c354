//! The HTTP/1.1 protocol core: bytes in, events out; events in, bytes out. No socket, no clock, no task.
//!
//! [`Connection`] is the server side of one connection. It reads requests as strictly as RFC 9112 allows: whatever two parties
//! could understand differently is refused and the connection closed.
//!
//! ```
//! use httpserver::http1::{Ambient, Connection, Limits, Outcome, Received, RequestHead, ResponseHead, ResponseLength};
//!
//! let (mut connection, mut head, mut out) = (Connection::new(), RequestHead::new(), Vec::new());
//! let input = b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n";
//! let received = connection.receive_head(input, &Limits::default(), &mut head)?;
//! assert_eq!(received, Received::Head { consumed: input.len() });
//! assert_eq!(head.path(), "/hello");
//!
//! let response = ResponseHead::new(http::StatusCode::OK).length(ResponseLength::Known(3));
//! connection.send_head(&response, &Ambient::default(), &mut out)?;
//! connection.send_data(b"hi\n", &mut out)?;
//! connection.finish(None, &mut out)?;
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
//! assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # States
//!
//! ```text
//!   receiving                                     sending
//!
//!   Head <───────────────────┐                    Idle <───────────────┐
//!    │ receive_head          │                     │ a head arrived    │
//!    ├──no body──────┐       │                    Head ──send_error────┤
//!    v               │       │                     │ send_head         │
//!   Known, Chunked   │       │                     v                   │
//!    │  └> Trailers  │       │ start_next_        Known, Chunked,      │ start_next_
//!    v       v       v       │ request            UntilClose, Omitted, │ request
//!   Done ────────────────────┘                    Empty                │
//!                                                  │ finish            │
//!   any ──a RemoteError──> Refused                 v                   │
//!                                                 Done ────────────────┘
//!                                                 any ──abort, wrong length──> Failed
//!
//!   outcome        sending: Idle … Empty     Done                              Failed
//!   Head … Trailers         InProgress       Close (InProgress if switching)   Close
//!   Done                    InProgress       KeepAlive, Close or Switched      Close
//!   Refused                 Close            Close                             Close
//! ```
//!
//! # Cost
//!
//! A request that arrives whole is parsed in one pass and copied once; its response is a handful of copies into a buffer. After
//! warm-up neither allocates, whatever the number of fields. A [`Connection`] takes 80 bytes.
//!
//! # Files
//!
//! | What comes in | What goes out | Both |
//! |---|---|---|
//! | `connection`: the public face | `sending`: the public face | `state`: the table above |
//! | `head`: a whole head, by the `span`s of its bytes; `scan`: one in pieces | `response`: what frames a body | `error`, `limits` |
//! | `target`, `host`: what and who is asked | `encode`: bytes | `grammar`: tokens and lists |
//! | `framing`: where the body ends | `ambient`: Server and Date | `trailers` |
//! | `chunked`: its chunks | `raw`: heads encoded by the application | |

mod ambient;
mod chunked;
mod connection;
mod encode;
mod error;
mod framing;
pub(crate) mod grammar;
mod head;
mod host;
mod limits;
mod raw;
mod response;
mod scan;
mod sending;
mod span;
mod state;
mod target;
mod trailers;

pub use ambient::Ambient;
pub use connection::{BodyEvent, Connection, Received};
pub use error::{LocalError, RemoteError};
pub use framing::{BodyLength, Framing};
pub use head::RequestHead;
pub use limits::Limits;
pub use raw::RawHead;
pub(crate) use response::check_content_type;
pub use response::{ResponseHead, ResponseLength};
pub use sending::DataFrame;
pub use state::Outcome;
pub use target::TargetForm;
