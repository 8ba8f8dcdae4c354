//! Looks at each byte of an unfinished head once, and refuses the first that cannot be right.
//!
//! The usual head arrives whole and is parsed at once (`head.rs`). This automaton is for all others: a head that arrives in
//! pieces is never parsed from its beginning again, however small the pieces, and a fault is named the same way whether
//! its head came whole or not.
//!
//! ```text
//!   Method ──SP──> Target ──SP──> Protocol ──> Major ──> Dot ──> Minor ──> LineCr ──CR──> LineLf ──LF─┐
//!   ┌─────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   └> FieldStart ──token──> Name ──":"──> Value ──CR──> ValueLf ──LF──> FieldStart
//!          └──CR──> EndLf ──LF──> the head is complete
//! ```

use super::error::RemoteError;
use super::grammar::{is_field_value_byte, is_target_byte, is_token_byte};
use super::limits::Limits;
use crate::headers::Headers;

/// How far an unfinished head, or trailer section, has been looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    position: u32,
    fields: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    MethodStart,
    Method,
    TargetStart,
    Target,
    /// This many bytes of `HTTP/` have been seen.
    Protocol(u8),
    Major,
    Dot {
        served: bool,
    },
    Minor {
        served: bool,
    },
    LineCr,
    LineLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    EndLf,
}

/// What bounds a scan, and what going beyond is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    line: usize,
    bytes: (usize, RemoteError),
    fields: (usize, RemoteError),
}

impl Bounds {
    pub(crate) fn head(limits: &Limits) -> Self {
        Self {
            line: limits.request_line_bytes,
            bytes: (max_head_bytes(limits), RemoteError::HeadTooLarge),
            fields: (max_fields(limits), RemoteError::TooManyFields),
        }
    }

    pub(crate) fn trailers(limits: &Limits) -> Self {
        Self {
            line: 0,
            bytes: (limits.trailer_bytes.min(Headers::MAX_BYTES), RemoteError::TrailersTooLarge),
            fields: (limits.trailer_fields.min(Limits::MAX_FIELDS), RemoteError::TrailersTooLarge),
        }
    }
}

/// The bound on a head that is in force.
pub(crate) fn max_head_bytes(limits: &Limits) -> usize {
    limits.head_bytes.min(Headers::MAX_BYTES)
}

/// The bound on the number of fields that is in force.
pub(crate) fn max_fields(limits: &Limits) -> usize {
    limits.fields.min(Limits::MAX_FIELDS)
}

impl Scan {
    pub(crate) const fn head() -> Self {
        Self { position: 0, fields: 0, state: State::MethodStart }
    }

    pub(crate) const fn trailers() -> Self {
        Self { position: 0, fields: 0, state: State::FieldStart }
    }

    /// Whether no byte has been looked at.
    pub(crate) fn is_fresh(self) -> bool {
        self.position == 0
    }

    /// Goes on where it stopped. `input` begins where it began before; the answer is the length of the head with its blank
    /// line, or `None` if that has not arrived.
    pub(crate) fn advance(&mut self, input: &[u8], bounds: &Bounds) -> Result<Option<usize>, RemoteError> {
        let new = input.get(self.position as usize..).unwrap_or_default();
        for &byte in new {
            #[cfg(test)]
            counters::SCANNED.with(|count| count.set(count.get() + 1));
            if self.position as usize >= bounds.bytes.0 {
                return Err(bounds.bytes.1);
            }
            if self.state.is_in_request_line() && self.position as usize >= bounds.line {
                let is_target = !matches!(self.state, State::MethodStart | State::Method);
                return Err(if is_target {
                    RemoteError::RequestLineTooLong
                } else {
                    RemoteError::MethodTooLong
                });
            }
            self.position += 1;
            let (before, after) = (self.state, self.state.step(byte)?);
            self.state = after;
            if before == State::ValueLf {
                self.fields += 1;
                if usize::from(self.fields) > bounds.fields.0 {
                    return Err(bounds.fields.1);
                }
            }
            if before == State::EndLf {
                return Ok(Some(self.position as usize));
            }
        }
        Ok(None)
    }
}

impl State {
    fn is_in_request_line(self) -> bool {
        !matches!(self, Self::FieldStart | Self::Name | Self::Value | Self::ValueLf | Self::EndLf)
    }

    fn step(self, byte: u8) -> Result<Self, RemoteError> {
        use RemoteError as E;
        Ok(match (self, byte) {
            (Self::MethodStart | Self::Method, _) if is_token_byte(byte) => Self::Method,
            (Self::Method, b' ') => Self::TargetStart,
            (Self::MethodStart | Self::Method, _) => return Err(E::InvalidMethod),

            (Self::TargetStart | Self::Target, _) if is_target_byte(byte) => Self::Target,
            (Self::Target, b' ') => Self::Protocol(0),
            (Self::TargetStart | Self::Target, _) => return Err(E::InvalidTarget),

            (Self::Protocol(4), b'/') => Self::Major,
            (Self::Protocol(at @ 0..=3), _) if byte == b"HTTP"[usize::from(at)] => Self::Protocol(at + 1),
            (Self::Major, b'0'..=b'9') => Self::Dot { served: byte == b'1' },
            (Self::Dot { served }, b'.') => Self::Minor { served },
            (Self::Minor { served: true }, b'0'..=b'9') => Self::LineCr,
            (Self::Minor { served: false }, b'0'..=b'9') => return Err(E::UnsupportedVersion),
            (Self::Protocol(_) | Self::Major | Self::Dot { .. } | Self::Minor { .. }, _) => {
                return Err(E::InvalidVersion);
            }

            (Self::LineCr, b'\r') => Self::LineLf,
            (Self::LineCr, b'\n') => return Err(E::BareLf),
            (Self::LineCr, _) => return Err(E::InvalidVersion),

            (Self::FieldStart, b'\r') => Self::EndLf,
            (Self::FieldStart, b'\n') => return Err(E::BareLf),
            (Self::FieldStart, b' ' | b'\t') => return Err(E::FoldedField),
            (Self::FieldStart | Self::Name, _) if is_token_byte(byte) => Self::Name,
            (Self::Name, b':') => Self::Value,
            (Self::FieldStart | Self::Name, _) => return Err(E::InvalidFieldName),

            (Self::Value, b'\r') => Self::ValueLf,
            (Self::Value, b'\n') => return Err(E::BareLf),
            (Self::Value, _) if is_field_value_byte(byte) => Self::Value,
            (Self::Value, _) => return Err(E::InvalidFieldValue),

            (Self::LineLf | Self::ValueLf | Self::EndLf, b'\n') => Self::FieldStart,
            (Self::LineLf | Self::ValueLf | Self::EndLf, _) => return Err(E::BareCr),
        })
    }
}

#[cfg(test)]
pub(crate) mod counters {
    use std::cell::Cell;
    thread_local! {
        /// Bytes that the automaton looked at.
        pub(crate) static SCANNED: Cell<usize> = const { Cell::new(0) };
        /// Heads that were parsed, or tried to be.
        pub(crate) static PARSED: Cell<usize> = const { Cell::new(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Limits, Received, RequestHead};
    use super::counters::{PARSED, SCANNED};

    /// Reads a head in pieces of this size; gives how often it was parsed and how many bytes the automaton saw.
    fn work(input: &[u8], piece: usize) -> (usize, usize) {
        PARSED.set(0);
        SCANNED.set(0);
        let (mut connection, mut head) = (Connection::new(), RequestHead::new());
        let ends = (piece..input.len()).step_by(piece).chain([input.len()]);
        let last =
            ends.map(|end| connection.receive_head(&input[..end], &Limits::default(), &mut head)).last();
        assert_eq!(last, Some(Ok(Received::Head { consumed: input.len() })));
        (PARSED.get(), SCANNED.get())
    }

    fn head(len: usize) -> Vec<u8> {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.resize(len - 4, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        head
    }

    #[test]
    fn a_whole_head_is_parsed_once_and_never_scanned() {
        assert_eq!(work(&head(60_000), 60_000), (1, 0));
    }

    #[test]
    fn a_dribbled_head_is_scanned_once_and_parsed_twice() {
        for len in [100, 60_000] {
            assert_eq!(work(&head(len), 1), (2, len), "{len} bytes");
        }
    }

    #[test]
    fn a_head_in_large_pieces_is_scanned_once_and_parsed_twice() {
        assert_eq!(work(&head(60_000), 1_448), (2, 60_000));
    }

    #[test]
    fn what_begins_no_head_leaves_nothing_of_the_one_before() {
        for input in ["\r", "\rX", "\r\n\r\n", "\n", "G"] {
            let (mut connection, mut head) = (Connection::new(), RequestHead::new());
            let before = b"PUT /before HTTP/1.1\r\nHost: a\r\n\r\n";
            connection.receive_head(before, &Limits::default(), &mut head).expect("a good head");
            assert_eq!(head.target(), "/before");
            let _ = Connection::new().receive_head(input.as_bytes(), &Limits::default(), &mut head);
            assert_eq!(
                (head.target(), head.method().as_str(), head.headers().len()),
                ("", "GET", 0),
                "{input:?}"
            );
        }
    }

    #[test]
    fn dribbled_trailers_are_scanned_once() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let trailers = [b"X: ".to_vec(), vec![b'y'; 8_000], b"\r\n\r\n".to_vec()].concat();
        let (mut connection, limits) = (Connection::new(), Limits::default());
        connection.receive_head(request, &limits, &mut RequestHead::new()).expect("a good head");
        connection.receive_body(b"0\r\n", &limits).expect("the last chunk");
        SCANNED.set(0);
        for end in 1..=trailers.len() {
            connection.receive_body(&trailers[..end], &limits).expect("good trailers");
        }
        assert_eq!(SCANNED.get(), trailers.len());
        assert!(connection.trailers().is_some_and(|trailers| trailers.len() == 1));
    }
}
