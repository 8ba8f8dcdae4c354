//! What goes out on a connection: events in, bytes appended to a buffer.
//!
//! Everything is checked before the first byte is written, so after an error the buffer is as it was.

use http::StatusCode;

use super::ambient::Ambient;
use super::connection::Connection;
use super::encode::{self, Persistence};
use super::error::{LocalError, RemoteError};
use super::response::{ResponseHead, Survey, plan};
use super::state::{Receiving, Sending};
use super::trailers;
use crate::headers::Headers;

/// How a piece of the body is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFrame {
    /// Write the piece, then this: nothing or CRLF.
    Write {
        /// What follows the piece.
        suffix: &'static [u8],
    },
    /// Do not write the piece: it is empty, or an answer to HEAD.
    Omit,
}

impl Connection {
    /// Tells the peer to send the body it announced: `100 Continue`.
    ///
    /// # Errors
    /// [`LocalError::InformationalNotAllowed`] unless [`expects_continue`](Self::expects_continue).
    pub fn send_continue(&mut self, out: &mut Vec<u8>) -> Result<(), LocalError> {
        if !self.expects_continue() {
            return Err(LocalError::InformationalNotAllowed);
        }
        self.asked.expects_continue = false;
        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        Ok(())
    }

    /// Sends an informational response (1xx but 100 and 101), such as `103 Early Hints`. Any number may go before the final head.
    ///
    /// # Errors
    /// [`LocalError::InformationalNotAllowed`] to HTTP/1.0 (RFC 9110 §15.2), [`LocalError::InvalidStatus`] for other statuses,
    /// [`LocalError::FramingNotAllowed`] for fields that frame a body, or the wrong state.
    pub fn send_informational(
        &mut self,
        status: StatusCode,
        headers: &Headers,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        self.expect_no_head()?;
        if !matches!(status.as_u16(), 102..=199) {
            return Err(LocalError::InvalidStatus);
        }
        if !self.asked.is_http_11 {
            return Err(LocalError::InformationalNotAllowed);
        }
        if headers.contains("content-length") || headers.contains("transfer-encoding") {
            return Err(LocalError::FramingNotAllowed);
        }
        encode::informational(status, headers, out);
        Ok(())
    }

    /// Sends the final head and decides how the body is framed.
    ///
    /// The application's fields go out as they are. We add Server and Date unless it set them, Content-Length or
    /// `Transfer-Encoding: chunked`, and Connection. Its Content-Length is taken for the length of the body; its `Connection: close`
    /// is honoured; other options it lists there stay. Where a status has no content, a Content-Length of zero is left out.
    ///
    /// The response will be the last one if either side wants that, if HTTP/1.0 gets a streamed body, if the peer still
    /// waits for `100 Continue`: whether it will send its body is anyone's guess then (RFC 9110 §10.1.1), or if it refuses a tunnel:
    /// what the peer has sent for the tunnel meanwhile must not be taken for requests (RFC 9931 §8).
    ///
    /// # Errors
    /// As [`LocalError`] lists. Nothing was sent then, and another head may be tried.
    #[doc(alias = "write_headers")]
    pub fn send_head(
        &mut self,
        head: &ResponseHead<'_>,
        ambient: &Ambient,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        self.expect_no_head()?;
        let survey = Survey::of(head)?;
        let plan = plan(head.status, head.length, self.asked, &survey)?;
        self.closes = self.is_closing
            || survey.options.close
            || !self.asked.keep_alive
            || self.asked.expects_continue
            || self.asked.is_connect && !plan.switches
            || plan.body == Sending::UntilClose;
        let persistence = match (self.asked.is_http_11, self.closes) {
            _ if plan.switches => Persistence::Implied,
            (true, true) => Persistence::Close,
            (false, false) => Persistence::KeepAlive,
            // HTTP/1.0 closes unless told otherwise, but what the application said is passed on.
            (false, true) if survey.options.close => Persistence::Close,
            (true, false) | (false, true) => Persistence::Implied,
        };
        self.sending = plan.body;
        self.switches = plan.switches;
        encode::head(head, &survey, plan.framing, persistence, ambient, out);
        Ok(())
    }

    /// Whether a response without fields of its own, with this status and a body of known length, needs no plan: the request has come
    /// whole, and asked for nothing but an answer.
    #[inline]
    pub(crate) fn wants_plain(&self, status: StatusCode) -> bool {
        self.sending == Sending::Head
            && matches!(self.receiving, Receiving::Done)
            && self.asked.is_plain
            && !matches!(status.as_u16(), 100..=199 | 204 | 205 | 304)
    }

    /// Sends such a response, head and body: what [`send_head`](Self::send_head) and [`send_body`](Self::send_body) would make
    /// of it. The content type has been checked.
    #[inline]
    pub(crate) fn send_plain(
        &mut self,
        (status, content_type): (StatusCode, Option<&str>),
        body: &[u8],
        ambient: &Ambient,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(self.wants_plain(status));
        self.closes = self.is_closing || !self.asked.keep_alive;
        encode::plain((status, content_type), body, self.closes, ambient, out);
        self.sending = Sending::Done;
    }

    /// Sends a piece of the body. Empty pieces send nothing (an empty chunk would end the body), answers to HEAD neither.
    ///
    /// # Errors
    /// [`LocalError::TooMuchBody`], [`LocalError::BodyNotAllowed`], or the wrong state.
    #[doc(alias = "write")]
    pub fn send_data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), LocalError> {
        if let DataFrame::Write { suffix } = self.frame_data(data.len(), out)? {
            out.extend_from_slice(data);
            out.extend_from_slice(suffix);
        }
        Ok(())
    }

    /// Sends what is left of the body, all of it, and ends the response: [`send_data`](Self::send_data) and
    /// [`finish`](Self::finish) in one.
    ///
    /// # Errors
    /// Theirs.
    pub fn send_body(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), LocalError> {
        match self.sending {
            Sending::Known { remaining, .. } if remaining == body.len() as u64 => {
                out.extend_from_slice(body);
                self.sending = Sending::Done;
                Ok(())
            }
            _ => {
                self.send_data(body, out)?;
                self.finish(None, out)
            }
        }
    }

    /// Frames a piece of the body of `len` bytes that the caller writes itself, uncopied: what goes before it is appended to
    /// `out`, what follows it is returned.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data).
    pub fn frame_data(&mut self, len: usize, out: &mut Vec<u8>) -> Result<DataFrame, LocalError> {
        match self.sending {
            Sending::Idle | Sending::Head => Err(LocalError::HeadNotSent),
            Sending::Done | Sending::Failed => Err(LocalError::AlreadyFinished),
            _ if len == 0 => Ok(DataFrame::Omit),
            Sending::Known { declared, remaining } => match remaining.checked_sub(len as u64) {
                Some(remaining) => {
                    self.sending = Sending::Known { declared, remaining };
                    Ok(DataFrame::Write { suffix: b"" })
                }
                None => {
                    self.sending = Sending::Failed;
                    Err(LocalError::TooMuchBody { declared })
                }
            },
            Sending::Chunked => {
                encode::chunk_size(len, out);
                Ok(DataFrame::Write { suffix: encode::CRLF })
            }
            Sending::UntilClose => Ok(DataFrame::Write { suffix: b"" }),
            Sending::Omitted => Ok(DataFrame::Omit),
            Sending::Empty => Err(LocalError::BodyNotAllowed),
        }
    }

    /// Ends the response. Trailers go out after a chunked body, and are left out where the peer cannot get them: HTTP/1.0, HEAD.
    ///
    /// # Errors
    /// [`LocalError::TooLittleBody`]: the connection must close, so that the peer sees that something is missing;
    /// [`LocalError::TrailersNotAllowed`] after a body of known length, [`LocalError::ForbiddenTrailer`], or the wrong state.
    pub fn finish(&mut self, trailers: Option<&Headers>, out: &mut Vec<u8>) -> Result<(), LocalError> {
        let fields = trailers.filter(|fields| !fields.is_empty());
        if let Some(fields) = fields
            && fields.iter().any(|(name, _)| trailers::is_forbidden(name))
        {
            return Err(LocalError::ForbiddenTrailer);
        }
        match self.sending {
            Sending::Idle | Sending::Head => return Err(LocalError::HeadNotSent),
            Sending::Done | Sending::Failed => return Err(LocalError::AlreadyFinished),
            Sending::Known { remaining: missing @ 1.., .. } => {
                self.sending = Sending::Failed;
                return Err(LocalError::TooLittleBody { missing });
            }
            Sending::Known { .. } | Sending::Empty if fields.is_some() => {
                return Err(LocalError::TrailersNotAllowed);
            }
            Sending::Chunked => {
                out.extend_from_slice(encode::LAST_CHUNK);
                out.extend_from_slice(fields.map_or(&[], Headers::as_bytes));
                out.extend_from_slice(encode::CRLF);
            }
            Sending::Known { .. } | Sending::UntilClose | Sending::Omitted | Sending::Empty => {}
        }
        self.sending = Sending::Done;
        Ok(())
    }

    /// Answers a bad request and ends the connection: status, `Connection: close`, one line of text.
    ///
    /// # Errors
    /// [`LocalError::HeadAlreadySent`] if a final head is out: a second one would be taken for its body, so just close.
    pub fn send_error(
        &mut self,
        error: RemoteError,
        ambient: &Ambient,
        out: &mut Vec<u8>,
    ) -> Result<(), LocalError> {
        if !matches!(self.sending, Sending::Idle | Sending::Head) {
            return Err(LocalError::HeadAlreadySent);
        }
        encode::error(error, self.asked.is_head, ambient, out);
        self.sending = Sending::Done;
        self.closes = true;
        if !matches!(self.receiving, Receiving::Refused(_)) {
            self.refuse(error);
        }
        Ok(())
    }

    /// Gives the response up where it stands. The outcome is [`Outcome::Close`](super::Outcome::Close).
    pub fn abort(&mut self) {
        self.sending = Sending::Failed;
    }

    fn expect_no_head(&self) -> Result<(), LocalError> {
        match self.sending {
            Sending::Head => Ok(()),
            Sending::Idle => Err(LocalError::NoRequest),
            Sending::Done | Sending::Failed => Err(LocalError::AlreadyFinished),
            _ => Err(LocalError::HeadAlreadySent),
        }
    }

    /// Whether the response is complete, as it was announced.
    pub fn is_response_complete(&self) -> bool {
        self.sending == Sending::Done
    }

    /// Whether nothing but the end of the connection tells the peer where the response ends. If it cannot be completed, that end should
    /// not be a clean one.
    pub fn ends_with_connection(&self) -> bool {
        self.sending == Sending::UntilClose
    }

    /// Whether the current response is the last one on this connection.
    pub fn is_last_response(&self) -> bool {
        self.closes
    }

    /// Whether a final head has been sent, wholly or with all of its body.
    pub fn is_head_sent(&self) -> bool {
        !matches!(self.sending, Sending::Idle | Sending::Head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Outcome, RequestHead, ResponseLength};

    fn asked(fields: &str) -> Connection {
        let (mut connection, mut head) = (Connection::new(), RequestHead::new());
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        connection.receive_head(request.as_bytes(), &Limits::default(), &mut head).expect("a good head");
        connection
    }

    /// What becomes of the connection after a plain response, which is what head and body by themselves would be.
    fn plain(make: impl Fn() -> Connection, what: (StatusCode, Option<&str>), len: usize) -> Outcome {
        let mut ambient = Ambient::with_server("Waterspout").expect("a good name");
        ambient.set_date(std::time::SystemTime::now());
        let (body, mut expected, mut out) = (vec![b'x'; len], Vec::new(), Vec::new());
        let mut head = ResponseHead::new(what.0).length(ResponseLength::Known(len as u64));
        if let Some(content_type) = what.1 {
            head = head.content_type(content_type);
        }
        let (mut stepwise, mut plain) = (make(), make());
        stepwise.send_head(&head, &ambient, &mut expected).expect("a good head");
        stepwise.send_body(&body, &mut expected).expect("a body as announced");
        plain.send_plain(what, &body, &ambient, &mut out);
        assert_eq!(String::from_utf8(out), String::from_utf8(expected), "{what:?}, {len} bytes");
        let outcome = plain.start_next_request();
        assert_eq!(outcome, stepwise.start_next_request());
        outcome
    }

    #[test]
    fn a_plain_response_is_what_head_and_body_would_be() {
        for status in (100..1000).filter_map(|code| StatusCode::from_u16(code).ok()) {
            if !asked("").wants_plain(status) {
                assert!(matches!(status.as_u16(), 100..=199 | 204 | 205 | 304));
                continue;
            }
            for (content_type, len) in [
                (None, 0),
                (Some("text/plain"), 9),
                (Some("text/html"), 10),
                (None, 99),
                (Some(""), 100),
                (Some("a/b"), 12_345),
            ] {
                assert_eq!(plain(|| asked(""), (status, content_type), len), Outcome::KeepAlive);
            }
        }
    }

    #[test]
    fn a_plain_response_says_when_it_is_the_last() {
        let told = || {
            let mut connection = asked("");
            connection.close_after_response();
            connection
        };
        for len in [0, 13, 1300] {
            let what = (StatusCode::OK, Some("text/plain"));
            assert_eq!(plain(|| asked("Connection: close\r\n"), what, len), Outcome::Close);
            assert_eq!(plain(told, what, len), Outcome::Close);
        }
    }

    #[test]
    fn only_a_request_without_wishes_gets_a_plain_response() {
        assert!(asked("Accept: */*\r\n").wants_plain(StatusCode::OK));
        assert!(!asked("Content-Length: 1\r\n").wants_plain(StatusCode::OK), "its body has not come");
        for request in [
            "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
        ] {
            let (mut connection, mut head) = (Connection::new(), RequestHead::new());
            connection.receive_head(request.as_bytes(), &Limits::default(), &mut head).expect("a good head");
            assert!(!connection.wants_plain(StatusCode::OK), "{request}");
        }
    }
}
