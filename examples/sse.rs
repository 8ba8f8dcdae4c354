//! Server-sent events: a clock that browsers follow, and that resumes where it was after a reconnect.
//!
//! Run it:            cargo run --release --example sse [-- --port N]
//! In a browser:      http://127.0.0.1:8888/
//! In another shell:  curl -N http://127.0.0.1:8888/events
//!                    curl -N -H 'Last-Event-ID: 41' http://127.0.0.1:8888/events     # begins with 42

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use httpserver::{Event, Exchange, HttpError, HttpServer, Response};

const PAGE: &str = "<!doctype html><title>ticks</title><p id=tick>waiting</p>
<script>new EventSource('/events').addEventListener('tick', event => tick.textContent = event.data)</script>
";

async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    match exchange.path() {
        "/" => exchange.send(Response::html(PAGE)).await,
        "/events" => ticks(exchange).await,
        _ => exchange.send(Response::text("not found\n").status(StatusCode::NOT_FOUND)).await,
    }
}

/// Until the client leaves, when this is dropped where it waits, or the server is to end: then the browser comes back by itself.
async fn ticks(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let seen: Option<u64> = exchange.last_event_id().and_then(|id| id.parse().ok());
    let first = seen.map_or(0, |last| last.saturating_add(1));
    let mut events = exchange.events().await?;
    events.send(&Event::retry(Duration::from_secs(2))).await?;
    for tick in first.. {
        if exchange.connection().is_draining() {
            break;
        }
        let event = Event::new(format!("tick {tick}")).name("tick").id(tick.to_string());
        events.send(&event).await?;
        ioloop::sleep(Duration::from_secs(1)).await;
    }
    events.finish().await
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("sse [--port N]", &["--port"]);
    examples::log_to_stderr();

    let server = HttpServer::new(route);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(5))?;
    Ok(())
}
