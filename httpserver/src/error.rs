//! What can end an exchange, by whose doing: the peer's, the handler's, or the network's.

use http::StatusCode;
use iostream::StreamError;
use thiserror::Error;

use crate::form::BodyError;
use crate::headers::HeaderError;
use crate::http1::{LocalError, RemoteError};
use crate::set_cookie::CookieError;

/// Why an exchange did not come to its good end.
///
/// A handler may return it with `?`: if no response has begun, the peer gets its [`status`](HttpError::status); otherwise the
/// connection closes, as the only honest way to end a response that cannot be completed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The peer broke the protocol or a limit: Tornado's `HTTPInputError`.
    #[error("bad request: {0}")]
    Remote(#[from] RemoteError),
    /// The handler tried to send something that is not HTTP: Tornado's `HTTPOutputError`.
    #[error("bad response: {0}")]
    Local(#[from] LocalError),
    /// The handler gave a header that is none.
    #[error("bad response: {0}")]
    Header(#[from] HeaderError),
    /// The content of the request's body is not what the handler asked for.
    #[error("bad request: {0}")]
    Body(#[from] BodyError),
    /// The handler speaks another protocol here, one of these, and the client did not offer to: 426 with this Upgrade field
    /// (RFC 9110 §15.5.22). See [`ResponseBuilder::switch`](crate::ResponseBuilder::switch).
    #[error("this is for {0} alone")]
    UpgradeRequired(std::rc::Rc<str>),
    /// The handler gave a cookie that is none.
    #[error("bad response: {0}")]
    Cookie(#[from] CookieError),
    /// A file could not be read or written.
    #[error("file: {0}")]
    Io(std::io::ErrorKind),
    /// The connection failed, or the peer went away.
    #[error("connection lost: {0}")]
    Stream(StreamError),
    /// The loop holds as much for its peers as it may ([`MemoryBudget`](iostream::MemoryBudget)), and what this request needs did not become
    /// free in time.
    #[error("memory for what is buffered is used up")]
    OverBudget,
    /// The peer took nothing of the response for so long that it was given up.
    #[error("the peer does not take the response")]
    WriteTimeout,
    /// The handler ended without a complete response.
    #[error("the handler ended without finishing its response")]
    Unfinished,
    /// The handler did not begin its response within `handler_timeout`.
    #[error("the handler took too long")]
    HandlerTimeout,
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked,
    /// An error of the handler's own, in words.
    #[error("{0}")]
    Handler(std::rc::Rc<str>),
}

impl HttpError {
    /// An error of the handler's own; the peer gets 500, the log gets the words.
    ///
    /// ```
    /// use httpserver::{HttpError, Request, Response};
    ///
    /// async fn stock(request: Request) -> Result<Response, HttpError> {
    ///     let stock = stock_of(request.path()).map_err(HttpError::handler)?;
    ///     Ok(Response::text(stock))
    /// }
    /// # fn stock_of(_: &str) -> std::io::Result<String> { Ok(String::new()) }
    /// # httpserver::HttpServer::new(stock);
    /// ```
    pub fn handler(error: impl std::fmt::Display) -> HttpError {
        HttpError::Handler(error.to_string().into())
    }

    /// By whose doing it is. A failure of a stream of the handler's own, which a proxy has, is the network's here; where it ends
    /// an exchange whose client is still there, it is logged and counted as the handler's.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            HttpError::Remote(_) | HttpError::UpgradeRequired(_) => Fault::Peer,
            HttpError::Body(error) if *error != BodyError::NotRead => Fault::Peer,
            HttpError::Stream(_) | HttpError::WriteTimeout => Fault::Network,
            HttpError::OverBudget => Fault::Server,
            _ => Fault::Handler,
        }
    }

    /// A short name that stays the same, for counting by reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            HttpError::Remote(error) => error.reason(),
            HttpError::Body(error) => error.reason(),
            HttpError::UpgradeRequired(_) => "upgrade_required",
            HttpError::Local(_) | HttpError::Header(_) | HttpError::Cookie(_) => "bad_response",
            HttpError::Io(_) => "file",
            HttpError::Stream(_) => "connection_lost",
            HttpError::WriteTimeout => "write_timeout",
            HttpError::OverBudget => "over_memory_budget",
            HttpError::Unfinished => "unfinished",
            HttpError::HandlerTimeout => "handler_timeout",
            HttpError::Panicked => "panicked",
            HttpError::Handler(_) => "handler_error",
        }
    }

    /// Whether the fault is the client's, who then may know what it is.
    pub(crate) fn is_remote(&self) -> bool {
        self.fault() == Fault::Peer
    }

    /// The status to answer with, if an answer is possible at all.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            HttpError::Remote(error) => error.status(),
            HttpError::HandlerTimeout | HttpError::OverBudget => StatusCode::SERVICE_UNAVAILABLE,
            HttpError::Body(error) => error.status(),
            HttpError::UpgradeRequired(_) => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StreamError> for HttpError {
    fn from(error: StreamError) -> HttpError {
        match error {
            StreamError::OverBudget => HttpError::OverBudget,
            error => HttpError::Stream(error),
        }
    }
}

/// By whose doing an exchange did not come to its good end: see [`HttpError::fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer broke the protocol or a limit, or what it sent is not what it says. It gets a 4xx.
    Peer,
    /// The handler failed, or tried to send what is not HTTP. The peer gets a 5xx, and no words.
    Handler,
    /// The connection was lost, or the peer took nothing any more. Nobody is left to be told.
    Network,
    /// The server has more to do than it can hold. The peer gets a 503.
    Server,
}

impl Fault {
    /// `peer`, `handler`, `network` or `server`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Peer => "peer",
            Fault::Handler => "handler",
            Fault::Network => "network",
            Fault::Server => "server",
        }
    }
}
