//! What operators and their machines ask of a server: `/metrics`, `/livez`, `/readyz`.

use std::rc::Rc;

use http::{Method, StatusCode};
use tcpserver::{DrainPhase, Metrics, ServerHandle, ServersHandle};

use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::facts::RequestFacts;
use crate::handler::Handler;
use crate::metrics::{Exposition, HttpMetrics, Kind};
use crate::response::Response;

/// A handler for a listener of its own, which the public does not reach:
///
/// | path | answer |
/// | --- | --- |
/// | `/metrics` | the counts of [`HttpMetrics`], and of the connections of the servers that it watches, for Prometheus: in OpenMetrics' format to who accepts that |
/// | `/livez` | 200 |
/// | `/readyz` | 200; 503 from the moment that a server it watches is a lame duck, and while [`ready_if`](Admin::ready_if) says no |
///
/// ```no_run
/// use httpserver::{Admin, BindOptions, HttpMetrics, HttpOptions, HttpServer, Request};
///
/// let metrics = HttpMetrics::new();
/// let server = HttpServer::new(async |_: Request| "hello\n").options(HttpOptions::new().metrics(metrics.clone()));
/// server.listen(8888)?;
/// let admin = HttpServer::new(Admin::new(metrics).watch(server.handle())).max_connections(16);
/// admin.listen_with(9090, &BindOptions::new().address("127.0.0.1"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A limit of its own is what has it answer when the public's connections are as many as the process may have, and all busy: by default servers share
/// that limit, the probe would wait, and the server be killed for having much to do.
///
/// Its [`answer`](Admin::answer) can be given by a handler of your own too.
#[derive(Clone, Default)]
pub struct Admin {
    metrics: HttpMetrics,
    watched: Vec<Watched>,
    conditions: Vec<Rc<dyn Fn() -> bool>>,
}

#[derive(Debug, Clone)]
enum Watched {
    Here(ServerHandle),
    /// On loops of its own, which are asked.
    There(ServersHandle),
}

/// Marks [`Admin`] among handlers.
#[derive(Debug)]
pub enum Mounted {}

impl Admin {
    /// Shows what is counted here.
    #[must_use]
    pub fn new(metrics: HttpMetrics) -> Admin {
        Admin { metrics, ..Admin::default() }
    }

    /// Shows the connections of this server, and is ready only while it serves. Several add up.
    #[must_use]
    pub fn watch(mut self, server: &ServerHandle) -> Admin {
        self.watched.push(Watched::Here(server.clone()));
        self
    }

    /// The same for a server on many loops: [`HttpServer::start`](crate::HttpServer::start). Its loops are asked with each request, and
    /// the answer waits for one that is busy: a probe that hears nothing in time has its answer too.
    #[must_use]
    pub fn watch_all(mut self, servers: &ServersHandle) -> Admin {
        self.watched.push(Watched::There(servers.clone()));
        self
    }

    /// Is ready only while `condition` says so: a database that answers, a cache that is warm. Asked with each request; must not wait.
    #[must_use]
    pub fn ready_if(mut self, condition: impl Fn() -> bool + 'static) -> Admin {
        self.conditions.push(Rc::new(condition));
        self
    }

    /// Whether requests are welcome.
    pub async fn is_ready(&self) -> bool {
        for watched in &self.watched {
            if watched.drain_phase().await != DrainPhase::Serving {
                return false;
            }
        }
        self.conditions.iter().all(|condition| condition())
    }

    /// The answer to a request; 404 to other paths.
    pub async fn answer(&self, request: &RequestFacts) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refused = Response::new(StatusCode::METHOD_NOT_ALLOWED);
            return refused.header("Allow", "GET, HEAD").expect("a field like any other");
        }
        let answer = match request.path() {
            "/metrics" => self.metrics_page(request).await,
            "/livez" => Response::text("ok\n"),
            "/readyz" if self.is_ready().await => Response::text("ok\n"),
            "/readyz" => Response::text("not ready\n").status(StatusCode::SERVICE_UNAVAILABLE),
            _ => Response::text("not found\n").status(StatusCode::NOT_FOUND),
        };
        answer.header("Cache-Control", "no-store").expect("a field like any other")
    }

    async fn metrics_page(&self, request: &RequestFacts) -> Response {
        let accepts = request.headers().text("accept").unwrap_or_default();
        let (mut text, content_type) = match accepts.contains("application/openmetrics-text") {
            true => (Exposition::openmetrics(), "application/openmetrics-text; version=1.0.0; charset=utf-8"),
            false => (Exposition::prometheus(), "text/plain; version=0.0.4; charset=utf-8"),
        };
        self.metrics.write(&mut text);
        let mut connections = Metrics::default();
        for watched in &self.watched {
            connections += watched.metrics().await;
        }
        if !self.watched.is_empty() {
            write_connections(connections, &mut text);
        }
        Response::text(text.finish()).content_type(content_type)
    }
}

impl Watched {
    async fn drain_phase(&self) -> DrainPhase {
        match self {
            Watched::Here(server) => server.drain_phase(),
            Watched::There(servers) => servers.drain_phase().await,
        }
    }

    async fn metrics(&self) -> Metrics {
        match self {
            Watched::Here(server) => server.metrics(),
            Watched::There(servers) => servers.metrics().await.total(),
        }
    }
}

impl Handler<Mounted> for Admin {
    async fn handle(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let answer = self.answer(exchange).await;
        exchange.send(answer).await
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("watched", &self.watched).finish_non_exhaustive()
    }
}

/// What the servers beneath count: see [`Metrics`].
fn write_connections(metrics: Metrics, out: &mut Exposition) {
    let name = "tcp_server_active_connections";
    out.family(name, Kind::Gauge, "", "Connections that are open.");
    out.sample(name, &[], metrics.active as f64);
    let mut counter = |name: &str, help, counts: &[(&[(&str, &str)], u64)]| {
        out.family(name, Kind::Counter, "", help);
        counts.iter().for_each(|(labels, count)| out.counter(name, labels, *count));
    };
    counter("tcp_server_connections", "Connections that were let in.", &[(&[], metrics.accepted)]);
    let shed = metrics.shed;
    counter(
        "tcp_server_connections_shed",
        "Connections closed at the door, or to make room for others.",
        &[
            (&[("reason", "max_connections")], shed.max_connections),
            (&[("reason", "per_ip")], shed.per_ip),
            (&[("reason", "descriptors")], shed.descriptors),
            (&[("reason", "handshakes")], shed.handshakes),
            (&[("reason", "memory")], shed.memory),
            (&[("reason", "idle")], shed.idle),
        ],
    );
    counter(
        "tcp_server_full",
        "Times that the server was full and stopped accepting.",
        &[(&[], metrics.paused)],
    );
    counter(
        "tcp_server_accept_failures",
        "Attempts to accept that failed.",
        &[(&[], metrics.accept_failures)],
    );
    counter("tcp_server_bytes_received", "Bytes received.", &[(&[], metrics.bytes_received)]);
    counter("tcp_server_bytes_sent", "Bytes sent.", &[(&[], metrics.bytes_sent)]);
}
