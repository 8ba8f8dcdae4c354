//! Feeds bytes to a connection in given pieces and writes down what comes out. Shared by the tests and the fuzz targets.
//!
//! Every request is answered with an empty 200 once it is complete, so that one input can hold several.

use httpserver::http1::{
    Ambient, BodyEvent, Connection, Limits, Outcome, Received, RemoteError, RequestHead, ResponseHead,
    ResponseLength,
};

/// What a peer's bytes came to, one line per event. Pieces of a body are joined: how it was cut is not part of what it says.
pub(crate) fn events(pieces: &[&[u8]], limits: &Limits) -> Vec<String> {
    let mut peer = Peer::new(limits);
    for piece in pieces {
        if !peer.feed(piece) {
            return peer.events;
        }
    }
    peer.end();
    peer.events
}

struct Peer<'a> {
    limits: &'a Limits,
    connection: Connection,
    head: RequestHead,
    unread: Vec<u8>,
    body: Vec<u8>,
    in_body: bool,
    events: Vec<String>,
}

impl<'a> Peer<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            connection: Connection::new(),
            head: RequestHead::new(),
            unread: Vec::new(),
            body: Vec::new(),
            in_body: false,
            events: Vec::new(),
        }
    }

    /// Takes a piece; false if the connection is over.
    fn feed(&mut self, piece: &[u8]) -> bool {
        self.unread.extend_from_slice(piece);
        loop {
            let step = if self.in_body { self.step_body() } else { self.step_head() };
            match step {
                Ok(Step::NeedMore) => return true,
                Ok(Step::Again) => {}
                Ok(Step::Closed) => return false,
                Err(error) => {
                    self.flush_body();
                    self.events.push(format!("error {} {error:?}", error.status().as_u16()));
                    assert_eq!(self.connection.outcome(), Outcome::Close, "an error ends the connection");
                    return false;
                }
            }
        }
    }

    fn end(&mut self) {
        self.flush_body();
        match self.connection.receive_eof(&self.unread) {
            Ok(()) => self.events.push("eof".into()),
            Err(error) => self.events.push(format!("eof {error:?}")),
        }
    }

    fn step_head(&mut self) -> Result<Step, RemoteError> {
        let received = self.connection.receive_head(&self.unread, self.limits, &mut self.head)?;
        match received {
            Received::NeedMore { consumed } => {
                self.unread.drain(..consumed);
                return Ok(Step::NeedMore);
            }
            Received::Head { consumed } => drop(self.unread.drain(..consumed)),
            Received::Paused => unreachable!("the exchange before was finished"),
        }
        let host = self.head.host().unwrap_or("-");
        let framing = self.head.framing();
        let mut line =
            format!("{} {} {:?} host={host}", self.head.method(), self.head.target(), self.head.version());
        for (is_so, text) in [
            (!framing.keep_alive, " last"),
            (framing.expects_continue, " waits"),
            (framing.upgrade, " upgrade"),
        ] {
            line.push_str(if is_so { text } else { "" });
        }
        self.events.push(line);
        self.connection.check_body_size()?;
        self.in_body = true;
        Ok(Step::Again)
    }

    fn step_body(&mut self) -> Result<Step, RemoteError> {
        match self.connection.receive_body(&self.unread, self.limits)? {
            BodyEvent::NeedMore { consumed } => {
                self.unread.drain(..consumed);
                Ok(Step::NeedMore)
            }
            BodyEvent::Data { range, consumed } => {
                assert!(
                    !range.is_empty() && range.end <= consumed,
                    "data is never empty and always consumed"
                );
                self.body.extend_from_slice(&self.unread[range]);
                self.unread.drain(..consumed);
                Ok(Step::Again)
            }
            BodyEvent::End { consumed } => {
                self.unread.drain(..consumed);
                self.in_body = false;
                self.flush_body();
                let trailers = self.connection.trailers().into_iter().flatten();
                let trailers =
                    trailers.map(|(name, value)| format!("trailer {name}={}", value.escape_ascii()));
                self.events.extend(trailers);
                Ok(self.answer())
            }
        }
    }

    fn answer(&mut self) -> Step {
        let mut out = Vec::new();
        let is_connect = *self.head.method() == http::Method::CONNECT;
        let status = if is_connect { http::StatusCode::FORBIDDEN } else { http::StatusCode::OK };
        let response = ResponseHead::new(status).length(ResponseLength::Known(0));
        self.connection.send_head(&response, &Ambient::default(), &mut out).expect("a plain response");
        self.connection.finish(None, &mut out).expect("nothing is missing");
        match self.connection.start_next_request() {
            Outcome::KeepAlive => Step::Again,
            _ => {
                self.events.push("closed".into());
                Step::Closed
            }
        }
    }

    fn flush_body(&mut self) {
        if !self.body.is_empty() {
            self.events.push(format!("body {}", self.body.escape_ascii()));
            self.body.clear();
        }
    }
}

enum Step {
    Again,
    NeedMore,
    Closed,
}
