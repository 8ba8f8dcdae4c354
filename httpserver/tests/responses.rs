//! What a handler can say in a response: cookies, redirects, and what turns into one.

mod support;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use httpserver::{
    CookieError, HeaderError, Headers, HttpServer, IntoResponse, Request, Response, SameSite, SetCookie,
    StatusCode,
};
use support::{Stage, answer, plain};

fn sent<R: IntoResponse + 'static>(make: impl Fn() -> R + 'static) -> support::Answer {
    let server = HttpServer::new(move |_: Request| {
        let response = make();
        async { response }
    });
    answer(Stage::new().ask(&server.options(plain()), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[test]
fn what_turns_into_a_response() {
    assert_eq!(sent(|| Cow::Borrowed("borrowed")).text(), "borrowed");
    assert_eq!(sent(|| Cow::Owned::<'static, str>("owned".to_owned())).text(), "owned");
    assert_eq!(sent(|| &b"bytes"[..]).header("content-type"), Some("application/octet-stream"));
    let headers = || Headers::from_pairs([("X-One", "1"), ("X-Two", "2")]).unwrap();
    let three = sent(move || (StatusCode::ACCEPTED, headers(), "three"));
    assert_eq!((three.status, three.header("x-two"), three.text()), (202, Some("2"), "three"));
    assert_eq!(sent(|| None::<&str>).status, 404);
    assert_eq!(sent(|| Some("there")).text(), "there");
}

#[test]
fn a_header_can_be_replaced() {
    let response = sent(|| Response::text("").header("X-A", "1").unwrap().set_header("x-a", "2").unwrap());
    assert_eq!(response.head.to_ascii_lowercase().matches("x-a: ").count(), 1);
    assert_eq!(response.header("x-a"), Some("2"));
}

#[test]
fn redirects_lead_where_they_should_and_nothing_else_gets_in() {
    let response = sent(|| Response::redirect(StatusCode::SEE_OTHER, "/next?a=b#c").unwrap());
    assert_eq!((response.status, response.header("location")), (303, Some("/next?a=b#c")));
    for bad in ["", "/a\r\nSet-Cookie: a=b", "/a b", "/\u{e9}", "/\0"] {
        assert_eq!(
            Response::redirect(StatusCode::FOUND, bad).err(),
            Some(HeaderError::InvalidValue),
            "{bad:?}"
        );
    }
}

#[test]
fn a_cookie_says_all_that_cookies_can_say() {
    let cookie = SetCookie::new("__Secure-id", "a=b/c==")
        .path("/a b")
        .domain("example.org")
        .max_age(Duration::from_millis(3_600_999))
        .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(1_359_312_200))
        .same_site(SameSite::None)
        .secure()
        .http_only()
        .partitioned();
    let expected = "__Secure-id=a=b/c==; Expires=Sun, 27 Jan 2013 18:43:20 GMT; Max-Age=3600; Domain=example.org; Path=/a b; \
                    SameSite=None; Secure; HttpOnly; Partitioned";
    assert_eq!(cookie.to_field_value().as_deref(), Ok(expected));
    assert_eq!(SetCookie::new("a", "").to_field_value().as_deref(), Ok("a="));
    let removal = "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/";
    assert_eq!(SetCookie::removal("a").path("/").to_field_value().as_deref(), Ok(removal));
    assert!(!format!("{cookie:?}").contains("a=b"), "values stay out of logs");
    let two = sent(|| {
        let (one, two) = (SetCookie::new("one", "1"), SetCookie::new("two", "2"));
        Response::text("").cookie(&one).unwrap().cookie(&two).unwrap()
    });
    assert!(two.head.contains("Set-Cookie: one=1\r\nSet-Cookie: two=2\r\n"), "{}", two.head);
}

#[test]
fn nothing_can_be_slipped_into_a_cookie() {
    let error = |cookie: SetCookie| cookie.to_field_value().err();
    for name in ["", "a b", "a=b", "a;b", "a\r\nb", "\u{e9}", "\"a\""] {
        assert_eq!(error(SetCookie::new(name, "x")), Some(CookieError::InvalidName), "{name:?}");
    }
    for value in ["a b", "a;b", "a,b", "\"a\"", "a\\b", "a\r\nb", "\u{e9}", "\0"] {
        assert_eq!(error(SetCookie::new("x", value)), Some(CookieError::InvalidValue), "{value:?}");
    }
    for text in ["/;a", "/\r\n", "/\u{e9}", "/\u{7f}", "a", ""] {
        assert_eq!(
            error(SetCookie::new("x", "y").path(text)),
            Some(CookieError::InvalidAttribute),
            "{text:?}"
        );
    }
    for text in ["a;b", "", "a\0"] {
        assert_eq!(
            error(SetCookie::new("x", "y").domain(text)),
            Some(CookieError::InvalidAttribute),
            "{text:?}"
        );
    }
    assert_eq!(error(SetCookie::new("x", "y".repeat(4096))), Some(CookieError::TooLarge));
    assert_eq!(error(SetCookie::new("x", "y".repeat(4095))), None);
}

#[test]
fn the_prefixes_of_cookies_keep_what_they_promise() {
    let error = |cookie: SetCookie| cookie.to_field_value().err();
    assert_eq!(error(SetCookie::new("__Secure-a", "1")), Some(CookieError::NotSecure));
    assert_eq!(error(SetCookie::new("__host-a", "1").path("/")), Some(CookieError::NotSecure));
    assert_eq!(error(SetCookie::new("a", "1").same_site(SameSite::None)), Some(CookieError::NotSecure));
    assert_eq!(error(SetCookie::new("a", "1").partitioned()), Some(CookieError::NotSecure));
    let of_one_host = || SetCookie::new("__Host-a", "1").secure();
    assert_eq!(error(of_one_host()), Some(CookieError::NotOfOneHost));
    assert_eq!(error(of_one_host().path("/").domain("a")), Some(CookieError::NotOfOneHost));
    assert_eq!(error(of_one_host().path("/")), None);
}
