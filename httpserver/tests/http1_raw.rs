//! Heads that the application encoded itself.

#[path = "http1_support/asked.rs"]
mod asked;

use asked::fields;
use http::StatusCode;
use httpserver::http1::{Limits, LocalError, RawHead};

#[test]
fn legacy_pre_encoded_heads_are_taken_apart() {
    let limits = Limits::default();
    let bytes = b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX: y\n\r\nhello";
    let raw = RawHead::parse(bytes, &limits).expect("a good head").expect("a whole one");
    assert_eq!((raw.status, raw.reason), (StatusCode::OK, Some("Fine")));
    assert_eq!(raw.headers, fields(&[("Content-Length", "5"), ("X", "y")]));
    assert_eq!(&bytes[raw.len..], b"hello");
    for cut in 0..raw.len {
        assert_eq!(RawHead::parse(&bytes[..cut], &limits), Ok(None), "cut at {cut}");
    }
    for bad in [
        &b"hello"[..],
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
    ] {
        assert_eq!(RawHead::parse(bad, &limits), Err(LocalError::InvalidHead), "{}", bad.escape_ascii());
    }
}

#[test]
fn legacy_pre_encoded_heads_are_bounded() {
    let mut limits = Limits::default();
    limits.head_bytes = 40;
    limits.fields = 2;
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40));
    assert_eq!(RawHead::parse(long.as_bytes(), &limits), Err(LocalError::HeadTooLarge));
    let many = b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
    assert_eq!(RawHead::parse(many, &limits), Err(LocalError::HeadTooLarge));
}
