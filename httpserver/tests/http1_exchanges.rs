//! Both directions together: the order of calls, expectations, errors, and how an exchange ends.

#[path = "http1_support/asked.rs"]
mod asked;

use asked::{CONNECT, GET, GET_10, KNOWN, POST, POST_WAITING, STREAMED, UPGRADE, asked, fields, send};
use http::StatusCode;
use httpserver::Headers;
use httpserver::http1::{
    Ambient, BodyEvent, Connection, Limits, LocalError, Outcome, Received, RemoteError, RequestHead,
    ResponseHead, ResponseLength,
};

#[test]
fn h1_40_calls_out_of_order_are_typed_errors() {
    let (mut out, ok) = (Vec::new(), ResponseHead::new(StatusCode::OK));
    let ambient = Ambient::default();
    let mut connection = Connection::new();
    assert_eq!(connection.send_head(&ok, &ambient, &mut out), Err(LocalError::NoRequest));
    assert_eq!(connection.send_data(b"x", &mut out), Err(LocalError::HeadNotSent));
    assert_eq!(connection.finish(None, &mut out), Err(LocalError::HeadNotSent));
    assert_eq!(connection.send_continue(&mut out), Err(LocalError::InformationalNotAllowed));
    assert_eq!(connection.start_next_request(), Outcome::InProgress);

    let mut connection = asked(GET);
    assert_eq!(connection.send_data(b"x", &mut out), Err(LocalError::HeadNotSent));
    assert_eq!(out, b"", "nothing of this was written");
    connection.send_head(&ok, &ambient, &mut out).expect("a good head");
    assert_eq!(connection.send_head(&ok, &ambient, &mut out), Err(LocalError::HeadAlreadySent));
    let mut head = RequestHead::new();
    assert_eq!(connection.receive_head(GET.as_bytes(), &Limits::default(), &mut head), Ok(Received::Paused));
    connection.finish(None, &mut out).expect("the end");
    assert_eq!(connection.send_head(&ok, &ambient, &mut out), Err(LocalError::AlreadyFinished));
    assert_eq!(connection.send_data(b"x", &mut out), Err(LocalError::AlreadyFinished));
    assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
    assert_eq!(connection.send_head(&ok, &ambient, &mut out), Err(LocalError::NoRequest));
}

#[test]
fn h1_21_continue_is_sent_once_and_only_if_wanted() {
    let mut out = Vec::new();
    let mut connection = asked(POST_WAITING);
    assert!(connection.expects_continue());
    connection.send_continue(&mut out).expect("it is wanted");
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(connection.send_continue(&mut out), Err(LocalError::InformationalNotAllowed));
    assert_eq!(asked(POST).send_continue(&mut out), Err(LocalError::InformationalNotAllowed));

    let mut connection = asked(POST_WAITING);
    connection.receive_body(b"x", &Limits::default()).expect("a piece");
    assert!(!connection.expects_continue(), "it has begun without");

    let mut connection = asked(POST_WAITING);
    send(&mut connection, 403, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    assert!(!connection.expects_continue(), "h1_23: the answer is no");
}

#[test]
fn h1_22_a_body_that_is_too_large_is_not_asked_for() {
    let mut out = Vec::new();
    let mut connection = asked(POST_WAITING);
    connection.set_max_body_size(1);
    assert!(!connection.expects_continue());
    assert_eq!(connection.check_body_size(), Err(RemoteError::BodyTooLarge));
    connection
        .send_error(RemoteError::BodyTooLarge, &Ambient::default(), &mut out)
        .expect("nothing was sent");
    assert!(out.starts_with(b"HTTP/1.1 413 Payload Too Large\r\n"));
    assert_eq!(connection.outcome(), Outcome::Close);
}

#[test]
fn h1_18_the_body_limit_can_be_changed_for_one_request() {
    let mut limits = Limits::default();
    limits.body_bytes = 1;
    let mut head = RequestHead::new();
    let mut connection = Connection::new();
    connection.receive_head(POST.as_bytes(), &limits, &mut head).expect("a good head");
    connection.set_max_body_size(2);
    assert_eq!(connection.receive_body(b"hi", &limits), Ok(BodyEvent::Data { range: 0..2, consumed: 2 }));
    send(&mut connection, 200, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    connection.finish(None, &mut Vec::new()).expect("the end");
    assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
    connection.receive_head(POST.as_bytes(), &limits, &mut head).expect("a good head");
    assert_eq!(connection.receive_body(b"hi", &limits), Err(RemoteError::BodyTooLarge));
    assert_eq!(connection.receive_body(b"hi", &limits), Err(RemoteError::BodyTooLarge), "an error is final");
    assert_eq!(connection.receive_head(b"", &limits, &mut head), Err(RemoteError::BodyTooLarge));
}

#[test]
fn informational_responses_go_before_the_final_one_and_not_to_1_0() {
    let mut out = Vec::new();
    let hints = fields(&[("Link", "</a.css>")]);
    let mut connection = asked(GET);
    connection
        .send_informational(StatusCode::from_u16(103).expect("a status"), &hints, &mut out)
        .expect("allowed");
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    for (status, refused) in
        [(100, LocalError::InvalidStatus), (101, LocalError::InvalidStatus), (200, LocalError::InvalidStatus)]
    {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(connection.send_informational(status, &hints, &mut out), Err(refused));
    }
    let framing = fields(&[("Content-Length", "0")]);
    assert_eq!(
        connection.send_informational(StatusCode::PROCESSING, &framing, &mut out),
        Err(LocalError::FramingNotAllowed)
    );
    let refused = Err(LocalError::InformationalNotAllowed);
    assert_eq!(asked(GET_10).send_informational(StatusCode::PROCESSING, &hints, &mut out), refused);
    send(&mut connection, 200, &hints, STREAMED).expect("a good head");
    let refused = Err(LocalError::HeadAlreadySent);
    assert_eq!(connection.send_informational(StatusCode::PROCESSING, &hints, &mut out), refused);
}

#[test]
fn h1_50_an_error_is_answered_with_framing_and_close() {
    let mut out = Vec::new();
    let mut connection = Connection::new();
    let refused =
        connection.receive_head(b"GET / HTTP/1.1\r\n\r\n", &Limits::default(), &mut RequestHead::new());
    assert_eq!(refused, Err(RemoteError::MissingHost));
    connection.send_error(RemoteError::MissingHost, &Ambient::default(), &mut out).expect("nothing was sent");
    let expected = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\nmissing Host\n";
    assert_eq!(out, expected.as_bytes());
    assert_eq!(connection.outcome(), Outcome::Close);
    assert_eq!(
        connection.send_error(RemoteError::MissingHost, &Ambient::default(), &mut out),
        Err(LocalError::HeadAlreadySent)
    );
}

#[test]
fn h1_50_an_error_after_head_has_no_body() {
    for request in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let (mut out, mut connection) = (Vec::new(), Connection::new());
        let _ = connection.receive_head(request.as_bytes(), &Limits::default(), &mut RequestHead::new());
        connection
            .send_error(RemoteError::BodyTimeout, &Ambient::default(), &mut out)
            .expect("nothing was sent");
        assert!(out.starts_with(b"HTTP/1.1 408 Request Timeout\r\n") && out.ends_with(b"\r\n\r\n"));
    }
}

#[test]
fn row_35_no_error_is_written_into_a_response() {
    let mut out = Vec::new();
    let mut connection = asked(POST);
    send(&mut connection, 200, &Headers::new(), STREAMED).expect("a good head");
    let refused = Err(LocalError::HeadAlreadySent);
    assert_eq!(connection.send_error(RemoteError::BodyTimeout, &Ambient::default(), &mut out), refused);
    assert!(out.is_empty());
}

#[test]
fn h1_30_an_early_response_ends_the_connection() {
    let mut out = Vec::new();
    let mut connection = asked(POST);
    send(&mut connection, 200, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    connection.finish(None, &mut out).expect("the end");
    assert_eq!(connection.start_next_request(), Outcome::Close);
}

#[test]
fn a_response_may_end_before_the_last_bytes_of_its_request_are_read() {
    let mut out = Vec::new();
    let mut connection = asked(POST);
    send(&mut connection, 200, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    connection.receive_body(b"hi", &Limits::default()).expect("the body");
    connection.finish(None, &mut out).expect("the end");
    assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
}

#[test]
fn h1_24_the_server_may_end_the_connection_with_any_response() {
    let mut connection = asked(GET);
    connection.close_after_response();
    let head = send(&mut connection, 200, &Headers::new(), KNOWN).expect("a good head");
    assert!(head.contains("\r\nConnection: close\r\n"));

    let mut connection = Connection::new();
    connection.close_after_response();
    connection
        .receive_head(GET.as_bytes(), &Limits::default(), &mut RequestHead::new())
        .expect("a good head");
    let head = send(&mut connection, 204, &Headers::new(), STREAMED).expect("a good head");
    assert!(head.contains("\r\nConnection: close\r\n"), "also if it was said before the request");
    connection.finish(None, &mut Vec::new()).expect("the end");
    assert_eq!(connection.outcome(), Outcome::Close);
}

#[test]
fn h1_24_a_decision_to_close_after_the_head_was_sent_still_counts() {
    let mut connection = asked(GET);
    send(&mut connection, 204, &Headers::new(), STREAMED).expect("a good head");
    connection.close_after_response();
    connection.finish(None, &mut Vec::new()).expect("the end");
    assert_eq!(connection.outcome(), Outcome::Close);
}

#[test]
fn h1_47_a_switch_is_complete_when_both_sides_are() {
    for (request, status, pairs) in [(UPGRADE, 101, &[("Upgrade", "echo")][..]), (CONNECT, 200, &[])] {
        let mut connection = asked(request);
        send(&mut connection, status, &fields(pairs), STREAMED).expect("a good head");
        assert_eq!(connection.outcome(), Outcome::InProgress);
        assert_eq!(connection.send_data(b"x", &mut Vec::new()), Err(LocalError::BodyNotAllowed));
        connection.finish(None, &mut Vec::new()).expect("the end");
        assert_eq!(connection.start_next_request(), Outcome::Switched);
        let paused = connection.receive_head(b"\x81\x05hello", &Limits::default(), &mut RequestHead::new());
        assert_eq!(paused, Ok(Received::Paused), "these bytes are not ours");
    }
}

#[test]
fn a_switch_waits_for_the_rest_of_the_request() {
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\n";
    let mut connection = asked(request);
    send(&mut connection, 101, &fields(&[("Upgrade", "x")]), STREAMED).expect("a good head");
    connection.finish(None, &mut Vec::new()).expect("the end");
    assert_eq!(connection.outcome(), Outcome::InProgress);
    connection.receive_body(b"hi", &Limits::default()).expect("the body");
    assert_eq!(connection.outcome(), Outcome::Switched);
}

#[test]
fn a_refused_tunnel_ends_the_connection_because_what_follows_may_be_meant_for_the_tunnel() {
    let mut connection = asked(CONNECT);
    let head = send(&mut connection, 407, &Headers::new(), ResponseLength::Known(0)).expect("a good head");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    connection.finish(None, &mut Vec::new()).expect("the end");
    assert_eq!(connection.outcome(), Outcome::Close);
}

#[test]
fn a_refusal_of_head_has_no_body_and_one_behind_a_head_has_one() {
    let refused = |request: &str, time_is_over: bool| {
        let (mut connection, mut head, mut out) = (Connection::new(), RequestHead::new(), Vec::new());
        let mut input = request.as_bytes();
        let error = loop {
            match connection.receive_head(input, &Limits::default(), &mut head) {
                Ok(Received::Head { consumed }) => {
                    input = &input[consumed..];
                    connection
                        .send_head(&ResponseHead::new(StatusCode::OK), &Ambient::default(), &mut out)
                        .unwrap();
                    connection.finish(None, &mut out).unwrap();
                    assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
                }
                Ok(_) if time_is_over => break RemoteError::HeadTimeout,
                Ok(_) => break connection.receive_eof(input).expect_err("cut short"),
                Err(error) => break error,
            }
        };
        out.clear();
        connection.send_error(error, &Ambient::default(), &mut out).expect("a refusal");
        !out.ends_with(b"\r\n\r\n")
    };
    for time_is_over in [true, false] {
        for rest in ["", "Bad field: x\r\n\r\n", "Host: a b\r\n\r\n"] {
            let line = "/ HTTP/1.1\r\n";
            assert!(!refused(&format!("HEAD {line}{rest}"), time_is_over), "{rest:?}");
            assert!(!refused(&format!("\r\nHEAD {line}{rest}"), time_is_over), "{rest:?}");
            assert!(refused(&format!("GET {line}{rest}"), time_is_over), "{rest:?}");
            let behind = format!("HEAD {line}Host: a\r\n\r\nGET {line}{rest}");
            assert!(refused(&behind, time_is_over), "{rest:?} behind a HEAD");
        }
    }
}

#[test]
fn the_end_of_input_between_requests_is_no_error() {
    let mut connection = Connection::new();
    assert_eq!(connection.receive_eof(b""), Ok(()));
    let mut connection = asked(GET);
    assert_eq!(connection.receive_eof(b""), Ok(()), "the answer can still be sent");
    let head = send(&mut connection, 204, &Headers::new(), STREAMED).expect("a good head");
    assert!(head.contains("Connection: close"));
    assert_eq!(asked(POST).receive_eof(b""), Err(RemoteError::Truncated));
    assert_eq!(Connection::new().receive_eof(b"GET"), Err(RemoteError::Truncated));
}

#[test]
fn an_aborted_response_ends_the_connection() {
    let mut connection = asked(GET);
    send(&mut connection, 200, &Headers::new(), STREAMED).expect("a good head");
    connection.abort();
    assert_eq!(connection.outcome(), Outcome::Close);
    assert_eq!(connection.finish(None, &mut Vec::new()), Err(LocalError::AlreadyFinished));
}

#[test]
fn a_connection_stays_small() {
    assert!(size_of::<Connection>() <= 96, "{} bytes", size_of::<Connection>());
}
