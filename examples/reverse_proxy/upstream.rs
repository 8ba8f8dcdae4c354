//! What a client of HTTP/1.1 has to know: one request and its response, on a connection of their own.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use httpserver::http1::{Limits, RawHead};
use httpserver::{Headers, HttpError};
use ioloop::{TimedOut, timeout};
use iostream::{IoStream, StreamError, TcpClient};

const PIECE: usize = 64 * 1024;

/// What is true of one connection alone, beside what Connection lists (RFC 9110 §7.6.1), and Expect: the body is asked for here.
const HOP_BY_HOP: &str = "connection, expect, keep-alive, proxy-authenticate, proxy-authorization, \
                          proxy-connection, te, trailer, transfer-encoding, upgrade";

/// Where the requests go.
pub struct Upstream {
    pub host: String,
    pub port: u16,
    /// For the connection, for the answer to begin once the request is out, and for each piece of either body.
    pub patience: Duration,
}

/// What went wrong, on which side.
pub enum Failed {
    Exchange(HttpError),
    Upstream(StatusCode, &'static str),
}

/// The head of a response.
pub struct Answer {
    pub status: StatusCode,
    pub headers: Headers,
    pub body: Body,
}

/// What is still to come of a body (RFC 9112 §6.3).
pub enum Body {
    Known(u64),
    Chunk(u64),
    UntilClose,
    Ended,
}

impl Upstream {
    pub async fn connect(&self) -> Result<Connection, Failed> {
        let client = TcpClient::new().timeout(self.patience);
        match client.connect(&self.host, self.port).await {
            Ok(stream) => Ok(Connection { stream, patience: self.patience, is_chunked: Cell::new(false) }),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Failed::slow()),
            Err(_) => Err(Failed::bad("cannot be reached")),
        }
    }
}

pub struct Connection {
    stream: IoStream,
    patience: Duration,
    /// How the body of the request goes out.
    is_chunked: Cell<bool>,
}

impl Connection {
    pub fn begin(
        &self,
        method: &Method,
        target: &str,
        fields: &Headers,
        is_chunked: bool,
    ) -> Result<(), Failed> {
        self.is_chunked.set(is_chunked);
        self.stream.queue(format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n"))?;
        self.stream.queue(fields.as_bytes().to_vec())?;
        Ok(self.stream.queue(if is_chunked { "Transfer-Encoding: chunked\r\n\r\n" } else { "\r\n" })?)
    }

    /// A piece of the body of the request, never empty.
    pub async fn write(&self, piece: Bytes) -> Result<(), Failed> {
        if !self.is_chunked.get() {
            return self.taken(&[piece]).await;
        }
        let size = format!("{:x}\r\n", piece.len());
        self.taken(&[size.into(), piece, Bytes::from_static(b"\r\n")]).await
    }

    pub async fn finish(&self) -> Result<(), Failed> {
        self.taken(&[Bytes::from_static(if self.is_chunked.get() { b"0\r\n\r\n" } else { b"" })]).await
    }

    /// Waits for ever if the upstream takes no more: it has said why, or else reading finds out.
    async fn taken(&self, pieces: &[Bytes]) -> Result<(), Failed> {
        let queued = pieces.iter().try_for_each(|piece| self.stream.queue(piece.clone()));
        match timeout(self.patience, self.stream.flush()).await? {
            Ok(()) if queued.is_ok() => Ok(()),
            _ => std::future::pending().await,
        }
    }

    /// The final head. What it says of its body is judged from all its fields.
    pub async fn answer(&self, method: &Method) -> Result<Answer, Failed> {
        let limits = Limits::default();
        loop {
            let bytes = self.stream.read_until_max(b"\r\n\r\n", limits.head_bytes).await?;
            let head = RawHead::parse(&bytes, &limits).ok().flatten().ok_or(Failed::bad("speaks no HTTP"))?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(Failed::bad("goes over to another protocol")),
                status if status.is_informational() => continue,
                _ => {}
            }
            let coding = head.headers.joined("transfer-encoding");
            let length = head.headers.joined("content-length").map(|length| {
                let digits =
                    str::from_utf8(&length).ok().filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|digits| digits.parse().ok()).ok_or(Failed::bad("has no length"))
            });
            let body = match (coding, length.transpose()?) {
                _ if *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304) => Body::Ended,
                (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Body::Chunk(0),
                (None, Some(length)) => Body::Known(length),
                (None, None) => Body::UntilClose,
                _ => return Err(Failed::bad("frames its answer twice")),
            };
            return Ok(Answer { status: head.status, headers: head.headers, body });
        }
    }

    /// The next piece of the body. Trailers are dropped.
    pub async fn read(&self, body: &mut Body) -> Result<Option<Bytes>, Failed> {
        timeout(self.patience, self.next_piece(body)).await?
    }

    async fn next_piece(&self, body: &mut Body) -> Result<Option<Bytes>, Failed> {
        if let Body::Chunk(0) = body {
            let line = self.stream.read_until_max(b"\r\n", 256).await?;
            let digits = line.split(|byte| !byte.is_ascii_hexdigit()).next().unwrap_or_default();
            let size = str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            *body = match size.ok_or(Failed::bad("sends no chunk"))? {
                0 => Body::Ended,
                size => Body::Chunk(size),
            };
        }
        match body {
            Body::Ended | Body::Known(0) => Ok(None),
            Body::UntilClose if self.stream.buffered() == 0 && self.stream.fill().await? == 0 => Ok(None),
            Body::UntilClose => Ok(Some(self.stream.take_buffered(PIECE.min(self.stream.buffered())))),
            Body::Known(left) | Body::Chunk(left) => {
                let most = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
                let piece = self.stream.read_partial(most).await?;
                *left -= piece.len() as u64;
                if let Body::Chunk(0) = body
                    && self.stream.read_bytes(2).await? != "\r\n"
                {
                    return Err(Failed::bad("sends more than its chunk"));
                }
                Ok(Some(piece))
            }
        }
    }
}

/// The fields that are to go on. How long a body is nobody takes off it: what came in it could else pass for a request of its own.
pub fn passed_on(fields: &Headers) -> Headers {
    let listed = fields.joined("connection").unwrap_or_default();
    let mut passed = fields.clone();
    let listed = String::from_utf8_lossy(&listed);
    let names = listed.split(',').chain(HOP_BY_HOP.split(',')).map(str::trim);
    for name in names.filter(|name| !name.eq_ignore_ascii_case("content-length")) {
        passed.remove(name);
    }
    passed
}

impl Failed {
    pub fn slow() -> Failed {
        Failed::Upstream(StatusCode::GATEWAY_TIMEOUT, "takes too long")
    }

    fn bad(why: &'static str) -> Failed {
        Failed::Upstream(StatusCode::BAD_GATEWAY, why)
    }
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Failed {
        Failed::Exchange(error)
    }
}

impl From<StreamError> for Failed {
    fn from(_: StreamError) -> Failed {
        Failed::bad("has broken off")
    }
}

impl From<TimedOut> for Failed {
    fn from(_: TimedOut) -> Failed {
        Failed::slow()
    }
}
