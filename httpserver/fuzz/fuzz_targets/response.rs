//! Whatever an application does, what goes out is one well-formed response or nothing. Run: `cargo +nightly fuzz run response`
#![no_main]

use httpserver::Headers;
use httpserver::http1::{
    Ambient, Connection, Limits, Outcome, Received, RequestHead, ResponseHead, ResponseLength,
};
use libfuzzer_sys::{arbitrary, fuzz_target};

#[derive(Debug, arbitrary::Arbitrary)]
struct Application<'a> {
    request: u8,
    status: u16,
    reason: Option<&'a str>,
    content_type: Option<&'a str>,
    fields: Vec<(&'a str, &'a [u8])>,
    length: Option<u16>,
    pieces: Vec<&'a [u8]>,
    trailers: Vec<(&'a str, &'a [u8])>,
}

const REQUESTS: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
];

fuzz_target!(|application: Application<'_>| {
    let request = REQUESTS[usize::from(application.request) % REQUESTS.len()];
    let Ok(status) = http::StatusCode::from_u16(application.status) else { return };
    let mut connection = Connection::new();
    let mut head = RequestHead::new();
    let received = connection.receive_head(request.as_bytes(), &Limits::default(), &mut head);
    assert_eq!(received, Ok(Received::Head { consumed: request.len() }));

    let headers = good_fields(&application.fields);
    let length =
        application.length.map_or(ResponseLength::Streamed, |bytes| ResponseLength::Known(bytes.into()));
    let mut response = ResponseHead::new(status).headers(&headers).length(length);
    if let Some(reason) = application.reason {
        response = response.reason(reason);
    }
    if let Some(content_type) = application.content_type {
        response = response.content_type(content_type);
    }
    let mut out = Vec::new();
    if connection.send_head(&response, &Ambient::default(), &mut out).is_err() {
        assert!(out.is_empty(), "an error writes nothing");
        return;
    }
    let head_len = out.len();
    let is_whole = application.pieces.iter().all(|piece| connection.send_data(piece, &mut out).is_ok())
        && connection.finish(Some(&good_fields(&application.trailers)), &mut out).is_ok();
    check(&out, head_len, is_whole, request, connection.outcome());
});

fn good_fields(fields: &[(&str, &[u8])]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        let _ = headers.add(name, value);
    }
    headers
}

fn check(out: &[u8], head_len: usize, is_whole: bool, request: &str, outcome: Outcome) {
    let mut places = vec![httparse::EMPTY_HEADER; 4096];
    let mut response = httparse::Response::new(&mut places);
    let parsed = match response.parse(out) {
        Err(httparse::Error::TooManyHeaders) => return,
        parsed => parsed.expect("a valid head"),
    };
    assert_eq!(parsed, httparse::Status::Complete(head_len), "one head");
    let count =
        |name: &str| response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths + codings <= 1, "one framing at most");
    assert!(count("connection") <= 1);
    let body = &out[head_len..];
    let code = response.code.unwrap_or_default();
    if request.starts_with("HEAD") || matches!(code, 101 | 204 | 205 | 304) {
        assert!(body.is_empty(), "no content");
    } else if is_whole && outcome == Outcome::KeepAlive {
        assert_eq!(lengths + codings, 1, "the peer must find the end");
    }
    if lengths == 1 && is_whole && !body.is_empty() {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let text = str::from_utf8(field.expect("just counted").value).expect("digits");
        assert_eq!(text.parse(), Ok(body.len()));
    }
    if codings == 1 && is_whole {
        assert!(body.ends_with(b"\r\n"), "a last chunk");
    }
}
