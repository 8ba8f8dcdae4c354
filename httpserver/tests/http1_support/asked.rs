//! Requests to respond to, and a way to send a head. Shared by the tests of what goes out.
#![allow(dead_code, reason = "no test uses all of it")]

use http::StatusCode;
use httpserver::Headers;
use httpserver::http1::{
    Ambient, Connection, Limits, LocalError, Received, RequestHead, ResponseHead, ResponseLength,
};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const GET_10: &str = "GET / HTTP/1.0\r\n\r\n";
pub(crate) const GET_10_KEEP: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
pub(crate) const GET_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
pub(crate) const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const CONNECT: &str = "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n";
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
pub(crate) const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
pub(crate) const POST_WAITING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";

pub(crate) const KNOWN: ResponseLength = ResponseLength::Known(2);
pub(crate) const STREAMED: ResponseLength = ResponseLength::Streamed;

/// A connection that has received this request's head.
pub(crate) fn asked(request: &str) -> Connection {
    let mut connection = Connection::new();
    let received = connection.receive_head(request.as_bytes(), &Limits::default(), &mut RequestHead::new());
    assert_eq!(received, Ok(Received::Head { consumed: request.len() }));
    connection
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Headers {
    Headers::from_pairs(pairs.iter().copied()).expect("good fields")
}

pub(crate) fn send(
    connection: &mut Connection,
    status: u16,
    headers: &Headers,
    length: ResponseLength,
) -> Result<String, LocalError> {
    let mut out = Vec::new();
    let status = StatusCode::from_u16(status).expect("a status");
    let head = ResponseHead::new(status).headers(headers).length(length);
    let sent = connection.send_head(&head, &Ambient::default(), &mut out);
    assert!(sent.is_ok() || out.is_empty(), "nothing is written with an error");
    sent.map(|()| String::from_utf8(out).expect("text"))
}

pub(crate) fn send_plain(request: &str, status: u16, length: ResponseLength) -> Result<String, LocalError> {
    send(&mut asked(request), status, &Headers::new(), length)
}
