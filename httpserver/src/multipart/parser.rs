//! The parser: where in the body it stands, and what comes next.

use std::ops::Range;

use memchr::memmem::Finder;

use super::error::MultipartError;
use super::limits::Limits;
use super::part::PartHead;
use crate::media_type::{essence, parameter};

/// Reads a `multipart/form-data` body as it arrives.
///
/// An error is final: every further call gives the same one.
#[derive(Debug)]
#[doc(alias = "parse_multipart_form_data")]
pub struct Parser {
    /// Searches for CRLF, two hyphens and the boundary.
    delimiter: Finder<'static>,
    limits: Limits,
    state: State,
    /// Begun so far.
    parts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was consumed yet, so a boundary may stand here without a line end before it.
    Start,
    /// Before the first boundary: what stands here is for readers that know no multipart (RFC 2046 §5.1.1).
    Preamble,
    /// Behind a boundary.
    Boundary,
    /// The same, behind blanks.
    Padding,
    /// In the head of a part, of which so many bytes hold no end.
    Head {
        searched: usize,
    },
    /// In the data of a part, which may have so many more bytes.
    Data {
        left: u64,
    },
    /// Behind the final boundary.
    Epilogue,
    Failed(MultipartError),
}

/// What [`Parser::advance`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing, up to the end of the input: give the rest again when more has arrived. If no more will come, the body is
    /// [`Truncated`](MultipartError::Truncated).
    NeedMore {
        /// Bytes to drop.
        consumed: usize,
    },
    /// A part begins.
    Part {
        /// Bytes to drop.
        consumed: usize,
        /// What it says of itself.
        head: Box<PartHead>,
    },
    /// A piece of the part's data, never empty.
    Data {
        /// Where it stands in the input.
        range: Range<usize>,
        /// Bytes to drop, the piece included.
        consumed: usize,
    },
    /// The part is complete.
    PartEnd {
        /// Bytes to drop.
        consumed: usize,
    },
    /// The body is complete; what else comes means nothing (HU29). Given again if asked again.
    End,
}

impl Parser {
    /// A parser for a body of this content type.
    ///
    /// # Errors
    ///
    /// [`MultipartError::NotMultipart`], or [`MultipartError::InvalidBoundary`]. Type and parameter compare without regard to
    /// case (HU28).
    pub fn new(content_type: &[u8], limits: &Limits) -> Result<Parser, MultipartError> {
        if !essence(content_type).eq_ignore_ascii_case(b"multipart/form-data") {
            return Err(MultipartError::NotMultipart);
        }
        let boundary = parameter(content_type, b"boundary").ok().flatten();
        let boundary = boundary.filter(|it| is_boundary(it)).ok_or(MultipartError::InvalidBoundary)?;
        let delimiter = [b"\r\n--", &boundary[..]].concat();
        let delimiter = Finder::new(&delimiter).into_owned();
        Ok(Parser { delimiter, limits: limits.clone(), state: State::Start, parts: 0 })
    }

    /// Looks for what comes next at the start of `input`, which is all that has arrived and was not consumed.
    ///
    /// # Errors
    ///
    /// The first fault of the body.
    pub fn advance(&mut self, input: &[u8]) -> Result<Event, MultipartError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            let step = match self.state {
                State::Start => Ok(self.start(rest)),
                State::Preamble => Ok(self.preamble(rest)),
                State::Boundary => self.boundary(rest),
                State::Padding => self.line_end(rest),
                State::Head { searched } => self.part_head(rest, searched),
                State::Data { left } => self.data(rest, left),
                State::Epilogue => return Ok(Event::End),
                State::Failed(error) => return Err(error),
            };
            match step {
                Ok(Step::GoOn { skip }) => consumed += skip,
                Ok(Step::Wait { skip }) => return Ok(Event::NeedMore { consumed: consumed + skip }),
                Ok(Step::Part { len, head }) => return Ok(Event::Part { consumed: consumed + len, head }),
                Ok(Step::PartEnd { len }) => return Ok(Event::PartEnd { consumed: consumed + len }),
                Ok(Step::Data { len }) => {
                    let range = consumed..consumed + len;
                    return Ok(Event::Data { consumed: range.end, range });
                }
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    fn start(&mut self, input: &[u8]) -> Step {
        let first = &self.delimiter.needle()[2..];
        if input.len() < first.len() && first.starts_with(input) {
            return Step::Wait { skip: 0 };
        }
        let begins = input.starts_with(first);
        self.state = if begins { State::Boundary } else { State::Preamble };
        Step::GoOn { skip: if begins { first.len() } else { 0 } }
    }

    fn preamble(&mut self, input: &[u8]) -> Step {
        match self.delimiter.find(input) {
            Some(at) => {
                self.state = State::Boundary;
                Step::GoOn { skip: at + self.delimiter.needle().len() }
            }
            None => Step::Wait { skip: self.begins_delimiter(input) },
        }
    }

    /// Where a delimiter begins that the input does not hold the end of; the end of the input if there is none.
    fn begins_delimiter(&self, input: &[u8]) -> usize {
        let needle = self.delimiter.needle();
        let tail = input.len().saturating_sub(needle.len() - 1);
        let begins = |at: &usize| needle.starts_with(&input[*at..]);
        memchr::memchr_iter(b'\r', &input[tail..]).map(|at| tail + at).find(begins).unwrap_or(input.len())
    }

    fn boundary(&mut self, input: &[u8]) -> Result<Step, MultipartError> {
        match input {
            [] | [b'-'] => Ok(Step::Wait { skip: 0 }),
            [b'-', b'-', ..] => {
                self.state = State::Epilogue;
                Ok(Step::GoOn { skip: 2 })
            }
            _ => self.line_end(input),
        }
    }

    /// The end of a line with a boundary: blanks before it are padding that receivers must bear (RFC 2046 §5.1.1).
    fn line_end(&mut self, input: &[u8]) -> Result<Step, MultipartError> {
        match input {
            [] | [b'\r'] => Ok(Step::Wait { skip: 0 }),
            [b' ' | b'\t', ..] => {
                self.state = State::Padding;
                Ok(Step::GoOn { skip: 1 })
            }
            [b'\r', b'\n', ..] if self.parts >= self.limits.parts => Err(MultipartError::TooManyParts),
            [b'\r', b'\n', ..] => {
                self.parts += 1;
                self.state = State::Head { searched: 0 };
                Ok(Step::GoOn { skip: 2 })
            }
            _ => Err(MultipartError::InvalidBoundaryLine),
        }
    }

    fn part_head(&mut self, input: &[u8], searched: usize) -> Result<Step, MultipartError> {
        const END: &[u8] = b"\r\n\r\n";
        if input.starts_with(&END[..2]) {
            return Err(MultipartError::MissingPartHead);
        }
        let window = &input[..input.len().min(self.limits.part_head_bytes)];
        let from = searched.min(window.len());
        let Some(at) = memchr::memmem::find(&window[from..], END) else {
            if input.len() >= self.limits.part_head_bytes {
                return Err(MultipartError::PartHeadTooLarge);
            }
            // Each byte is searched once, however the head is cut.
            self.state = State::Head { searched: input.len().saturating_sub(END.len() - 1) };
            return Ok(Step::Wait { skip: 0 });
        };
        let head = PartHead::parse(&input[..from + at + 2])?;
        let left = if head.is_file() { self.limits.file_bytes } else { self.limits.field_bytes };
        self.state = State::Data { left };
        Ok(Step::Part { len: from + at + END.len(), head: Box::new(head) })
    }

    fn data(&mut self, input: &[u8], left: u64) -> Result<Step, MultipartError> {
        let found = self.delimiter.find(input);
        if found == Some(0) {
            self.state = State::Boundary;
            return Ok(Step::PartEnd { len: self.delimiter.needle().len() });
        }
        let len = found.unwrap_or_else(|| self.begins_delimiter(input));
        let left = left.checked_sub(len as u64).ok_or(MultipartError::PartTooLarge)?;
        self.state = State::Data { left };
        Ok(if len == 0 { Step::Wait { skip: 0 } } else { Step::Data { len } })
    }
}

/// What one state makes of the rest of the input.
enum Step {
    GoOn { skip: usize },
    Wait { skip: usize },
    Part { len: usize, head: Box<PartHead> },
    Data { len: usize },
    PartEnd { len: usize },
}

/// RFC 2046 §5.1.1: one to seventy of these, the last no blank.
fn is_boundary(boundary: &[u8]) -> bool {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    matches!(boundary, [.., last] if *last != b' ') && boundary.len() <= 70 && boundary.iter().all(is_good)
}
