//! JSON in and out.
#![cfg(feature = "json")]

mod support;

use httpserver::{HttpError, HttpServer, Json, Request, Response};
use serde::{Deserialize, Serialize};
use support::{Answer, Stage, answer, plain};

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: Option<String>,
}

async fn moved(request: Request) -> Result<Json<Point>, HttpError> {
    let point: Point = request.json()?;
    Ok(Json(Point { x: point.x + 1, ..point }))
}

fn post(content_type: &str, body: &str) -> Answer {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    answer(Stage::new().ask(&HttpServer::new(moved).options(plain()), request))
}

#[test]
fn json_comes_in_and_goes_out() {
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
        let back = post(good, r#"{"x": 1, "y": "é"}"#);
        assert_eq!((back.status, back.text()), (200, r#"{"x":2,"y":"é"}"#), "{good}");
        assert_eq!(back.header("content-type"), Some("application/json"));
    }
}

#[test]
fn what_is_no_json_is_refused_and_why() {
    for other in ["text/plain", "application/x-www-form-urlencoded", "", "text/x+json"] {
        assert_eq!(post(other, r#"{"x": 1}"#).status, 415, "{other}");
    }
    for bad in ["", "{", r#"{"y": "a"}"#, r#"{"x": "a"}"#, "{\"x\": 1}x", "{\"x\": 1, \"y\": \"\u{0}\"}"] {
        let back = post("application/json", bad);
        assert_eq!(back.status, 400, "{bad}");
        assert!(back.text().starts_with("bad request: invalid JSON at line 1, column "), "{}", back.text());
    }
    let deep = post("application/json", &"[".repeat(100_000));
    assert_eq!(deep.status, 400, "and the stack is whole");
    assert_eq!(post("application/json\r\nContent-Encoding: gzip", r#"{"x": 1}"#).status, 415);
    assert_eq!(
        post("application/json\r\nContent-Type: text/plain", r#"{"x": 1}"#).status,
        415,
        "of two types"
    );
}

#[test]
fn what_json_cannot_say_is_an_error() {
    let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(Response::json(&keys).is_err());
}

/// Makes JSON while it is itself made.
struct Nested(usize);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filling = "x".repeat(self.0);
        assert!(Response::json(&["another value", &filling]).is_ok());
        serializer.collect_seq(["within", &filling])
    }
}

#[test]
fn values_of_any_size_are_whole_also_those_made_within_others() {
    let sized = async |request: Request| {
        let size = request.path()[1..].parse().expect("a size");
        Json(("before", Nested(size), "behind"))
    };
    let server = HttpServer::new(sized).options(plain());
    for size in [10, 4_000, 5_000, 100_000, 4_064, 3, 0] {
        let back = answer(Stage::new().ask(&server, format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert_eq!(back.text(), format!(r#"["before",["within","{}"],"behind"]"#, "x".repeat(size)));
    }
}
