//! JSON in and out (feature `json`).

use std::cell::Cell;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::HttpError;
use crate::facts::RequestFacts;
use crate::form::{BodyError, check_encoding, sole_content_type};
use crate::media_type::essence;
use crate::response::{IntoResponse, Response};

impl RequestFacts {
    /// The body, read as JSON. Its type must be `application/json`, or one that ends with `+json`: a page of another site can
    /// have a browser send anything else without asking first.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: of another type, encoded, no JSON, not what `T` wants, or not read. As a [`HttpError`] it answers 400 or
    /// 415.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        let body = self.read_body()?;
        if !is_json(&essence(sole_content_type(self.headers())?).to_ascii_lowercase()) {
            return Err(BodyError::WrongType);
        }
        check_encoding(self.headers())?;
        serde_json::from_slice(body)
            .map_err(|error| BodyError::Json { line: error.line(), column: error.column() })
    }
}

fn is_json(essence: &[u8]) -> bool {
    essence == b"application/json" || essence.starts_with(b"application/") && essence.ends_with(b"+json")
}

impl Response {
    /// 200 with a value as JSON.
    ///
    /// # Errors
    ///
    /// When the value cannot be said in JSON: a map with keys that are no text, or an error of its own.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Response, HttpError> {
        let text = written(value).map_err(HttpError::handler)?;
        Ok(Response::bytes(text).content_type("application/json"))
    }
}

/// The value as text. A short one is written where the last one was and copied from there, which takes one allocation of just its size.
fn written<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    let mut text = SCRATCH.take();
    text.clear();
    serde_json::to_writer(&mut text, value)?;
    if text.capacity() > SCRATCH_BYTES {
        return Ok(Bytes::from(text));
    }
    let copy = Bytes::copy_from_slice(&text);
    SCRATCH.set(text);
    Ok(copy)
}

thread_local! {
    /// Out of its place while a value is written into it, which may itself make JSON.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Room for JSON that is kept, and what is copied at most.
const SCRATCH_BYTES: usize = 4096;

/// A value that a handler returns as JSON.
///
/// ```
/// use httpserver::{HttpServer, Json, Request};
///
/// async fn even(request: Request) -> Json<Vec<u32>> {
///     Json((0..10).filter(|number| number % 2 == 0).collect())
/// }
///
/// HttpServer::new(even);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::json(&self.0).into_response()
    }
}
