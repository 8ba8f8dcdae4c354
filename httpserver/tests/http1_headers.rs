//! The multi-map of header fields.

use httpserver::{HeaderError, Headers};

fn sample() -> Headers {
    Headers::from_pairs([("B", "1"), ("a", "2"), ("b", "3"), ("C", "")]).expect("good fields")
}

#[test]
fn hu1_order_and_spelling_of_the_wire_are_kept() {
    let headers = sample();
    let all: Vec<_> = headers.iter().collect();
    assert_eq!(all, [("B", &b"1"[..]), ("a", b"2"), ("b", b"3"), ("C", b"")]);
    assert_eq!(headers.as_bytes(), b"B: 1\r\na: 2\r\nb: 3\r\nC: \r\n");
}

#[test]
fn hu1_names_compare_without_case_and_values_join() {
    let headers = sample();
    assert_eq!(headers.get("A"), Some(&b"2"[..]));
    assert_eq!(headers.text("A"), Some("2"));
    assert_eq!(headers.get_list("B").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(headers.joined("B").as_deref(), Some(&b"1,3"[..]));
    assert_eq!(headers.joined("d"), None);
    assert!(headers.contains("c") && !headers.contains("d"));
    assert_eq!(headers.len(), 4);
}

#[test]
fn hu2_insert_replaces_all_and_remove_counts() {
    let mut headers = sample();
    headers.insert("b", "4").expect("a good field");
    assert_eq!(headers.as_bytes(), b"a: 2\r\nC: \r\nb: 4\r\n");
    assert_eq!(headers.remove("A"), 1);
    assert_eq!(headers.remove("A"), 0);
    assert_eq!(headers.as_bytes(), b"C: \r\nb: 4\r\n");
    assert_eq!((headers.get("c"), headers.get("B")), (Some(&b""[..]), Some(&b"4"[..])));
}

#[test]
fn hu3_a_name_that_was_added_twice_can_be_removed() {
    let mut headers = sample();
    assert_eq!(headers.remove("b"), 2);
    assert_eq!(headers.as_bytes(), b"a: 2\r\nC: \r\n");
    assert_eq!(headers.get("a"), Some(&b"2"[..]));
}

#[test]
fn hu4_names_must_be_tokens() {
    let mut headers = Headers::new();
    for bad in ["", " ", "\t", "\n", "\0", " a", "a ", "a:b", "a\r\nb", "\u{e9}", "a(b)", "\"a\""] {
        assert_eq!(headers.add(bad, "x"), Err(HeaderError::InvalidName), "{bad:?}");
        assert_eq!(headers.insert(bad, "x"), Err(HeaderError::InvalidName), "{bad:?}");
    }
    assert!(headers.is_empty());
}

#[test]
fn hu4_every_byte_of_a_value_is_judged() {
    let mut headers = Headers::new();
    for byte in 0..=u8::MAX {
        let is_good = matches!(byte, b'\t' | b' '..=0x7E | 0x80..);
        assert_eq!(headers.add("x", [b'a', byte, b'b']).is_ok(), is_good, "{byte:#x}");
    }
}

#[test]
fn hu5_no_way_in_skips_the_check() {
    assert_eq!(Headers::from_pairs([("a", "b\r\nc: d")]), Err(HeaderError::InvalidValue));
    let mut headers = sample();
    assert_eq!(headers.insert("a", "b\nc"), Err(HeaderError::InvalidValue));
    assert_eq!(headers, sample(), "a refused field changes nothing");
    assert_eq!(headers.try_extend([("x", "y"), ("bad name", "z")]), Err(HeaderError::InvalidName));
    assert_eq!(headers.get("x"), Some(&b"y"[..]));
}

#[test]
fn hu6_blanks_around_a_value_are_not_part_of_it() {
    let headers = Headers::from_pairs([("a", " \t b c\t")]).expect("a good field");
    assert_eq!(headers.get("a"), Some(&b"b c"[..]));
}

#[test]
fn hu9_a_hundred_thousand_repeats_are_kept_apart() {
    let mut headers = Headers::new();
    for _ in 0..100_000 {
        headers.add("x", "y").expect("a good field");
    }
    assert_eq!(headers.get_list("X").count(), 100_000);
    assert_eq!(headers.remove("x"), 100_000);
    assert!(headers.is_empty() && headers.as_bytes().is_empty());
}

#[test]
fn hu10_a_copy_is_independent() {
    let original = sample();
    let mut copy = original.clone();
    copy.clear();
    assert_eq!((copy.len(), original.len()), (0, 4));
}

#[test]
fn all_fields_together_are_bounded() {
    let mut headers = Headers::new();
    let value = vec![b'x'; Headers::MAX_BYTES - "a: \r\n".len()];
    headers.add("a", &value).expect("exactly as much as allowed");
    assert_eq!(headers.add("b", ""), Err(HeaderError::TooLarge));
    assert_eq!(headers.insert("b", ""), Err(HeaderError::TooLarge));
    assert_eq!(headers.append(&sample()), Err(HeaderError::TooLarge));
    assert_eq!(headers.len(), 1);
    headers.insert("a", &value).expect("what it replaces makes room");
    assert_eq!(headers.len(), 1);
}

#[test]
fn appended_fields_follow_in_order() {
    let mut headers = sample();
    headers.append(&sample()).expect("room enough");
    assert_eq!(headers.len(), 8);
    assert_eq!(headers.get_list("b").collect::<Vec<_>>(), [b"1", b"3", b"1", b"3"]);
    assert_eq!(headers.remove("a"), 2);
    assert_eq!(headers.as_bytes(), b"B: 1\r\nb: 3\r\nC: \r\nB: 1\r\nb: 3\r\nC: \r\n");
}

#[test]
fn the_map_of_the_http_crate_is_taken() {
    let mut map = http::HeaderMap::new();
    map.append("vary", http::HeaderValue::from_static(" a "));
    map.append("vary", http::HeaderValue::from_static("b"));
    let headers = Headers::try_from(&map).expect("good fields");
    assert_eq!(headers.as_bytes(), b"vary: a\r\nvary: b\r\n");
}

#[test]
fn debug_output_escapes_and_hides_credentials() {
    let headers =
        Headers::from_pairs([("X", &b"a\xff\""[..]), ("Cookie", b"s3cret"), ("AUTHORIZATION", b"s3cret")]);
    let text = format!("{:?}", headers.expect("good fields"));
    assert_eq!(text, r#"{"X": "a\xff\"", "Cookie": (not shown), "AUTHORIZATION": (not shown)}"#);
}

#[test]
fn request_fields_can_be_changed_without_losing_the_request_line() {
    let mut connection = httpserver::http1::Connection::new();
    let mut head = httpserver::http1::RequestHead::new();
    let input = b"GET http://h/p?q=1?2 HTTP/1.1\r\nHost:a\r\nX-One:1\r\nX-Two: 2\r\n\r\n";
    connection.receive_head(input, &Default::default(), &mut head).expect("a good head");
    assert_eq!(head.headers().as_bytes(), b"Host:a\r\nX-One:1\r\nX-Two: 2\r\n");
    head.headers_mut().remove("host");
    head.headers_mut().insert("x-one", "3").expect("a good field");
    assert_eq!(head.headers().as_bytes(), b"X-Two: 2\r\nx-one: 3\r\n");
    assert_eq!((head.target(), head.path(), head.query()), ("http://h/p?q=1?2", "/p", Some("q=1?2")));
    assert_eq!(head.host(), Some("h"));
}
