//! Path 1, step 7 (ARCHITECTURE): a response head as bytes, a few copies and no allocation.

use http::StatusCode;

use super::ambient::{Ambient, OK_LINE};
use super::error::RemoteError;
use super::grammar::list;
use super::response::{FramingField, ResponseHead, Survey};
use crate::headers::Headers;

/// How a response speaks of its connection (RFC 9112 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// What the version of the request implies.
    Implied,
    /// HTTP/1.1 and this response is the last.
    Close,
    /// HTTP/1.0 and this response is not the last.
    KeepAlive,
}

pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n";
pub(crate) const CRLF: &[u8] = b"\r\n";

/// Writes a final head whose parts have been checked. Server and Date come first: RFC 9110 §5.3 has it so, and with the status
/// line of 200 they are one copy.
pub(crate) fn head(
    head: &ResponseHead<'_>,
    survey: &Survey,
    framing: FramingField,
    persistence: Persistence,
    ambient: &Ambient,
    out: &mut Vec<u8>,
) {
    let content_type = head.content_type.map_or(0, str::len);
    out.reserve(head.headers.as_bytes().len() + content_type + ambient.opening().len() + 256);
    match (head.status, head.reason, survey.has_server || survey.has_date) {
        (StatusCode::OK, None, false) => out.extend_from_slice(ambient.opening()),
        _ => {
            status_line(head.status, head.reason, out);
            ambient_fields(survey, ambient, out);
        }
    }
    let leaves_out_length = framing == FramingField::None && survey.content_length.is_some();
    if survey.has_connection || leaves_out_length {
        unmanaged_fields(head.headers, leaves_out_length, out);
    } else {
        out.extend_from_slice(head.headers.as_bytes());
    }
    if let Some(content_type) = head.content_type
        && !survey.has_content_type
    {
        field(b"Content-Type: ", content_type.as_bytes(), out);
    }
    match framing {
        FramingField::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        FramingField::ContentLength(bytes) if survey.content_length.is_none() => content_length(bytes, out),
        FramingField::ContentLength(_) | FramingField::None => {}
    }
    if survey.has_connection || survey.has_upgrade || persistence != Persistence::Implied {
        connection(head.headers, survey, persistence, out);
    }
    out.extend_from_slice(CRLF);
}

/// Writes a whole response that has no fields of the application, by HTTP/1.1.
#[inline]
pub(crate) fn plain(
    (status, content_type): (StatusCode, Option<&str>),
    body: &[u8],
    is_last: bool,
    ambient: &Ambient,
    out: &mut Vec<u8>,
) {
    out.reserve(ambient.opening().len() + content_type.map_or(0, str::len) + body.len() + 256);
    match status {
        StatusCode::OK => out.extend_from_slice(ambient.opening()),
        status => {
            status_line(status, None, out);
            out.extend_from_slice(ambient.lines());
        }
    }
    // Copies of a size that is known here are a store or two; so few pieces rather than short ones.
    if let Some(content_type) = content_type {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type.as_bytes());
        out.extend_from_slice(b"\r\nContent-Length: ");
    } else {
        out.extend_from_slice(b"Content-Length: ");
    }
    match body.len() {
        len @ 0..=9 => out.extend_from_slice(&[b'0' + len as u8, b'\r', b'\n', b'\r', b'\n']),
        len @ 10..=99 => {
            let [tens, ones] = TWO_DIGITS[len];
            out.extend_from_slice(&[tens, ones, b'\r', b'\n', b'\r', b'\n']);
        }
        len => {
            out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
    if is_last {
        out.truncate(out.len() - CRLF.len());
        out.extend_from_slice(b"Connection: close\r\n\r\n");
    }
    out.extend_from_slice(body);
}

/// The numbers up to 99, with a leading zero.
static TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        table[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    table
};

/// Writes an informational head, which has no framing and says nothing of the connection.
pub(crate) fn informational(status: StatusCode, headers: &Headers, out: &mut Vec<u8>) {
    status_line(status, None, out);
    out.extend_from_slice(headers.as_bytes());
    out.extend_from_slice(CRLF);
}

/// Writes the whole answer to a bad request. The text names the fault; a connection that closes needs no more.
pub(crate) fn error(error: RemoteError, is_head: bool, ambient: &Ambient, out: &mut Vec<u8>) {
    let text = format!("{error}\n");
    status_line(error.status(), None, out);
    out.extend_from_slice(ambient.lines());
    out.extend_from_slice(b"Content-Type: text/plain\r\n");
    content_length(text.len() as u64, out);
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    if !is_head {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes a chunk-size line.
pub(crate) fn chunk_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [0; 18];
    let mut start = line.len() - CRLF.len();
    line[start..].copy_from_slice(CRLF);
    let mut rest = size;
    loop {
        start -= 1;
        line[start] = DIGITS[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&line[start..]);
}

/// Always HTTP/1.1, whatever the request said (RFC 9112 §2.3).
fn status_line(status: StatusCode, reason: Option<&str>, out: &mut Vec<u8>) {
    if let (Some(line), None) = (common_status_line(status), reason) {
        out.extend_from_slice(line);
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.or(status.canonical_reason()).unwrap_or_default().as_bytes());
    out.extend_from_slice(CRLF);
}

fn common_status_line(status: StatusCode) -> Option<&'static [u8]> {
    Some(match status.as_u16() {
        200 => OK_LINE,
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        _ => return None,
    })
}

fn ambient_fields(survey: &Survey, ambient: &Ambient, out: &mut Vec<u8>) {
    match (survey.has_server, survey.has_date) {
        (false, false) => out.extend_from_slice(ambient.lines()),
        (false, true) => out.extend_from_slice(ambient.server_line()),
        (true, false) => out.extend_from_slice(ambient.date_line()),
        (true, true) => {}
    }
}

/// All but Connection, which we write ourselves, and Content-Length where there must be none.
fn unmanaged_fields(headers: &Headers, leaves_out_length: bool, out: &mut Vec<u8>) {
    for (name, _, line) in headers.lines() {
        let is_length = leaves_out_length && name.eq_ignore_ascii_case(b"content-length");
        if !is_length && !name.eq_ignore_ascii_case(b"connection") {
            out.extend_from_slice(line);
        }
    }
}

/// One Connection field: ours first, then `upgrade` if there is an Upgrade field (RFC 9110 §7.8), then what the application
/// listed and we do not manage.
fn connection(headers: &Headers, survey: &Survey, persistence: Persistence, out: &mut Vec<u8>) {
    const NAME: &[u8] = b"Connection: ";
    let start = out.len();
    out.extend_from_slice(NAME);
    let mut option = |text: &[u8]| {
        if out.len() > start + NAME.len() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(text);
    };
    match persistence {
        Persistence::Close => option(b"close"),
        Persistence::KeepAlive => option(b"Keep-Alive"),
        Persistence::Implied => {}
    }
    if survey.has_upgrade || survey.options.upgrade {
        option(b"upgrade");
    }
    if survey.has_connection {
        let managed = |text: &&[u8]| {
            let known: [&[u8]; 4] = [b"", b"close", b"keep-alive", b"upgrade"];
            !known.iter().any(|known| text.eq_ignore_ascii_case(known))
        };
        headers.get_list("connection").flat_map(list).filter(managed).for_each(option);
    }
    if out.len() == start + NAME.len() {
        out.truncate(start);
    } else {
        out.extend_from_slice(CRLF);
    }
}

fn content_length(bytes: u64, out: &mut Vec<u8>) {
    field(b"Content-Length: ", itoa::Buffer::new().format(bytes).as_bytes(), out);
}

/// With a name that is known where this is called, two of its three copies are a store or two.
#[inline(always)]
fn field<const N: usize>(name: &[u8; N], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}
