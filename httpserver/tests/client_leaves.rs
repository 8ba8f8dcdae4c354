//! A client that goes away while its handler is at work.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpOptions, HttpServer, Request, Response, StatusCode};
use support::{Peer, Stage, answer, plain};

const SECOND: Duration = Duration::from_secs(1);

/// What has become of a handler.
#[derive(Default)]
struct Seen {
    called: Cell<u32>,
    ran_on: Cell<bool>,
    dropped: Cell<bool>,
}

struct Dropped(Rc<Seen>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.set(true);
    }
}

/// A request under way whose handler waits five seconds before it answers, and goes on waiting after.
fn scene(options: HttpOptions) -> (Stage, Peer, Rc<Seen>) {
    let (stage, seen) = (Stage::new(), Rc::new(Seen::default()));
    let see = Rc::clone(&seen);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| -> Result<(), HttpError> {
        let (see, called) = (Dropped(Rc::clone(&see)), Rc::clone(&see));
        exchange.on_connection_close(|| unreachable!("it was replaced"));
        exchange.on_connection_close(move || called.called.set(called.called.get() + 1));
        ioloop::sleep(5 * SECOND).await;
        let sent = exchange.send(Response::text("done")).await;
        see.0.ran_on.set(true);
        sent
    });
    let peer = stage.connect(&server.options(options));
    stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    (stage, peer, seen)
}

#[test]
fn h1_48_the_callback_is_called_once_and_the_handler_is_dropped() {
    let (stage, peer, seen) = scene(plain());
    assert!(seen.called.get() == 0 && !seen.dropped.get());
    peer.reset();
    stage.time.run_until_stalled();
    assert_eq!((seen.called.get(), seen.dropped.get(), seen.ran_on.get()), (1, true, false));
    assert!(peer.is_over());
}

#[test]
fn h1_48_a_handler_that_may_runs_on_to_its_end() {
    let (stage, peer, seen) = scene(plain().no_cancel_on_disconnect());
    peer.reset();
    stage.time.run_until_stalled();
    assert_eq!((seen.called.get(), seen.dropped.get()), (1, false));
    stage.time.advance(5 * SECOND);
    assert_eq!((seen.called.get(), seen.dropped.get(), seen.ran_on.get()), (1, true, true));
    assert!(peer.is_over());
    // For no longer than a handler may.
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| std::future::pending::<()>().await);
    let peer = stage.connect(&server.options(plain().no_cancel_on_disconnect()));
    stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.reset();
    stage.time.advance(59 * SECOND);
    assert!(!peer.is_over());
    stage.time.advance(SECOND);
    assert!(peer.is_over());
}

#[test]
fn h1_48_a_half_closed_client_is_not_gone_and_an_answered_one_calls_nobody() {
    let (stage, peer, seen) = scene(plain());
    peer.finish();
    stage.time.advance(5 * SECOND);
    assert_eq!(answer(peer.received()).text(), "done");
    assert_eq!((seen.called.get(), seen.ran_on.get()), (0, true));
    let (stage, peer, seen) = scene(plain());
    stage.time.advance(5 * SECOND);
    assert_eq!(answer(peer.received()).text(), "done");
    assert_eq!(Rc::strong_count(&seen), 2, "the server's closure and ours: the callback is gone");
    peer.reset();
    stage.time.run_until_stalled();
    assert_eq!(seen.called.get(), 0);
}

#[test]
fn h1_48_a_client_that_takes_nothing_any_more_is_gone_too() {
    let (stage, called) = (Stage::new(), Rc::new(Cell::new(false)));
    let call = Rc::clone(&called);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| -> Result<(), HttpError> {
        let call = Rc::clone(&call);
        exchange.on_connection_close(move || call.set(true));
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        loop {
            response.write(vec![b'x'; 100_000]).await?;
        }
    });
    let peer = stage.connect(&server.options(plain()));
    peer.set_room(Some(0));
    peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.time.run_until_stalled();
    assert!(!called.get());
    stage.time.advance(30 * SECOND);
    assert!(called.get() && peer.is_over());
}
