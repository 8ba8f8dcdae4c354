//! What is written to the log, how often, and in which span.

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode, log_request};
use support::{Stage, plain};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Keeps what is written, as one text each: spans with their fields, events with the spans that they happen in.
#[derive(Clone)]
struct Log {
    up_to: Level,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    spans: Vec<String>,
    entered: Vec<u64>,
    events: Vec<String>,
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _infallible = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["httpserver", "logged"].contains(&metadata.target().split(':').next().unwrap_or_default())
            && *metadata.level() <= self.up_to
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = attributes.metadata().name().to_owned();
        attributes.record(&mut Text(&mut text));
        let mut state = self.state.lock().unwrap();
        state.spans.push(text);
        span::Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let mut state = self.state.lock().unwrap();
        values.record(&mut Text(&mut state.spans[id.into_u64() as usize - 1]));
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = format!("{} {}", event.metadata().level(), event.metadata().target());
        event.record(&mut Text(&mut text));
        let mut state = self.state.lock().unwrap();
        let _infallible = write!(text, " within {:?}", state.entered);
        state.events.push(text);
    }

    fn enter(&self, id: &span::Id) {
        self.state.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, _: &span::Id) {
        self.state.lock().unwrap().entered.pop();
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
}

/// What is logged while `work` runs.
fn logged(up_to: Level, work: impl FnOnce(&Stage)) -> State {
    let log = Log { up_to, state: Arc::default() };
    let guard = tracing::subscriber::set_default(log.clone());
    work(&Stage::new());
    drop(guard);
    std::mem::take(&mut *log.state.lock().unwrap())
}

const GET: &str = "GET /story?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn each_request_runs_in_a_span_with_opentelemetrys_names() {
    let work = |stage: &Stage| {
        let server = HttpServer::new(async |request: Request| {
            ioloop::yield_now().await;
            tracing::info!("answering");
            Response::text(request.path().to_owned())
        });
        stage.ask(&server.options(plain()), GET.repeat(2));
    };
    let seen = logged(Level::DEBUG, work);
    let span = "request otel.kind=\"server\" http.request.method=\"GET\" url.path=\"/story\" http.response.status_code=200";
    assert_eq!(seen.spans, [span, span]);
    assert!(
        seen.events[0].ends_with("within [1]") && seen.events[1].ends_with("within [2]"),
        "{:?}",
        seen.events
    );
    let seen = logged(Level::INFO, work);
    assert_eq!((seen.spans.len(), seen.events.len()), (0, 2), "nobody asked for spans");
}

/// Has a client ask.
type Ask<'a> = &'a dyn Fn(&Stage);

#[test]
fn a_fault_is_written_once_and_a_flood_of_them_ten_times_a_second() {
    async fn fails(request: Request) -> Result<Response, HttpError> {
        match request.path() {
            "/panic" => panic!("asked to"),
            _ => Err(HttpError::handler("no luck")),
        }
    }
    async fn fails_streaming(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Err(HttpError::handler("no luck"))
    }
    let flood = |ask: Ask<'_>| {
        logged(Level::DEBUG, |stage| {
            (0..50).for_each(|_| ask(stage));
            stage.time.advance(Duration::from_secs(1));
            ask(stage);
        })
        .events
    };
    let whole = || HttpServer::new(fails).options(plain());
    let streaming = || HttpServer::new(fails_streaming).options(plain());
    let (one, two, three, four) = (whole(), whole(), streaming(), streaming());
    let panic = GET.replace("/story", "/panic");
    let floods: [(Ask<'_>, &str); 4] = [
        (&|stage| drop(stage.ask(&one, GET)), "a request handler failed"),
        (&|stage| drop(stage.ask(&two, &panic)), "a request handler panicked"),
        (&|stage| drop(stage.ask(&three, GET)), "a request handler failed"),
        (&|stage| drop(stage.ask(&four, "nonsense\r\n\r\n")), "malformed HTTP message"),
    ];
    for (ask, words) in floods {
        let events = flood(ask);
        assert_eq!(events.len(), 11, "{events:#?}");
        assert!(events.iter().all(|event| event.contains(words)), "{events:#?}");
        assert!(events[10].contains("withheld=40"), "{events:#?}");
    }
}

#[test]
fn a_client_that_leaves_a_connection_that_was_taken_over_is_not_logged() {
    async fn lines(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let response = exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "lines");
        let stream = response.switch().await?;
        loop {
            let line = stream.read_until_max(b"\n", 4).await?;
            stream.write(line).await?;
        }
    }
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n";
    let ends = |last_words: &str| {
        logged(Level::INFO, |stage| {
            let peer = stage.connect(&HttpServer::new(lines).options(plain()));
            let back = stage.exchange(&peer, format!("{upgrade}one\n{last_words}"));
            assert!(back.ends_with(b"\r\n\r\none\n"), "{}", back.escape_ascii());
            peer.finish();
            stage.time.run_until_stalled();
        })
        .events
    };
    assert_eq!(ends(""), [""; 0]);
    assert_eq!(ends("tw"), [""; 0], "in the middle of a line");
    let [event] = &ends("a line too long\n")[..] else { panic!("the handler's own failures are") };
    assert!(event.contains("a request handler failed"), "{event}");
}

#[test]
fn hs17_the_ready_line_has_tornados_levels() {
    let events = logged(Level::INFO, |stage| {
        let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
            let status = exchange.path()[1..].parse().map_err(HttpError::handler)?;
            exchange.send(Response::new(StatusCode::from_u16(status).unwrap())).await
        });
        let server = server.options(plain().access_log(log_request));
        for status in [200, 304, 404, 503] {
            stage.ask(&server, format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
    })
    .events;
    let expected = [("INFO", 200), ("INFO", 304), ("WARN", 404), ("ERROR", 503)].map(|(level, status)| {
        format!("{level} httpserver::access message={status} GET /{status} (192.0.2.1) 0.00ms within []")
    });
    assert_eq!(events, expected);
}
