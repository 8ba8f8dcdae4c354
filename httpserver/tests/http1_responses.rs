//! What goes out: which head for which request.

#[path = "http1_support/asked.rs"]
mod asked;

use std::time::{Duration, SystemTime};

use asked::{
    CONNECT, GET, GET_10, GET_10_KEEP, GET_CLOSE, HEAD, KNOWN, POST_WAITING, STREAMED, UPGRADE, asked,
    fields, send, send_plain,
};
use http::StatusCode;
use httpserver::http1::{Ambient, LocalError, ResponseHead, ResponseLength};
use httpserver::{HeaderError, Headers};

const NONE: ResponseLength = ResponseLength::Known(0);

#[test]
fn framing_and_persistence_are_right_in_every_combination() {
    let ok = |fields: &str| Ok(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    for (name, request, length, expected) in [
        ("known", GET, KNOWN, ok("Content-Length: 2\r\n")),
        ("h1_33_streamed", GET, STREAMED, ok("Transfer-Encoding: chunked\r\n")),
        ("h1_26_known_last", GET_CLOSE, KNOWN, ok("Content-Length: 2\r\nConnection: close\r\n")),
        (
            "h1_26_streamed_last",
            GET_CLOSE,
            STREAMED,
            ok("Transfer-Encoding: chunked\r\nConnection: close\r\n"),
        ),
        ("h1_26_plain_1_0", GET_10, KNOWN, ok("Content-Length: 2\r\n")),
        ("h1_33_plain_1_0_streamed", GET_10, STREAMED, ok("")),
        ("h1_26_1_0_keep_alive", GET_10_KEEP, KNOWN, ok("Content-Length: 2\r\nConnection: Keep-Alive\r\n")),
        ("h1_34_1_0_keep_alive_streamed", GET_10_KEEP, STREAMED, ok("")),
        ("h1_37_head_known", HEAD, KNOWN, ok("Content-Length: 2\r\n")),
        ("h1_33_head_streamed", HEAD, STREAMED, ok("")),
        ("connect", CONNECT, STREAMED, ok("")),
        ("connect_with_a_body", CONNECT, KNOWN, Err(LocalError::BodyNotAllowed)),
        (
            "h1_22_unanswered_expectation",
            POST_WAITING,
            KNOWN,
            ok("Content-Length: 2\r\nConnection: close\r\n"),
        ),
    ] {
        assert_eq!(send_plain(request, 200, length), expected, "{name}");
    }
}

#[test]
fn statuses_without_content_have_no_framing() {
    for (status, length, expected) in [
        (204, STREAMED, Ok("HTTP/1.1 204 No Content\r\n\r\n")),
        (204, ResponseLength::Known(0), Ok("HTTP/1.1 204 No Content\r\n\r\n")),
        (204, KNOWN, Err(LocalError::BodyNotAllowed)),
        (205, STREAMED, Ok("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")),
        (205, KNOWN, Err(LocalError::BodyNotAllowed)),
        (304, STREAMED, Ok("HTTP/1.1 304 Not Modified\r\n\r\n")),
        (304, ResponseLength::Known(0), Ok("HTTP/1.1 304 Not Modified\r\n\r\n")),
        (304, KNOWN, Ok("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n")),
        (100, STREAMED, Err(LocalError::InvalidStatus)),
        (101, STREAMED, Err(LocalError::UpgradeNotOffered)),
        (103, STREAMED, Err(LocalError::InvalidStatus)),
    ] {
        assert_eq!(
            send_plain(GET, status, length).as_deref(),
            expected.as_ref().copied(),
            "{status} {length:?}"
        );
    }
}

#[test]
fn the_fields_of_the_application_count() {
    for (name, request, status, pairs, length, expected) in [
        (
            "h1_27_close",
            GET,
            200,
            [("Connection", "close")],
            KNOWN,
            Ok("Content-Length: 2\r\nConnection: close\r\n"),
        ),
        (
            "h1_27_close_to_1_0",
            GET_10_KEEP,
            200,
            [("Connection", "close")],
            KNOWN,
            Ok("Content-Length: 2\r\nConnection: close\r\n"),
        ),
        ("needless_keep_alive", GET, 200, [("Connection", "keep-alive")], KNOWN, Ok("Content-Length: 2\r\n")),
        (
            "keep_alive_that_cannot_be",
            GET_CLOSE,
            200,
            [("connection", "Keep-Alive")],
            KNOWN,
            Ok("Content-Length: 2\r\nConnection: close\r\n"),
        ),
        (
            "other_options_stay",
            GET_CLOSE,
            200,
            [("Connection", "x, ,keep-alive, y")],
            KNOWN,
            Ok("Content-Length: 2\r\nConnection: close, x, y\r\n"),
        ),
        (
            "upgrade_offered_by_us",
            GET,
            426,
            [("Upgrade", "echo")],
            KNOWN,
            Ok("Upgrade: echo\r\nContent-Length: 2\r\nConnection: upgrade\r\n"),
        ),
        (
            "h1_33_length_makes_it_known",
            GET,
            200,
            [("Content-Length", "2")],
            STREAMED,
            Ok("Content-Length: 2\r\n"),
        ),
        ("length_that_agrees", GET, 200, [("content-length", "2")], KNOWN, Ok("content-length: 2\r\n")),
        (
            "length_that_does_not",
            GET,
            200,
            [("Content-Length", "3")],
            KNOWN,
            Err(LocalError::LengthMismatch { field: 3, body: 2 }),
        ),
        (
            "h1_36_length_that_is_none",
            GET,
            200,
            [("Content-Length", "+2")],
            STREAMED,
            Err(LocalError::InvalidContentLength),
        ),
        (
            "length_that_is_a_list",
            GET,
            200,
            [("Content-Length", "2, 2")],
            STREAMED,
            Err(LocalError::InvalidContentLength),
        ),
        (
            "h1_35_transfer_encoding",
            GET,
            200,
            [("Transfer-Encoding", "chunked")],
            STREAMED,
            Err(LocalError::FramingNotAllowed),
        ),
        ("zero_length_with_204", GET, 204, [("Content-Length", "0")], STREAMED, Ok("")),
        ("length_with_204", GET, 204, [("Content-Length", "2")], STREAMED, Err(LocalError::BodyNotAllowed)),
        ("h1_37_length_with_304", GET, 304, [("Content-Length", "2")], STREAMED, Ok("Content-Length: 2\r\n")),
        (
            "h1_37_length_with_head",
            HEAD,
            200,
            [("Content-Length", "2")],
            STREAMED,
            Ok("Content-Length: 2\r\n"),
        ),
        (
            "h1_37_length_alone_with_304",
            GET,
            304,
            [("Content-Length", "2")],
            NONE,
            Ok("Content-Length: 2\r\n"),
        ),
        (
            "h1_37_length_alone_with_head",
            HEAD,
            200,
            [("Content-Length", "2")],
            NONE,
            Ok("Content-Length: 2\r\n"),
        ),
        (
            "h1_37_length_alone_where_a_body_belongs",
            GET,
            200,
            [("Content-Length", "2")],
            NONE,
            Err(LocalError::LengthMismatch { field: 2, body: 0 }),
        ),
        (
            "h1_37_length_that_does_not_agree_with_what_is_left_out",
            HEAD,
            200,
            [("Content-Length", "3")],
            KNOWN,
            Err(LocalError::LengthMismatch { field: 3, body: 2 }),
        ),
        (
            "upgrade",
            UPGRADE,
            101,
            [("Upgrade", "echo")],
            STREAMED,
            Ok("Upgrade: echo\r\nConnection: upgrade\r\n"),
        ),
    ] {
        let sent = send(&mut asked(request), status, &fields(&pairs), length);
        let sent = sent.as_ref().map(|head| &head[head.find("\r\n").expect("a line") + 2..head.len() - 2]);
        assert_eq!(sent.map_err(|error| *error), expected, "{name}");
    }
}

#[test]
fn two_lengths_of_the_application_are_refused_even_if_equal() {
    let headers = fields(&[("Content-Length", "2"), ("Content-Length", "2")]);
    assert_eq!(send(&mut asked(GET), 200, &headers, STREAMED), Err(LocalError::InvalidContentLength));
}

#[test]
fn h1_44_a_reason_must_not_hold_control_bytes() {
    let mut connection = asked(GET);
    let mut out = Vec::new();
    let head = ResponseHead::new(StatusCode::OK).reason("fine\r\nX: y");
    assert_eq!(connection.send_head(&head, &Ambient::default(), &mut out), Err(LocalError::InvalidReason));
    let head = ResponseHead::new(StatusCode::OK).content_type("text/plain\r\nX: y");
    let refused = Err(LocalError::Header(HeaderError::InvalidValue));
    assert_eq!(connection.send_head(&head, &Ambient::default(), &mut out), refused);
    assert!(out.is_empty());
    let head =
        ResponseHead::new(StatusCode::IM_A_TEAPOT).reason("short and stout").length(ResponseLength::Known(0));
    connection.send_head(&head, &Ambient::default(), &mut out).expect("another head may be tried");
    assert_eq!(out, b"HTTP/1.1 418 short and stout\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn h1_43_server_and_date_are_added_unless_the_application_set_them() {
    let mut ambient = Ambient::with_server("Waterspout").expect("a good name");
    ambient.set_date(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    for (pairs, expected) in [
        (&[][..], "Server: Waterspout\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        (&[("server", "x")], "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: x\r\n"),
        (&[("DATE", "x")], "Server: Waterspout\r\nDATE: x\r\n"),
        (&[("Date", "x"), ("Server", "y")], "Date: x\r\nServer: y\r\n"),
    ] {
        let (headers, mut out) = (fields(pairs), Vec::new());
        let head = ResponseHead::new(StatusCode::NO_CONTENT).headers(&headers);
        asked(GET).send_head(&head, &ambient, &mut out).expect("a good head");
        assert_eq!(out, format!("HTTP/1.1 204 No Content\r\n{expected}\r\n").as_bytes());
    }
    assert_eq!(Ambient::with_server("a\r\nb"), Err(HeaderError::InvalidValue));
}

#[test]
fn dates_that_cannot_be_written_are_left_out() {
    let mut ambient = Ambient::default();
    for seconds in [253_402_300_800, u64::from(u32::MAX) * 1_000] {
        ambient.set_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        ambient.set_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(ambient, Ambient::default());
    }
    ambient.set_date(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(ambient, Ambient::default());
}

#[test]
fn the_fast_content_type_yields_to_the_field() {
    let mut out = Vec::new();
    let headers = fields(&[("content-type", "text/html")]);
    for (headers, expected) in
        [(&Headers::new(), "Content-Type: text/plain"), (&headers, "content-type: text/html")]
    {
        out.clear();
        let head = ResponseHead::new(StatusCode::NO_CONTENT).content_type("text/plain").headers(headers);
        asked(GET).send_head(&head, &Ambient::default(), &mut out).expect("a good head");
        assert_eq!(out, format!("HTTP/1.1 204 No Content\r\n{expected}\r\n\r\n").as_bytes());
    }
}
