//! Each connection's handler runs in a span of its own, where somebody listens.

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use ioloop::testing::VirtualLoop;
use iostream::IoStream;
use support::{connect, loopback};
use tcpserver::{ConnectionContext, TcpServer};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Keeps what happens to spans, and in which an event happens.
#[derive(Clone)]
struct Spans {
    up_to: Level,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    made: Vec<String>,
    entered: Vec<u64>,
    closed: Vec<u64>,
    /// The message of each event, with the span it happened in.
    events: Vec<(String, Option<u64>)>,
}

impl Spans {
    fn up_to(up_to: Level) -> Spans {
        Spans { up_to, state: Arc::default() }
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().expect("nobody panicked with it"))
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.up_to
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(format!("{} ", attributes.metadata().name()));
        attributes.record(&mut text);
        self.with(|state| {
            state.made.push(text.0);
            span::Id::from_u64(state.made.len() as u64)
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.with(|state| state.events.push((text.0, state.entered.last().copied())));
    }

    fn enter(&self, id: &span::Id) {
        self.with(|state| state.entered.push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        assert_eq!(self.with(|state| state.entered.pop()), Some(id.into_u64()));
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(|state| state.closed.push(id.into_u64()));
        true
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
}

/// Two clients at once, whose handlers wait for each other's turn, and one of which panics. Gives what was seen while they
/// were open, and after.
fn serve_two(spans: &Spans) -> (usize, Vec<String>) {
    let _guard = tracing::subscriber::set_default(spans.clone());
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(|stream: IoStream, context: ConnectionContext| {
        tracing::info!(number = context.id(), "begins");
        async move {
            let line = stream.read_until(b"\n").await;
            tracing::info!(number = context.id(), "ends");
            assert!(line.is_ok(), "no line");
        }
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let clients = [connect(address), connect(address)];
    let peers = clients.each_ref().map(|client| client.local_addr().expect("a socket").to_string());
    test.run_until_stalled();
    let closed = spans.with(|state| state.closed.len());
    drop(clients);
    test.run_until_stalled();
    assert_eq!(server.metrics().handler_panics, 2);
    (closed, peers.into())
}

#[test]
fn ts12_what_a_handler_logs_is_in_the_span_of_its_connection_which_ends_with_it() {
    let spans = Spans::up_to(Level::DEBUG);
    let (closed_before, peers) = serve_two(&spans);
    assert_eq!(closed_before, 0);
    spans.with(|state| {
        let expected: Vec<_> =
            peers.iter().zip(1..).map(|(peer, id)| format!("connection id={id} peer={peer} ")).collect();
        assert_eq!(state.made, expected);
        assert_eq!((&state.entered[..], &state.closed[..]), (&[][..], &[1, 2][..]));
        for (message, span) in &state.events {
            let number = [1, 2].into_iter().find(|number| message.contains(&format!("number={number}")));
            assert!(number.is_none() || *span == number, "{message} in {span:?}");
        }
        assert_eq!(state.events.iter().filter(|(_, span)| span.is_some()).count(), 4);
    });
}

#[test]
fn ts12_no_span_is_made_where_nobody_listens_to_it() {
    let spans = Spans::up_to(Level::INFO);
    serve_two(&spans);
    spans.with(|state| {
        assert_eq!(state.made, [""; 0]);
        assert_eq!(state.events.iter().filter(|(message, _)| message.contains("number")).count(), 4);
    });
}
