//! Our reader of heads is stricter than httparse, never more lenient, and understands the same by what both take.

use http::Version;
use httpserver::http1::{Connection, Limits, Received, RequestHead};

const HEADS: [&str; 3] = [
    "GET /plaintext?a=b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n\r\n",
    "POST /a%20b HTTP/1.0\r\nHost:a\r\nContent-Length:\t12 \r\nX_Y~z1:\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \u{e9} AppleWebKit/537.36\r\n\r\n",
];

/// Bytes that mean something somewhere in a head, and some that mean nothing anywhere.
const BYTES: &[u8] = b"\r\n\t :/#?%aZ09-_~!\"(\0\x1f\x7f\x80\xff.";

/// Reads `bytes` with both. Gives whether both took it.
fn is_taken_by_both(bytes: &[u8]) -> bool {
    let mut head = RequestHead::new();
    let received = Connection::new().receive_head(bytes, &Limits::default(), &mut head);
    let Ok(Received::Head { consumed }) = received else { return false };
    let mut places = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Request::new(&mut places);
    let text = String::from_utf8_lossy(bytes).into_owned();
    let parsed = match theirs.parse(bytes) {
        // Later minor versions are ours alone.
        Err(httparse::Error::Version) => return false,
        parsed => parsed,
    };
    assert_eq!(parsed, Ok(httparse::Status::Complete(consumed)), "{text}");
    assert_eq!(Some(head.method().as_str()), theirs.method, "{text}");
    assert_eq!(Some(head.target()), theirs.path, "{text}");
    assert_eq!(head.version() == Version::HTTP_11, theirs.version == Some(1), "{text}");
    let ours: Vec<_> = head.headers().iter().collect();
    let theirs: Vec<_> = theirs.headers.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(ours, theirs, "{text}");
    true
}

#[test]
fn what_is_taken_means_the_same_with_any_one_byte_changed_put_in_or_left_out() {
    let mut taken = 0;
    for head in HEADS {
        assert!(is_taken_by_both(head.as_bytes()), "{head}");
        for at in 0..head.len() {
            let (before, behind) = head.as_bytes().split_at(at);
            taken += usize::from(is_taken_by_both(&[before, &behind[1..]].concat()));
            for &byte in BYTES {
                taken += usize::from(is_taken_by_both(&[before, &[byte], &behind[1..]].concat()));
                taken += usize::from(is_taken_by_both(&[before, &[byte], behind].concat()));
            }
        }
    }
    assert!(taken > 1_000, "only {taken} were taken");
}
