//! What goes out: bodies, framed as their heads say; all of it reads back as what was meant.

#[path = "http1_support/asked.rs"]
mod asked;

use asked::{GET, GET_10, GET_10_KEEP, GET_CLOSE, HEAD, KNOWN, POST_WAITING, STREAMED, asked, fields, send};
use httpserver::Headers;
use httpserver::http1::{DataFrame, LocalError, Outcome, ResponseLength};

#[test]
fn h1_38_an_empty_piece_does_not_end_a_chunked_body() {
    let mut connection = asked(GET);
    send(&mut connection, 200, &Headers::new(), STREAMED).expect("a good head");
    let mut out = Vec::new();
    connection.send_data(b"", &mut out).expect("nothing to send");
    assert_eq!(out, b"");
    connection.send_data(&[b'x'; 26], &mut out).expect("a piece");
    assert_eq!(connection.frame_data(0x12_345, &mut out), Ok(DataFrame::Write { suffix: b"\r\n" }));
    connection.finish(Some(&fields(&[("Digest", "x")])), &mut out).expect("the end");
    assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n12345\r\n0\r\nDigest: x\r\n\r\n");
}

#[test]
fn h1_36_a_body_must_be_as_long_as_announced() {
    let mut connection = asked(GET);
    let mut out = Vec::new();
    send(&mut connection, 200, &Headers::new(), KNOWN).expect("a good head");
    connection.send_data(b"a", &mut out).expect("half of it");
    assert_eq!(connection.send_data(b"bc", &mut out), Err(LocalError::TooMuchBody { declared: 2 }));
    assert_eq!((&out[..], connection.outcome()), (&b"a"[..], Outcome::Close));

    let mut connection = asked(GET);
    send(&mut connection, 200, &Headers::new(), KNOWN).expect("a good head");
    connection.send_data(b"a", &mut out).expect("half of it");
    assert_eq!(connection.finish(None, &mut out), Err(LocalError::TooLittleBody { missing: 1 }));
    assert_eq!(connection.outcome(), Outcome::Close);
    assert_eq!(connection.finish(None, &mut out), Err(LocalError::AlreadyFinished));
}

#[test]
fn h1_37_bodies_that_must_not_be_are_refused_or_left_out() {
    let mut out = Vec::new();
    for status in [204, 205, 304] {
        let mut connection = asked(GET);
        send(&mut connection, status, &Headers::new(), STREAMED).expect("a good head");
        assert_eq!(connection.send_data(b"x", &mut out), Err(LocalError::BodyNotAllowed));
        connection.finish(None, &mut out).expect("no harm was done");
        assert_eq!(connection.outcome(), Outcome::KeepAlive);
    }
    for length in [KNOWN, STREAMED] {
        let mut connection = asked(HEAD);
        send(&mut connection, 200, &Headers::new(), length).expect("a good head");
        assert_eq!(connection.frame_data(2, &mut out), Ok(DataFrame::Omit));
        connection.finish(None, &mut out).expect("the end");
        assert_eq!(connection.outcome(), Outcome::KeepAlive);
    }
    assert_eq!(out, b"");
}

#[test]
fn h1_34_a_streamed_body_to_1_0_ends_with_the_connection() {
    let mut connection = asked(GET_10_KEEP);
    let mut out = Vec::new();
    send(&mut connection, 200, &Headers::new(), STREAMED).expect("a good head");
    connection.send_data(b"x", &mut out).expect("a piece");
    connection.finish(Some(&fields(&[("Digest", "x")])), &mut out).expect("trailers are left out");
    assert_eq!((&out[..], connection.outcome()), (&b"x"[..], Outcome::Close));
}

#[test]
fn trailers_need_chunks_and_must_not_frame() {
    let mut out = Vec::new();
    let mut connection = asked(GET);
    send(&mut connection, 200, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    let trailers = fields(&[("Digest", "x")]);
    assert_eq!(connection.finish(Some(&trailers), &mut out), Err(LocalError::TrailersNotAllowed));
    let framing = fields(&[("Transfer-Encoding", "x")]);
    assert_eq!(connection.finish(Some(&framing), &mut out), Err(LocalError::ForbiddenTrailer));
    assert_eq!(connection.finish(None, &mut out), Ok(()));
}

/// Reads a response back with httparse and by the rules of RFC 9112 §6.3, and gives its body.
fn read_back(out: &[u8], is_head: bool) -> Vec<u8> {
    let mut places = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut places);
    let len = response.parse(out).expect("a valid head").unwrap();
    let value = |name: &str| {
        let mut values = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| str::from_utf8(field.value).expect("text"));
        assert!(values.next().is_none(), "one {name} at most");
        value
    };
    let (length, coding) = (value("content-length"), value("transfer-encoding"));
    assert!(length.is_none() || coding.is_none(), "one framing at most");
    let code = response.code.expect("a status");
    let mut rest = &out[len..];
    if is_head || code == 204 || code == 304 {
        assert!(rest.is_empty());
        return Vec::new();
    }
    if let Some(length) = length {
        assert_eq!(length.parse(), Ok(rest.len()));
        return rest.to_vec();
    }
    if coding.is_none() {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let (line, size) = httparse::parse_chunk_size(rest).expect("a chunk").unwrap();
        let size = size as usize;
        body.extend_from_slice(&rest[line..line + size]);
        assert_eq!(&rest[line + size..line + size + 2], b"\r\n");
        rest = &rest[line + size + 2..];
        if size == 0 {
            assert!(rest.is_empty());
            return body;
        }
    }
}

#[test]
fn whatever_is_sent_reads_back_as_it_was_meant() {
    for request in [GET, GET_10, GET_10_KEEP, GET_CLOSE, HEAD, POST_WAITING] {
        for status in [200, 204, 299, 304, 404, 599] {
            for is_known in [true, false] {
                for pieces in [&[][..], &["a"], &["", "hello", " ", "world"]] {
                    let body = pieces.concat();
                    let has_content = !matches!(status, 204 | 304) && request != HEAD;
                    let is_sent = has_content || request == HEAD && !matches!(status, 204 | 304);
                    let length = match is_known {
                        true if is_sent => ResponseLength::Known(body.len() as u64),
                        _ => ResponseLength::Streamed,
                    };
                    let mut connection = asked(request);
                    let mut out = send(&mut connection, status, &Headers::new(), length)
                        .expect("a good head")
                        .into_bytes();
                    for piece in pieces.iter().filter(|_| is_sent) {
                        connection.send_data(piece.as_bytes(), &mut out).expect("a good piece");
                    }
                    connection.finish(None, &mut out).expect("the end");
                    let expected = if has_content { body.as_bytes() } else { b"" };
                    assert_eq!(read_back(&out, request == HEAD), expected, "{request:?} {status} {length:?}");
                }
            }
        }
    }
}
