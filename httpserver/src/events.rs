//! Server-sent events: the `text/event-stream` of the HTML standard, §9.2.

use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;

use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::facts::RequestFacts;
use crate::headers::HeaderError;
use crate::writer::ResponseWriter;

/// One event for a browser's `EventSource`.
///
/// ```
/// use httpserver::Event;
///
/// let event = Event::new("two\nlines").name("update").id("7");
/// assert_eq!(event.to_text().unwrap(), "event: update\nid: 7\ndata: two\ndata: lines\n\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "an event does nothing unless it is sent"]
pub struct Event {
    name: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
    data: Option<String>,
}

impl Event {
    /// An event with this text, of any number of lines. A line end at its end is an empty line.
    pub fn new(data: impl Into<String>) -> Event {
        Event { data: Some(data.into()), ..Event::default() }
    }

    /// Tells the browser how long to wait before it connects again, and makes no event. In whole milliseconds.
    pub fn retry(after: Duration) -> Event {
        Event { retry: Some(after), ..Event::default() }
    }

    /// What listeners are called: those of `message` if this is not set.
    pub fn name(mut self, name: impl Into<String>) -> Event {
        self.name = Some(name.into());
        self
    }

    /// What the browser sends as Last-Event-ID when it connects again: see [`RequestFacts::last_event_id`].
    pub fn id(mut self, id: impl Into<String>) -> Event {
        self.id = Some(id.into());
        self
    }

    /// The event as it is sent.
    ///
    /// # Errors
    ///
    /// When the name or the id has a line end or NUL: what stands behind that would be another field.
    pub fn to_text(&self) -> Result<String, HeaderError> {
        let mut text =
            String::with_capacity(16 + self.data.as_ref().map_or(0, |data| data.len() + data.len() / 16));
        for (field, value) in [("event", &self.name), ("id", &self.id)] {
            let Some(value) = value else { continue };
            if value.contains(['\r', '\n', '\0']) {
                return Err(HeaderError::InvalidValue);
            }
            let _infallible = writeln!(text, "{field}: {value}");
        }
        if let Some(retry) = self.retry {
            let _infallible = writeln!(text, "retry: {}", retry.as_millis());
        }
        if let Some(data) = &self.data {
            prefix_lines("data: ", data, &mut text);
        }
        text.push('\n');
        Ok(text)
    }
}

/// Writes each line of `lines` behind `prefix`. To a browser CR alone ends a line too.
fn prefix_lines(prefix: &str, lines: &str, out: &mut String) {
    let mut rest = lines;
    loop {
        let end = rest.find(['\r', '\n']);
        out.push_str(prefix);
        out.push_str(&rest[..end.unwrap_or(rest.len())]);
        out.push('\n');
        let Some(end) = end else { return };
        let line_end = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + line_end..];
    }
}

/// A response that goes on for as long as there are events. Made by [`Exchange::events`].
///
/// When the client goes away, the handler is dropped where it waits. An idle stream should send a
/// [`comment`](EventStream::comment) now and then, so that proxies on the way do not take it for dead.
#[derive(Debug)]
pub struct EventStream<'e> {
    writer: ResponseWriter<'e>,
}

impl Exchange<'_> {
    /// Begins a response of server-sent events. Its head is sent at once. It says that nobody is to store it, and that nginx is
    /// not to hold it back.
    ///
    /// To HEAD it is all that is sent, so the handler is dropped here, unless
    /// [`no_cancel_on_disconnect`](crate::HttpOptions::no_cancel_on_disconnect) has it go on.
    ///
    /// # Errors
    ///
    /// As for [`ResponseBuilder::start`](crate::ResponseBuilder::start).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use httpserver::{Event, Exchange, HttpError, HttpServer};
    ///
    /// async fn clock(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    ///     let mut events = exchange.events().await?;
    ///     for tick in 0_u64.. {
    ///         events.send(&Event::new(format!("tick {tick}")).id(tick.to_string())).await?;
    ///         ioloop::sleep(Duration::from_secs(1)).await;
    ///     }
    ///     events.finish().await
    /// }
    ///
    /// HttpServer::new(clock);
    /// ```
    pub async fn events(&self) -> Result<EventStream<'_>, HttpError> {
        let response = self.respond(StatusCode::OK).header("Content-Type", "text/event-stream");
        let response = response.header("Cache-Control", "no-store").header("X-Accel-Buffering", "no");
        let mut writer = response.start().await?;
        writer.flush().await?;
        if writer.leaves_body_out() {
            self.active().make_no_more().await?;
        }
        Ok(EventStream { writer })
    }
}

impl RequestFacts {
    /// The [`id`](Event::id) of the last event that the browser has seen, when it connects again.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.headers().text("last-event-id")
    }
}

impl EventStream<'_> {
    /// Sends an event, and waits until the kernel has taken it: a client that does not read holds up its own handler, for
    /// `write_timeout` at most.
    ///
    /// # Errors
    ///
    /// When the event has a name or an id that cannot be sent, or the client is gone.
    ///
    /// # Cancel safety
    ///
    /// The event is queued by the first poll; dropped after that, only the wait is given up.
    pub async fn send(&mut self, event: &Event) -> Result<(), HttpError> {
        self.writer.write(event.to_text()?).await?;
        self.writer.flush().await
    }

    /// Sends a text that browsers take no notice of.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    ///
    /// # Cancel safety
    ///
    /// As for [`send`](EventStream::send).
    pub async fn comment(&mut self, text: &str) -> Result<(), HttpError> {
        let mut comment = String::with_capacity(text.len() + 4);
        prefix_lines(": ", text, &mut comment);
        comment.push('\n');
        self.writer.write(comment).await?;
        self.writer.flush().await
    }

    /// Ends the response. Browsers connect again, unless they then get 204.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub async fn finish(self) -> Result<(), HttpError> {
        self.writer.finish().await
    }
}
