//! Server-sent events.

mod support;

use std::time::Duration;

use httpserver::{Event, Exchange, HeaderError, HttpError, HttpServer};
use support::{Stage, plain};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n";

async fn count(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let seen: u32 = exchange.last_event_id().and_then(|id| id.parse().ok()).unwrap_or(0);
    let mut events = exchange.events().await?;
    for id in seen + 1..seen + 3 {
        ioloop::sleep(Duration::from_secs(1)).await;
        events.send(&Event::new(format!("event\n{id}")).name("count").id(id.to_string())).await?;
    }
    events.comment("still\nhere").await?;
    events.send(&Event::retry(Duration::from_secs(3))).await?;
    events.finish().await
}

#[test]
fn each_event_leaves_when_it_is_sent() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(count).options(plain()));
    let head = String::from_utf8(stage.exchange(&peer, GET)).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for field in ["Content-Type: text/event-stream", "Cache-Control: no-store", "Transfer-Encoding: chunked"]
    {
        assert!(head.contains(field), "{head}");
    }
    stage.time.advance(Duration::from_secs(1));
    let text = "event: count\nid: 42\ndata: event\ndata: 42\n\n";
    assert_eq!(peer.received(), format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
    stage.time.advance(Duration::from_secs(1));
    let rest = String::from_utf8(peer.received()).unwrap();
    assert!(
        rest.contains("id: 43\n") && rest.contains(": still\n: here\n\n") && rest.contains("retry: 3000\n\n"),
        "{rest}"
    );
    assert!(rest.ends_with("0\r\n\r\n"));
}

#[test]
fn to_head_the_fields_are_all_that_is_sent_and_nobody_waits_for_events() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(count).options(plain()));
    let heads = String::from_utf8(stage.exchange(&peer, GET.replace("GET", "HEAD").repeat(2))).unwrap();
    assert_eq!(heads.matches("Content-Type: text/event-stream\r\n").count(), 2, "{heads}");
    assert!(!peer.is_shut() && !heads.contains("Connection"), "the connection goes on");
}

#[test]
fn a_client_that_leaves_ends_its_handler() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(count).options(plain()));
    stage.exchange(&peer, GET);
    peer.reset();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
    assert_eq!(stage.time.counters().timers, 0, "nothing waits for the next event");
}

#[test]
fn every_kind_of_line_end_ends_a_line_and_none_gets_into_a_field() {
    let text = |data: &str| Event::new(data).to_text().unwrap();
    assert_eq!(text("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
    assert_eq!(text(""), "data: \n\n");
    assert_eq!(text("a\n"), "data: a\ndata: \n\n");
    for bad in ["a\nb", "a\rb", "a\0"] {
        assert_eq!(Event::new("").name(bad).to_text(), Err(HeaderError::InvalidValue));
        assert_eq!(Event::new("").id(bad).to_text(), Err(HeaderError::InvalidValue));
    }
}
