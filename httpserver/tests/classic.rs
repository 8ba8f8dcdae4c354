//! The oldest interface: a callback that writes a pre-encoded response (H1-40, `LegacyInterfaceTest`).

mod support;

use httpserver::{Exchange, HttpServer};
use support::{Stage, answer, answers_with, plain};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes back for `request` from a handler that writes these pieces and finishes; whether the connection goes on.
fn written(pieces: &'static [&'static str], request: &str) -> (Vec<u8>, bool) {
    run(
        move |exchange| {
            pieces.iter().for_each(|piece| exchange.write(*piece));
            exchange.finish();
        },
        request,
    )
}

fn run(handler: impl Fn(&mut Exchange<'_>) + 'static, request: &str) -> (Vec<u8>, bool) {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(handler).options(plain()));
    let back = stage.exchange(&peer, request);
    (back, !peer.is_over() && !peer.is_shut())
}

#[test]
fn test_legacy_interface() {
    let (back, goes_on) = written(&["HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello legacy"], GET);
    assert_eq!((answer(back).text(), goes_on), ("hello legacy", true));
}

#[test]
fn a_head_in_pieces_cut_anywhere_is_one_head() {
    const RESPONSE: &str = "HTTP/1.1 201 Made\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello";
    for cut in 1..RESPONSE.len() {
        let pieces = [&RESPONSE[..cut], &RESPONSE[cut..]];
        let handler = move |exchange: &mut Exchange<'_>| {
            pieces.iter().for_each(|piece| exchange.write(*piece));
            exchange.finish();
        };
        let (back, goes_on) = run(handler, GET);
        let back = answer(back);
        assert_eq!(
            (back.status, back.header("x-one"), back.text(), goes_on),
            (201, Some("1"), "hello", true)
        );
        assert!(back.head.starts_with("HTTP/1.1 201 Made\r\n"));
    }
}

#[test]
fn byte_by_byte_too() {
    let handler = |exchange: &mut Exchange<'_>| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" {
            exchange.write(vec![*byte]);
        }
        exchange.finish();
    };
    assert_eq!(answer(run(handler, GET).0).text(), "hello");
}

#[test]
fn without_a_length_the_body_is_chunked_or_ends_the_connection() {
    let pieces = &["HTTP/1.1 200 OK\r\n\r\n", "one ", "two"];
    let (back, goes_on) = written(pieces, GET);
    let back = answer(back);
    assert_eq!((back.header("transfer-encoding"), back.text(), goes_on), (Some("chunked"), "one two", true));
    let (back, goes_on) = written(pieces, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((answer(back).text(), goes_on), ("one two", false), "h1_34");
}

#[test]
fn a_head_that_is_none_is_a_500() {
    for pieces in [
        &["nonsense\r\n\r\n"][..],
        &["HTTP/1.1 abc OK\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
        &["HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"],
        &["HTTP/1.1 100 Continue\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"],
        &[],
    ] {
        let (back, goes_on) = written(pieces, GET);
        let back = answer(back);
        assert_eq!((back.status, back.closes(), goes_on), (500, true, false), "{pieces:?}");
    }
}

#[test]
fn a_head_that_never_ends_is_bounded() {
    let handler = |exchange: &mut Exchange<'_>| {
        exchange.write("HTTP/1.1 200 OK\r\n");
        for _ in 0..2_000 {
            exchange.write(format!("X: {}\r\n", "x".repeat(1_000)));
        }
        exchange.write("\r\n");
        exchange.finish();
    };
    assert_eq!(answer(run(handler, GET).0).status, 500);
}

#[test]
fn h1_36_a_body_longer_or_shorter_than_the_head_says_ends_the_connection() {
    for (pieces, end) in [
        (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world"][..], "\r\n\r\n"),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "lo, world"], "\r\n\r\nhel"),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hell"], "\r\n\r\nhell"),
    ] {
        let (back, goes_on) = written(pieces, GET);
        assert!(back.ends_with(end.as_bytes()), "{}", back.escape_ascii());
        assert!(!goes_on);
    }
}

#[test]
fn head_requests_get_the_head_and_the_connection_goes_on() {
    let (back, goes_on) = written(
        &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"],
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let back = answers_with(&back, |_| true);
    assert_eq!((back.len(), back[0].header("content-length"), goes_on), (1, Some("5"), true));
}

#[test]
fn no_finish_is_a_500_before_the_head_and_an_end_after_it() {
    let (back, goes_on) = run(|_| {}, GET);
    assert_eq!((answer(back).status, goes_on), (500, false));
    let (back, goes_on) =
        run(|exchange| exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"), GET);
    assert!(back.ends_with(b"\r\n\r\nhel"));
    assert!(!goes_on);
}

#[test]
fn finishing_twice_or_writing_afterwards_leaves_the_answer_whole_and_ends_the_connection() {
    fn good(exchange: &mut Exchange<'_>) {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        exchange.finish();
    }
    let twice = |exchange: &mut Exchange<'_>| {
        good(exchange);
        exchange.finish();
    };
    let afterwards = |exchange: &mut Exchange<'_>| {
        good(exchange);
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    };
    for (back, goes_on) in [run(twice, &GET.repeat(2)), run(afterwards, &GET.repeat(2))] {
        assert_eq!((answer(back).text(), goes_on), ("ok", false));
    }
}

#[test]
fn h1_27_its_own_connection_and_date_fields_are_heeded() {
    let (back, goes_on) =
        written(&["HTTP/1.1 200 OK\r\nConnection: close\r\nDate: then\r\nContent-Length: 0\r\n\r\n"], GET);
    let back = answer(back);
    assert_eq!((back.closes(), back.header("date"), goes_on), (true, Some("then"), false));
    assert_eq!(back.head.to_lowercase().matches("date:").count(), 1);
}

#[test]
fn the_body_of_the_request_is_there_when_the_callback_is_called() {
    let handler = |exchange: &mut Exchange<'_>| {
        let body = exchange.whole_body().clone();
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        exchange.write(body);
        exchange.finish();
    };
    let (back, _) = run(
        handler,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(answer(back).text(), "hello");
}

#[test]
fn a_large_answer_goes_out_whole() {
    let handler = |exchange: &mut Exchange<'_>| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        exchange.write(vec![b'x'; 1_000_000]);
        exchange.finish();
    };
    let (back, goes_on) = run(handler, GET);
    assert_eq!((answer(back).body.len(), goes_on), (1_000_000, true));
}
