//! The two halves of an exchange as states, and the one table that says what their ends mean.

use super::chunked::Chunked;
use super::error::RemoteError;
use super::head::HeadReader;
use super::scan::Scan;

/// What the peer is sending.
#[derive(Debug)]
pub(crate) enum Receiving {
    /// A head, or nothing yet.
    Head(HeadReader),
    /// A body of known length, of which so much is missing.
    Known(u64),
    /// A body in chunks.
    Chunked(Chunked),
    /// The trailer section after the last chunk.
    Trailers(Scan),
    /// Nothing: its request is complete.
    Done,
    /// Whatever: we stopped listening, for this reason.
    Refused(RemoteError),
}

/// What we are sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Nothing: no request to respond to.
    Idle,
    /// A request is there, its response has not begun. 1xx may go out.
    Head,
    /// A body of known length, of which so much is missing.
    Known { declared: u64, remaining: u64 },
    /// A body in chunks.
    Chunked,
    /// A body that ends with the connection.
    UntilClose,
    /// A body that the peer does not want, because it asked HEAD.
    Omitted,
    /// No body: the status has none.
    Empty,
    /// Nothing any more.
    Done,
    /// Nothing any more, though what was announced is not complete.
    Failed,
}

/// Where an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, or has not begun.
    InProgress,
    /// Both sides are done and the next request may be read.
    KeepAlive,
    /// Nothing more may be read or written. If request bytes may still be under way, linger before closing.
    Close,
    /// The protocol was switched (101) or a tunnel opened (2xx to CONNECT): all further bytes belong to it.
    Switched,
}

/// The table in the documentation of `http1`.
pub(crate) fn outcome(receiving: &Receiving, sending: Sending, closes: bool, switches: bool) -> Outcome {
    match (receiving, sending) {
        (Receiving::Refused(_), _) | (_, Sending::Failed) => Outcome::Close,
        (Receiving::Done, Sending::Done) if switches => Outcome::Switched,
        (Receiving::Done, Sending::Done) if closes => Outcome::Close,
        (Receiving::Done, Sending::Done) => Outcome::KeepAlive,
        // A tunnel or a new protocol begins where the request ends; any other early response ends the connection.
        (_, Sending::Done) if switches => Outcome::InProgress,
        (_, Sending::Done) => Outcome::Close,
        _ => Outcome::InProgress,
    }
}
