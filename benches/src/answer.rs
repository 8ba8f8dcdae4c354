//! Counts HTTP answers in a byte stream that may be cut anywhere, for less than the server spends on making them.
//!
//! The first answer is parsed; what it teaches (how long its head is, what frames its body) is the [`Shape`] that
//! all connections of a load share. An answer that begins with `HTTP/1.1 200` and whose head ends where the learned
//! one ends is then stepped over by length. Anything else is parsed, so a refusal in between is seen and counted.

use std::num::ParseIntError;

use memchr::{memchr, memmem};

/// What every good answer begins with.
const GOOD: &[u8] = b"HTTP/1.1 200";
/// A server whose head is longer than this is not answering the request it was sent.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 64;
/// `FFFFFFFFFFFFFFFF` and some room for extensions.
const MAX_CHUNK_LINE: usize = 256;

/// What answers to the one request look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes up to and including the blank line.
    pub head: usize,
    /// What ends the body.
    pub framing: Framing,
}

/// What ends the body of an answer (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What one call of [`AnswerReader::feed`] completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Whole answers, the refused ones included.
    pub whole: u32,
    /// Whole answers with another status than 200.
    pub refused: u32,
    /// Body bytes (framing not counted) of the answers that began or went on in this piece, as far as announced.
    pub body_bytes: u64,
}

/// Why the bytes are not answers to what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The head does not parse.
    #[error("not an HTTP/1.1 answer: {0}")]
    Malformed(#[from] httparse::Error),
    /// The head does not end within 16 KiB.
    #[error("the head of an answer is longer than {MAX_HEAD} bytes")]
    HeadTooLong,
    /// Neither Content-Length nor chunked: only the end of the connection would end it.
    #[error("an answer has neither Content-Length nor chunked framing")]
    NoLength,
    /// A Content-Length or chunk size that is no number.
    #[error("a length is not a number: {0}")]
    BadLength(#[from] ParseIntError),
    /// A chunk-size line that does not end.
    #[error("a chunk-size line is longer than {MAX_CHUNK_LINE} bytes")]
    ChunkLineTooLong,
}

/// The place of one connection within its stream of answers.
#[derive(Debug, Default)]
pub struct AnswerReader {
    state: State,
    /// The start of a head or of a chunk-size line that the last piece cut; empty almost always.
    cut: Vec<u8>,
    refused: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body {
        left: u64,
    },
    ChunkLine,
    /// The chunk's data and the CRLF behind it.
    ChunkData {
        left: u64,
    },
    Trailers,
}

impl AnswerReader {
    /// Takes the next piece of the stream and says how many answers it completed.
    ///
    /// # Errors
    /// When the bytes cannot be answers; the connection is of no further use then.
    pub fn feed(&mut self, shape: &mut Option<Shape>, mut piece: &[u8]) -> Result<Answers, AnswerError> {
        let mut answers = Answers::default();
        while !piece.is_empty() {
            match self.state {
                State::Head => self.head(shape, &mut piece, &mut answers)?,
                State::Body { left } => {
                    let left = skip(left, &mut piece);
                    self.body(left, &mut answers);
                }
                State::ChunkLine => self.chunk_line(&mut piece, &mut answers)?,
                State::ChunkData { left } => {
                    let left = skip(left, &mut piece);
                    self.state = if left == 0 { State::ChunkLine } else { State::ChunkData { left } };
                }
                State::Trailers => self.trailers(&mut piece, &mut answers)?,
            }
        }
        Ok(answers)
    }

    fn head(
        &mut self,
        shape: &mut Option<Shape>,
        piece: &mut &[u8],
        answers: &mut Answers,
    ) -> Result<(), AnswerError> {
        if self.cut.is_empty()
            && let Some(known) = *shape
            && looks_like(piece, known)
        {
            *piece = &piece[known.head..];
            self.begin_body(known.framing, answers);
            return Ok(());
        }
        let Some(head) = take_through(&mut self.cut, piece, b"\r\n\r\n", MAX_HEAD) else {
            return if self.cut.len() > MAX_HEAD { Err(AnswerError::HeadTooLong) } else { Ok(()) };
        };
        let (status, framing) = parse_head(&head)?;
        self.refused = status != 200;
        if !self.refused {
            *shape = Some(Shape { head: head.len(), framing });
        }
        self.begin_body(framing, answers);
        Ok(())
    }

    fn begin_body(&mut self, framing: Framing, answers: &mut Answers) {
        match framing {
            Framing::Length(length) => {
                answers.body_bytes += length;
                self.body(length, answers);
            }
            Framing::Chunked => self.state = State::ChunkLine,
        }
    }

    fn body(&mut self, left: u64, answers: &mut Answers) {
        if left == 0 { self.end(answers) } else { self.state = State::Body { left } }
    }

    fn chunk_line(&mut self, piece: &mut &[u8], answers: &mut Answers) -> Result<(), AnswerError> {
        let Some(line) = take_through(&mut self.cut, piece, b"\n", MAX_CHUNK_LINE) else {
            return if self.cut.len() > MAX_CHUNK_LINE { Err(AnswerError::ChunkLineTooLong) } else { Ok(()) };
        };
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let size = u64::from_str_radix(&String::from_utf8_lossy(&line[..digits]), 16)?;
        answers.body_bytes += size;
        self.state =
            if size == 0 { State::Trailers } else { State::ChunkData { left: size.saturating_add(2) } };
        Ok(())
    }

    fn trailers(&mut self, piece: &mut &[u8], answers: &mut Answers) -> Result<(), AnswerError> {
        let Some(line) = take_through(&mut self.cut, piece, b"\n", MAX_HEAD) else {
            return if self.cut.len() > MAX_HEAD { Err(AnswerError::HeadTooLong) } else { Ok(()) };
        };
        if line == b"\r\n" {
            self.end(answers);
        }
        Ok(())
    }

    fn end(&mut self, answers: &mut Answers) {
        answers.whole += 1;
        answers.refused += u32::from(self.refused);
        self.refused = false;
        self.state = State::Head;
    }
}

fn looks_like(piece: &[u8], known: Shape) -> bool {
    piece.starts_with(GOOD) && piece.get(known.head - 4..known.head).is_some_and(|end| end == b"\r\n\r\n")
}

fn skip(left: u64, piece: &mut &[u8]) -> u64 {
    let step = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
    *piece = &piece[step..];
    left - step as u64
}

/// Takes everything through `end`, joined with what was `cut` before. None: the piece is used up, `cut` has grown.
fn take_through(cut: &mut Vec<u8>, piece: &mut &[u8], end: &[u8], limit: usize) -> Option<Vec<u8>> {
    // The end itself may be cut, so the search starts within the bytes already held.
    let held = cut.len();
    let from = held.saturating_sub(end.len() - 1);
    cut.extend_from_slice(&piece[..piece.len().min(limit + 1)]);
    let found = if end.len() == 1 { memchr(end[0], &cut[from..]) } else { memmem::find(&cut[from..], end) };
    let Some(at) = found else {
        *piece = &[];
        return None;
    };
    let through = from + at + end.len();
    *piece = &piece[through - held..];
    cut.truncate(through);
    Some(std::mem::take(cut))
}

fn parse_head(head: &[u8]) -> Result<(u16, Framing), AnswerError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(head)?;
    let status = answer.code.unwrap_or_default();
    for field in answer.headers.iter() {
        let value = String::from_utf8_lossy(field.value);
        if field.name.eq_ignore_ascii_case("content-length") {
            return Ok((status, Framing::Length(value.trim().parse()?)));
        }
        if field.name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok((status, Framing::Chunked));
        }
    }
    Err(AnswerError::NoLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello";
    const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n";
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";

    fn feed_all(pieces: &[&[u8]]) -> Answers {
        let (mut reader, mut shape, mut sum) = (AnswerReader::default(), None, Answers::default());
        for piece in pieces {
            let answers = reader.feed(&mut shape, piece).unwrap();
            sum.whole += answers.whole;
            sum.refused += answers.refused;
            sum.body_bytes += answers.body_bytes;
        }
        sum
    }

    #[test]
    fn answers_are_counted_however_the_stream_is_cut_in_two_or_three() {
        let stream = [PLAIN, PLAIN, REFUSAL, CHUNKED, CHUNKED, EMPTY, PLAIN].concat();
        let expected = Answers { whole: 7, refused: 1, body_bytes: 5 + 5 + 2 + 15 + 15 + 5 };
        assert_eq!(feed_all(&[&stream]), expected);
        for first in 0..=stream.len() {
            let (head, tail) = stream.split_at(first);
            assert_eq!(feed_all(&[head, tail]), expected, "cut at {first}");
            for second in (0..=tail.len()).step_by(7) {
                let (middle, end) = tail.split_at(second);
                assert_eq!(feed_all(&[head, middle, end]), expected, "cut at {first} and {second} later");
            }
        }
    }

    #[test]
    fn answers_are_counted_byte_by_byte() {
        let stream = [PLAIN, CHUNKED, REFUSAL, PLAIN].concat();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(feed_all(&bytes), Answers { whole: 4, refused: 1, body_bytes: 5 + 15 + 2 + 5 });
    }

    #[test]
    fn an_incomplete_answer_is_not_counted() {
        assert_eq!(feed_all(&[&PLAIN[..PLAIN.len() - 1]]).whole, 0);
        assert_eq!(feed_all(&[&CHUNKED[..CHUNKED.len() - 1]]).whole, 0);
    }

    #[test]
    fn the_shape_is_learned_from_the_first_good_answer_only() {
        let mut shape = None;
        AnswerReader::default().feed(&mut shape, REFUSAL).unwrap();
        assert_eq!(shape, None);
        AnswerReader::default().feed(&mut shape, PLAIN).unwrap();
        assert_eq!(shape, Some(Shape { head: PLAIN.len() - 5, framing: Framing::Length(5) }));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_not_a_count() {
        let feed = |bytes: &[u8]| AnswerReader::default().feed(&mut None, bytes);
        assert!(matches!(feed(b"hello\r\n\r\n"), Err(AnswerError::Malformed(_))));
        assert!(matches!(feed(b"HTTP/1.1 200 OK\r\n\r\n"), Err(AnswerError::NoLength)));
        assert!(matches!(
            feed(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
            Err(AnswerError::BadLength(_))
        ));
        assert!(matches!(feed(&[b'x'; MAX_HEAD + 1]), Err(AnswerError::HeadTooLong)));
        // After an answer of the known length come bytes that begin no answer.
        assert!(matches!(feed(&[PLAIN, b"?\r\n\r\n"].concat()), Err(AnswerError::Malformed(_))));
    }
}
