//! Redis's protocol, RESP2: bytes in, words out; answers in, bytes out. No socket.

use std::borrow::Cow;
use std::io::Write as _;

const MAX_WORDS: i64 = 1024; // of one command
const MAX_BULK: i64 = 1 << 20; // bytes of one word
const MAX_LINE: usize = 4096; // bytes of a command that is typed as a line
/// Bytes of one command in all.
pub const MAX_COMMAND: usize = 4 << 20;

/// Finds the words of the first command in `input`, where they lie, and gives its length; zero if it is not complete.
///
/// # Errors
///
/// What Redis says before it closes the connection, for who knows where the next command begins.
pub fn parse<'a>(input: &'a [u8], words: &mut Vec<&'a [u8]>) -> Result<usize, String> {
    words.clear();
    let Some((head, mut used)) = line(input)? else { return Ok(0) };
    let Some(count) = head.strip_prefix(b"*") else {
        if head.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return Err("ERR Protocol error: unbalanced quotes in request".into()); // quoting is beyond us
        }
        words.extend(head.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()));
        return Ok(used);
    };
    let count = integer(count).ok().filter(|count| *count <= MAX_WORDS);
    for _ in 0..count.ok_or("ERR Protocol error: invalid multibulk length")? {
        let Some((head, length)) = line(&input[used..])? else { return Ok(0) };
        let Some(size) = head.strip_prefix(b"$") else {
            return Err(format!(
                "ERR Protocol error: expected '$', got '{}'",
                text(head.get(..1).unwrap_or(b" "))
            ));
        };
        let size = integer(size).ok().filter(|size| (0..=MAX_BULK).contains(size));
        let size = size.ok_or("ERR Protocol error: invalid bulk length")? as usize;
        let Some(bulk) = input[used + length..].get(..size + 2) else { return Ok(0) };
        words.push(&bulk[..size]);
        used += length + bulk.len();
    }
    Ok(used)
}

/// The first line without its end, and its length with it.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    match input.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))),
        None if input.len() < MAX_LINE => Ok(None),
        None => Err("ERR Protocol error: too big inline request".into()),
    }
}

/// # Errors
///
/// What Redis says when it is none, or has more than 64 bits.
pub fn integer(text: &[u8]) -> Result<i64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or("ERR value is not an integer or out of range".into())
}

pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A number, or the length of what follows.
pub fn number(out: &mut Vec<u8>, kind: char, number: impl std::fmt::Display) {
    write!(out, "{kind}{number}\r\n").expect("memory takes everything");
}

/// A text of any bytes, or nil.
pub fn bulk(out: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else { return out.extend(b"$-1\r\n") };
    number(out, '$', text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

pub fn array(out: &mut Vec<u8>, texts: &[&[u8]]) {
    number(out, '*', texts.len());
    texts.iter().for_each(|text| bulk(out, Some(text)));
}

pub fn error(out: &mut Vec<u8>, what: &str) {
    number(out, '-', what.replace(['\r', '\n'], " "));
}

pub fn status(out: &mut Vec<u8>, what: &str) {
    number(out, '+', what);
}
