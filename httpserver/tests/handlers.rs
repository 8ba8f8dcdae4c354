//! Everything a handler can do wrong, and what becomes of one that waits.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use httpserver::{Exchange, Headers, HttpError, HttpServer, Request, Response, ResponseWriter, StatusCode};
use iostream::IoStream;
use iostream::testing::Script;
use support::{Stage, answer, answers, answers_with, plain};

const GET: &str = "GET /story?a=b HTTP/1.1\r\nHost: example.org:80\r\nX-Word: yes\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// What `handler` answers to `request`, and whether the connection goes on.
macro_rules! ask {
    ($handler:expr, $request:expr) => {{
        let stage = Stage::new();
        let peer = stage.connect(&HttpServer::new($handler).options(plain()));
        let back = stage.exchange(&peer, $request);
        (back, !peer.is_over() && !peer.is_shut())
    }};
}

#[test]
fn h1_51_row_34_a_panic_before_the_head_is_a_500_wherever_it_happens() {
    fn in_classic(_: &mut Exchange<'_>) {
        panic!("in a classic handler");
    }
    fn in_sync_part(_: Request) -> std::future::Ready<Response> {
        panic!("before the future exists");
    }
    async fn in_async_part(_: Request) -> Response {
        ioloop::yield_now().await;
        panic!("after an await");
    }
    async fn in_streaming(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.body().bytes().await?;
        panic!("after the body");
    }
    for (back, goes_on) in [
        ask!(in_classic, POST),
        ask!(in_sync_part, POST),
        ask!(in_async_part, POST),
        ask!(in_streaming, POST),
    ] {
        let back = answer(back);
        assert_eq!((back.status, back.closes(), goes_on), (500, true, false));
    }
}

#[test]
fn hs16_a_panic_costs_its_own_connection_only() {
    let server = HttpServer::new(async |request: Request| match request.path() {
        "/panic" => panic!("asked to"),
        path => path.to_owned(),
    })
    .options(plain());
    let stage = Stage::new();
    let (one, other) = (stage.connect(&server), stage.connect(&server));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer(stage.exchange(&other, get("/before"))).text(), "/before");
    let back = answers(stage.exchange(&one, get("/first") + &get("/panic") + &get("/never")));
    assert_eq!(back.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 500]);
    assert_eq!(answer(stage.exchange(&other, get("/after"))).text(), "/after");
}

#[test]
fn a_panic_after_the_head_ends_the_connection_without_a_second_answer() {
    async fn late(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.write("begun").await?;
        panic!("too late for a 500");
    }
    let (back, goes_on) = ask!(late, GET);
    assert!(back.ends_with(b"\r\n\r\n5\r\nbegun\r\n"), "no last chunk: {}", back.escape_ascii());
    assert!(!goes_on);
}

#[test]
fn what_was_sent_whole_is_not_lost_to_an_error_behind_it() {
    async fn fails_behind(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.send(Response::text("all of it")).await?;
        Err(HttpError::handler("afterwards"))
    }
    async fn panics_behind(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.send(Response::text("all of it")).await?;
        panic!("afterwards");
    }
    for (back, goes_on) in [ask!(fails_behind, POST), ask!(panics_behind, POST)] {
        assert_eq!((answer(back).text(), goes_on), ("all of it", false));
    }
}

#[test]
fn an_error_by_question_mark_is_a_500_and_one_of_the_peers_keeps_its_status() {
    async fn own(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Err("7x".parse::<u8>().map_err(HttpError::handler).unwrap_err())
    }
    async fn peers(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Err(httpserver::http1::RemoteError::BodyTooLarge.into())
    }
    assert_eq!(answer(ask!(own, GET).0).status, 500);
    assert_eq!(answer(ask!(peers, GET).0).status, 413);
}

#[test]
fn a_failure_of_another_stream_is_not_taken_for_the_peers() {
    async fn proxy(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        let (transport, backend) = iostream::testing::scripted();
        let stream = IoStream::new(transport).map_err(HttpError::handler)?;
        backend.reset();
        stream.read_until(b"\n").await?;
        unreachable!("it was reset");
    }
    let (back, goes_on) = ask!(proxy, GET);
    assert_eq!((answer(back).status, goes_on), (500, false));
}

#[test]
fn a_handler_that_ends_without_an_answer_is_a_500() {
    async fn silent(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Ok(())
    }
    async fn never_started(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        drop(exchange.respond(StatusCode::OK));
        Ok(())
    }
    assert_eq!(answer(ask!(silent, GET).0).status, 500);
    assert_eq!(answer(ask!(never_started, GET).0).status, 500);
}

#[test]
fn h1_36_a_body_longer_or_shorter_than_announced_ends_the_connection() {
    async fn longer(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).content_length(5).start().await?;
        response.write("123").await?;
        response.write("456").await?;
        response.finish().await
    }
    async fn shorter(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).content_length(5).start().await?;
        response.write("123").await?;
        response.finish().await
    }
    async fn forgets_the_rest(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).content_length(5).start().await?;
        response.write("123").await
    }
    for (back, goes_on) in [ask!(longer, GET), ask!(shorter, GET), ask!(forgets_the_rest, GET)] {
        assert!(back.ends_with(b"\r\n\r\n123"), "{}", back.escape_ascii());
        assert!(!goes_on);
    }
    // Known before anything was sent, so the peer can be told.
    async fn differs(_: Request) -> Result<Response, HttpError> {
        Ok(Response::text("123").header("Content-Length", "5")?)
    }
    assert_eq!(answer(ask!(differs, GET).0).status, 500);
}

#[test]
fn h1_45_nothing_can_be_injected_into_a_head() {
    async fn name(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let builder = exchange.respond(StatusCode::OK).header("X\r\nSet-Cookie", "a=b");
        builder.start().await?.finish().await
    }
    async fn value(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.respond(StatusCode::OK).header("X", "a\r\nSet-Cookie: a=b").send("body").await
    }
    async fn content_type(_: Request) -> Response {
        Response::text("x").content_type("text/plain\r\nSet-Cookie: a=b")
    }
    async fn framing(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.respond(StatusCode::OK).header("Transfer-Encoding", "gzip").send("body").await
    }
    for request in [GET, POST] {
        for (back, _) in
            [ask!(name, request), ask!(value, request), ask!(content_type, request), ask!(framing, request)]
        {
            let back = answer(back);
            assert_eq!((back.status, back.header("set-cookie")), (500, None));
        }
    }
}

#[test]
fn a_bad_header_is_told_at_the_start_also_while_the_body_is_unread() {
    let told = Rc::new(Cell::new(false));
    let tell = Rc::clone(&told);
    let handler = async move |exchange: &mut Exchange<'_>| {
        let started = exchange.respond(StatusCode::OK).header("X", "\n").start().await.map(drop);
        tell.set(matches!(started, Err(HttpError::Header(_))));
        exchange.send(Response::text("instead")).await
    };
    assert_eq!(answer(ask!(handler, POST).0).text(), "instead");
    assert!(told.get());
}

#[test]
fn two_responses_to_one_request_are_an_error_of_the_second() {
    let second = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&second);
    let handler = async move |exchange: &mut Exchange<'_>| {
        let finish = async |writer: Result<ResponseWriter<'_>, HttpError>| writer?.finish().await;
        let (one, two) = (exchange.respond(StatusCode::OK), exchange.respond(StatusCode::CREATED));
        let one = finish(one.start().await).await;
        let two = finish(two.start().await).await;
        let three = exchange.send(Response::text("three")).await;
        seen.borrow_mut().extend([one.is_ok(), two.is_ok(), three.is_ok()]);
        Ok(())
    };
    for request in [GET, POST] {
        let (back, goes_on) = ask!(handler.clone(), request);
        assert_eq!((answer(back).status, goes_on), (200, true));
        assert_eq!(second.take(), [true, false, false]);
    }
}

/// Notes when it is dropped.
struct Dropped(Rc<Cell<bool>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn h1_29_h1_48_a_handler_that_waits_is_dropped_when_the_peer_is_gone_even_with_requests_unread() {
    for pipelined in [1, 2] {
        let dropped = Rc::new(Cell::new(false));
        let mark = Rc::clone(&dropped);
        let server = HttpServer::new(move |_: Request| {
            let mark = Dropped(Rc::clone(&mark));
            async move {
                std::future::pending::<()>().await;
                drop(mark);
            }
        });
        let stage = Stage::new();
        let peer = stage.connect(&server);
        peer.send(GET.repeat(pipelined));
        stage.time.run_until_stalled();
        stage.time.advance(Duration::from_secs(59));
        assert!(!dropped.get() && !peer.is_over(), "no deadline of ours has passed");
        peer.reset();
        stage.time.run_until_stalled();
        assert!(dropped.get() && peer.is_over());
        assert_eq!(peer.received(), b"");
    }
}

#[test]
fn h1_48_a_handler_that_is_to_finish_whatever_happens_learns_that_its_client_has_gone_and_goes_on() {
    let said = Rc::new(Cell::new(""));
    let says = Rc::clone(&said);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        exchange.closed().await;
        says.set("gone");
        ioloop::sleep(Duration::from_secs(5)).await;
        says.set("finished");
        let sent = exchange.send(Response::text("for nobody")).await;
        assert!(matches!(sent, Err(HttpError::Stream(_))), "{sent:?}");
        sent
    });
    let stage = Stage::new();
    let peer = stage.connect(&server.options(plain().no_cancel_on_disconnect()));
    peer.send(GET);
    stage.time.advance(Duration::from_secs(30));
    assert_eq!(said.get(), "");
    peer.reset();
    stage.time.run_until_stalled();
    assert_eq!(said.get(), "gone");
    stage.time.advance(Duration::from_secs(5));
    assert_eq!(said.get(), "finished");
    assert!(peer.is_over());
}

#[test]
fn a_handler_whose_peer_has_only_ended_its_side_goes_on_and_is_dropped_when_that_resets() {
    async fn slow(request: Request) -> String {
        ioloop::sleep(Duration::from_secs(60)).await;
        request.path().to_owned()
    }
    let stage = Stage::new();
    let server = HttpServer::new(slow).options(plain());
    let half_closed = stage.connect(&server);
    half_closed.send(GET);
    half_closed.finish();
    let gone = stage.connect(&server);
    gone.send(GET);
    gone.finish();
    stage.time.advance(Duration::from_secs(30));
    gone.reset();
    stage.time.run_until_stalled();
    assert!(gone.is_over());
    stage.time.advance(Duration::from_secs(30));
    assert_eq!(answer(half_closed.received()).text(), "/story");
    assert!(half_closed.is_over());
}

#[test]
fn a_handler_that_never_finishes_keeps_nobody_else_waiting() {
    let server = HttpServer::new(async |request: Request| {
        if request.path() == "/never" {
            std::future::pending::<()>().await;
        }
        "done"
    });
    let stage = Stage::new();
    let server = server.options(plain());
    let stuck = stage.connect(&server);
    assert_eq!(stage.exchange(&stuck, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
    assert_eq!(answer(stage.ask(&server, GET)).text(), "done");
}

#[test]
fn a_panic_that_panics_again_when_it_is_dropped_is_still_answered_with_500() {
    struct Twice;
    impl Drop for Twice {
        fn drop(&mut self) {
            panic!("and again");
        }
    }
    async fn handler(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        std::panic::panic_any(Twice)
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(handler));
    assert_eq!(answer(stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).status, 500);
}

const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const COUNT: &str = "GET /count HTTP/1.1\r\nHost: a\r\n\r\n";

/// Streams far more than anybody would wait for, and counts how often it has written; says the count to who asks for `/count`.
fn endless(
    in_step: impl AsyncFn(&mut ResponseWriter<'_>) + 'static,
) -> HttpServer<impl httpserver::Handler<httpserver::Streaming>, httpserver::Streaming> {
    const FAR_TOO_OFTEN: u32 = 100_000;
    let written = Cell::new(0);
    HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        if exchange.path() == "/count" {
            return exchange.send(Response::text(written.get().to_string())).await;
        }
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        for _ in 0..FAR_TOO_OFTEN {
            written.set(written.get() + 1);
            response.write(vec![b'x'; 96]).await?;
            in_step(&mut response).await;
        }
        response.finish().await
    })
}

/// What is answered to HEAD and then to another request on the same connection, and how much was written for it.
fn answered_to_head(
    server: HttpServer<impl httpserver::Handler<httpserver::Streaming>, httpserver::Streaming>,
) -> String {
    let stage = Stage::new();
    let peer = stage.connect(&server.options(plain().max_buffered_response(9_600)));
    let back = answers_with(&stage.exchange(&peer, HEAD.to_owned() + COUNT), |number| number == 0);
    assert_eq!((back.len(), back[0].status), (2, 200));
    back[1].text().to_owned()
}

#[test]
fn h1_37_a_handler_that_streams_without_an_end_has_made_enough_for_head_where_it_would_wait() {
    assert_eq!(answered_to_head(endless(async |_| {})), "100");
    assert_eq!(answered_to_head(endless(async |response| response.flush().await.unwrap())), "100");
    // It does not matter in what it waits.
    let impatient = async |response: &mut ResponseWriter<'_>| {
        let _late = ioloop::timeout(Duration::from_secs(1), response.write(vec![b'x'; 9_600])).await;
    };
    assert_eq!(answered_to_head(endless(impatient)), "1");
}

#[test]
fn h1_37_a_handler_that_is_to_finish_whatever_happens_lets_others_have_their_turn_while_it_answers_head() {
    let server =
        endless(async |_| {}).options(plain().no_cancel_on_disconnect().max_buffered_response(9_600));
    let stage = Stage::new();
    let (one, other) = (stage.connect(&server), stage.connect(&server));
    one.send(HEAD);
    other.send(COUNT);
    stage.time.run_until_stalled();
    assert_eq!(answer(other.received()).text(), "100", "when it was asked");
    assert_eq!(answer(stage.exchange(&other, COUNT)).text(), "100000");
}

#[test]
fn h1_37_who_has_made_enough_for_one_head_lets_others_have_their_turn_before_the_next() {
    let server = endless(async |_| {}).options(plain().max_buffered_response(9_600));
    let stage = Stage::new();
    let (one, other) = (stage.connect(&server), stage.connect(&server));
    one.send(HEAD.repeat(10));
    other.send(COUNT);
    stage.time.run_until_stalled();
    assert_eq!(answer(other.received()).text(), "100", "when it was asked");
    assert_eq!(answer(stage.exchange(&other, COUNT)).text(), "1000");
}

#[test]
fn h1_37_a_handler_that_no_longer_waits_to_write_to_head_ends_by_itself() {
    let ended = Rc::new(Cell::new(false));
    let end = Rc::clone(&ended);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        let written = poll_fn(|cx| Poll::Ready(pin!(response.write(vec![0; 1 << 20])).poll(cx).is_ready()));
        assert!(!written.await, "it would be dropped here");
        response.finish().await?;
        ioloop::sleep(Duration::from_secs(1)).await;
        end.set(true);
        Ok(())
    });
    let stage = Stage::new();
    let peer = stage.connect(&server.options(plain()));
    assert_eq!(answers_with(&stage.exchange(&peer, HEAD), |_| true).len(), 1);
    stage.time.advance(Duration::from_secs(1));
    assert!(ended.get() && !peer.is_shut());
}

#[test]
fn h1_37_a_handler_that_has_ended_its_answer_to_head_or_says_all_of_it_at_once_runs_to_its_end() {
    let ended = Rc::new(Cell::new(0));
    let end = Rc::clone(&ended);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        if exchange.path() == "/classic" {
            exchange.write_headers(StatusCode::OK, &Headers::new());
            exchange.write(vec![b'x'; 100_000]);
            exchange.finish();
            exchange.flush().await?;
        } else {
            exchange.respond(StatusCode::OK).send(vec![b'x'; 100_000]).await?;
        }
        end.set(end.get() + 1);
        Ok(())
    });
    let stage = Stage::new();
    for path in ["/", "/classic"] {
        let peer = stage.connect(&server.clone().options(plain()));
        let back =
            answers_with(&stage.exchange(&peer, HEAD.replace("/ ", &format!("{path} ")).repeat(2)), |_| true);
        assert_eq!((back.len(), ended.take(), peer.is_shut()), (2, 2, false), "{path}");
    }
}

/// Nothing that is sent would ever tell.
#[test]
fn h1_37_a_handler_that_is_to_finish_whatever_happens_hears_that_the_peer_has_ended_its_side_while_it_answers_head()
 {
    for leave in [Script::finish, Script::reset] {
        let script = Rc::<RefCell<Option<Script>>>::default();
        let leaves = Rc::clone(&script);
        let server = endless(async move |_| {
            if let Some(script) = leaves.take() {
                leave(&script);
            }
        });
        let stage = Stage::new();
        let server = server.options(plain().no_cancel_on_disconnect().max_buffered_response(9_600));
        let (peer, other) = (stage.connect(&server), stage.connect(&server));
        script.replace(Some((*peer).clone()));
        peer.send(HEAD);
        stage.time.run_until_stalled();
        assert_eq!(answer(stage.exchange(&other, COUNT)).text(), "100");
    }
}
