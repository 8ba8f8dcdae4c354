//! A whole response, and what can be turned into one.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;

use crate::file_body::FileBody;
use crate::form::BodyError;
use crate::headers::{HeaderError, Headers};
use crate::set_cookie::{CookieError, SetCookie};

/// A response whose body is in memory, or in a file: see [`StaticFile`](crate::StaticFile).
///
/// Date, Server, Content-Length and Connection are added when it is sent. A large body is not copied. In answers to HEAD, and with 304, a
/// Content-Length of the handler's own may tell of a body that was not made.
#[derive(Debug, Clone)]
#[must_use = "a response does nothing unless it is returned or sent"]
pub struct Response {
    pub(crate) status: StatusCode,
    /// Apart from the others, so that the usual response allocates no header list.
    pub(crate) content_type: Option<Cow<'static, str>>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// Shared, because to drop none of it is then one look.
    pub(crate) extra: Option<Rc<Extra>>,
}

/// What few responses have.
#[derive(Debug, Clone)]
pub(crate) enum Extra {
    /// A body, instead of the one in memory.
    File(FileBody),
    /// What this is the answer to, still to be written down.
    Error(crate::HttpError),
}

impl Response {
    /// A response without content type and body.
    pub fn new(status: StatusCode) -> Response {
        Response { status, content_type: None, headers: Headers::new(), body: Bytes::new(), extra: None }
    }

    /// 200 with a text, as `text/plain; charset=utf-8`.
    pub fn text(text: impl Into<Bytes>) -> Response {
        Response::new(StatusCode::OK).content_type("text/plain; charset=utf-8").body(text)
    }

    /// 200 with a page, as `text/html; charset=utf-8`.
    pub fn html(page: impl Into<Bytes>) -> Response {
        Response::new(StatusCode::OK).content_type("text/html; charset=utf-8").body(page)
    }

    /// 200 with bytes, as `application/octet-stream`.
    ///
    /// They are not copied, and are held until the last of them has been sent. Clones of one [`Bytes`] share its memory: a thing that many
    /// are sent, each at the pace at which it reads, is kept as `Bytes` and cloned for each response. From a `Vec` each response has a
    /// copy of its own.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use httpserver::{HttpServer, Request, Response};
    ///
    /// let map = Bytes::from(vec![0; 30 << 20]); // 30 MiB once, also for fifty who read slowly
    /// HttpServer::new(move |_: Request| {
    ///     let response = Response::bytes(map.clone());
    ///     async { response }
    /// });
    /// ```
    pub fn bytes(bytes: impl Into<Bytes>) -> Response {
        Response::new(StatusCode::OK).content_type("application/octet-stream").body(bytes)
    }

    /// Changes the status.
    pub fn status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }

    /// Sets the content type. A value that no header can have makes the response an error when it is sent.
    pub fn content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Response {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// When the name is no token, or the value has a control byte: nothing can be injected here (H1-45).
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Response, HeaderError> {
        self.headers.add(name, value)?;
        Ok(self)
    }

    /// Adds a header, replacing those of the same name.
    ///
    /// # Errors
    ///
    /// As for [`header`](Response::header).
    pub fn set_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Response, HeaderError> {
        self.headers.insert(name, value)?;
        Ok(self)
    }

    /// Sets a cookie.
    ///
    /// # Errors
    ///
    /// When the cookie would not be read as it is meant.
    pub fn cookie(mut self, cookie: &SetCookie) -> Result<Response, CookieError> {
        cookie.add_to(&mut self.headers)?;
        Ok(self)
    }

    /// Sends the client elsewhere: with 303 to what is to be looked at now, with 307 or 308 to the same request at another
    /// place, with 301 or 302 to what old clients make of these.
    ///
    /// The location goes out as it is. Who lets a client choose it should see that it stays within the site: `//host/` and
    /// `https://host/` lead away.
    ///
    /// # Errors
    ///
    /// When the location has a byte that no URL has: a control character, a blank, one beyond ASCII. Encode these.
    pub fn redirect(status: StatusCode, location: &str) -> Result<Response, HeaderError> {
        if location.is_empty() || !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HeaderError::InvalidValue);
        }
        Response::new(status).header("Location", location)
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Response {
        self.body = body.into();
        if matches!(self.extra.as_deref(), Some(Extra::File(_))) {
            self.extra = None;
        }
        self
    }

    pub(crate) fn file(mut self, body: FileBody) -> Response {
        self.extra = Some(Rc::new(Extra::File(body)));
        self
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler may return",
    note = "`Response`, text, bytes, a `StatusCode`, pairs of a status and one of these, and `Result`s of them are; `Json` with the \
            feature `json`"
)]
pub trait IntoResponse {
    /// Makes a response of it.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(StatusCode::NO_CONTENT)
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        match self {
            Cow::Borrowed(text) => text.into_response(),
            Cow::Owned(text) => text.into_response(),
        }
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

impl<R: IntoResponse> IntoResponse for (StatusCode, R) {
    fn into_response(self) -> Response {
        self.1.into_response().status(self.0)
    }
}

/// The fields are added to what the response has.
impl<R: IntoResponse> IntoResponse for (StatusCode, Headers, R) {
    fn into_response(self) -> Response {
        let mut response = self.2.into_response().status(self.0);
        match response.headers.append(&self.1) {
            Ok(()) => response,
            Err(error) => crate::HttpError::from(error).into_response(),
        }
    }
}

/// `None` is 404.
impl<R: IntoResponse> IntoResponse for Option<R> {
    fn into_response(self) -> Response {
        self.map_or_else(|| Response::new(StatusCode::NOT_FOUND), IntoResponse::into_response)
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        crate::HttpError::from(self).into_response()
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(response) => response.into_response(),
            Err(response) => response.into_response(),
        }
    }
}

impl Response {
    /// Adds what this error's response is to say beside its status.
    pub(crate) fn fields_of(self, error: &crate::HttpError) -> Response {
        let crate::HttpError::UpgradeRequired(protocols) = error else { return self };
        // What `switch` names was a field of the handler's response; a handler may name anything, also what is no field.
        self.clone().header("Upgrade", protocols.as_bytes()).unwrap_or(self)
    }
}

/// The peer learns the status; the words too if the fault is its own. Sent, the error is written to the log and counted.
impl IntoResponse for crate::HttpError {
    fn into_response(self) -> Response {
        let mut response = match self.is_remote() {
            true => Response::text(format!("{self}\n")).status(self.status()),
            false => Response::new(self.status()),
        }
        .fields_of(&self);
        response.extra = Some(Rc::new(Extra::Error(self)));
        response
    }
}
