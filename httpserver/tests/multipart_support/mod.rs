//! Reads a form that arrives in given pieces and writes down what is in it. Shared by the tests and the fuzz target.
#![allow(unreachable_pub, reason = "each user takes its part")]

use httpserver::multipart::{Event, Limits, MultipartError, Parser};

/// One part as the parser gave it.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Found {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: String,
    pub data: Vec<u8>,
}

/// Reads a body that arrives in these pieces.
pub fn read_pieces<'a>(
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Vec<Found>, MultipartError> {
    let mut parser = Parser::new(content_type.as_bytes(), limits)?;
    let (mut found, mut held, mut open) = (Vec::new(), Vec::new(), false);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let consumed = match parser.advance(&held)? {
                Event::Part { consumed, head } => {
                    assert!(!std::mem::replace(&mut open, true), "a part within a part");
                    found.push(Found {
                        name: head.name().to_owned(),
                        file_name: head.file_name().map(str::to_owned),
                        content_type: head.content_type().to_owned(),
                        data: Vec::new(),
                    });
                    consumed
                }
                Event::Data { range, consumed } => {
                    assert!(open && !range.is_empty() && consumed == range.end);
                    found.last_mut().unwrap().data.extend_from_slice(&held[range]);
                    consumed
                }
                Event::PartEnd { consumed } => {
                    assert!(std::mem::replace(&mut open, false));
                    consumed
                }
                Event::NeedMore { consumed } => {
                    held.drain(..consumed);
                    break;
                }
                Event::End => {
                    assert!(!open);
                    return Ok(found);
                }
            };
            held.drain(..consumed);
        }
    }
    Err(MultipartError::Truncated)
}
