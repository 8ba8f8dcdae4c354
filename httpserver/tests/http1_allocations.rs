//! What a request costs in allocations: none, once the buffers have grown.

use http::StatusCode;
use httpserver::Headers;
use httpserver::http1::{Ambient, Connection, Limits, Outcome, RequestHead, ResponseHead, ResponseLength};

fn request(fields: usize) -> Vec<u8> {
    let fields = "X-Field: some value or other\r\n".repeat(fields - 1);
    format!("GET /plaintext HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// One exchange on a kept-alive connection.
fn exchange(
    connection: &mut Connection,
    head: &mut RequestHead,
    input: &[u8],
    ambient: &Ambient,
    out: &mut Vec<u8>,
) {
    out.clear();
    connection.receive_head(input, &Limits::default(), head).expect("a good head");
    let response =
        ResponseHead::new(StatusCode::OK).content_type("text/plain").length(ResponseLength::Known(13));
    connection.send_head(&response, ambient, out).expect("a good head");
    connection.send_data(b"Hello, World!", out).expect("a good piece");
    connection.finish(None, out).expect("the end");
    assert_eq!(connection.start_next_request(), Outcome::KeepAlive);
}

#[test]
fn a_kept_alive_exchange_allocates_nothing_whatever_the_number_of_fields() {
    let (mut connection, mut head, mut out) = (Connection::new(), RequestHead::new(), Vec::new());
    let ambient = Ambient::with_server("Waterspout").expect("a good name");
    exchange(&mut connection, &mut head, &request(60), &ambient, &mut out);
    for fields in [1, 60] {
        let input = request(fields);
        let cost = allocation_counter::measure(|| {
            exchange(&mut connection, &mut head, &input, &ambient, &mut out);
        });
        assert_eq!(cost.count_total, 0, "{fields} fields");
    }
}

#[test]
fn a_first_request_allocates_the_same_for_one_field_and_for_sixty() {
    let count = |fields| {
        let (mut connection, input) = (Connection::new(), request(fields));
        let cost = allocation_counter::measure(|| {
            let mut head = RequestHead::new();
            connection.receive_head(&input, &Limits::default(), &mut head).expect("a good head");
        });
        cost.count_total
    };
    // The bytes, the spans and the target.
    assert_eq!((count(1), count(60)), (3, 3));
}

#[test]
fn a_connection_and_its_errors_allocate_nothing() {
    let cost = allocation_counter::measure(|| {
        let (mut connection, mut head) = (Connection::new(), RequestHead::new());
        let refused = connection.receive_head(b"GET / HTTP/1.1\r\nHost: a\n", &Limits::default(), &mut head);
        assert!(refused.is_err());
    });
    assert_eq!(cost.count_total, 0);
}

#[test]
fn streamed_pieces_allocate_nothing_beyond_the_buffer() {
    let (mut connection, mut head, mut out) =
        (Connection::new(), RequestHead::new(), Vec::with_capacity(64 << 10));
    connection.receive_head(&request(1), &Limits::default(), &mut head).expect("a good head");
    let headers =
        Headers::from_pairs([("Content-Type", "text/plain"), ("Connection", "x")]).expect("good fields");
    let ambient = Ambient::default();
    let cost = allocation_counter::measure(|| {
        let response = ResponseHead::new(StatusCode::OK).headers(&headers);
        connection.send_head(&response, &ambient, &mut out).expect("a good head");
        for _ in 0..100 {
            connection.send_data(b"piece", &mut out).expect("a good piece");
        }
        connection.finish(None, &mut out).expect("the end");
    });
    assert_eq!(cost.count_total, 0);
}
