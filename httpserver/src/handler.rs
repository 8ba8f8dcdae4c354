//! The three shapes of a handler, and the one trait behind them.

use std::future::Future;

use tcpserver::ConnectionContext;

use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::IntoResponse;

/// Answers requests. Three shapes of functions and closures implement it, told apart by `Marker`, which is inferred:
///
/// ```
/// use http::StatusCode;
/// use httpserver::{Exchange, HttpError, HttpServer, Request, Response};
///
/// // 1. The classic Tornado program, word for word.
/// fn handle_request(request: &mut Exchange<'_>) {
///     let message = format!("You requested {}\n", request.uri());
///     request.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", message.len(), message));
///     request.finish();
/// }
///
/// // 2. From a request to a response.
/// async fn hello(request: Request) -> Response {
///     Response::text(format!("You requested {}\n", request.uri()))
/// }
///
/// // 3. Streaming both ways, with back-pressure.
/// async fn echo(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
///     let mut response = exchange.respond(StatusCode::OK).start().await?;
///     while let Some(chunk) = exchange.body().chunk().await? {
///         response.write(chunk).await?;
///     }
///     response.finish().await
/// }
///
/// HttpServer::new(handle_request);
/// HttpServer::new(hello);
/// HttpServer::new(echo);
/// HttpServer::new(|request: &mut Exchange<'_>| request.finish());
/// HttpServer::new(async |request: Request| Response::text(request.method().to_string()));
/// HttpServer::new(async |exchange: &mut Exchange<'_>| exchange.respond(StatusCode::OK).send("closure").await);
/// ```
///
/// The first two get a request whose body has arrived whole, within the limit; the third reads it as it comes. Beside these three
/// there are Tornado's delegates: see [`HttpServerConnectionDelegate`](crate::HttpServerConnectionDelegate).
///
/// A handler whose client goes away is dropped where it waits, unless
/// [`no_cancel_on_disconnect`](crate::HttpOptions::no_cancel_on_disconnect) lets it run on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of requests",
    label = "not of one of the three shapes",
    note = "a handler is an `async fn(Request) -> impl IntoResponse`, an `async fn(&mut Exchange<'_>) -> Result<(), HttpError>`, or a \
            `fn(&mut Exchange<'_>)`",
    note = "`IntoResponse` are `Response`, text, bytes, a `StatusCode`, pairs of a status and one of these, and `Result`s of them; a closure \
            has to say of which type its argument is"
)]
pub trait Handler<Marker>: 'static {
    /// Answers one request.
    fn handle(&self, exchange: &mut Exchange<'_>) -> impl Future<Output = Result<(), HttpError>>;

    /// A connection has ended whose requests were answered here, or that brought none. Not called for connections that end with
    /// their loop.
    fn connection_closed(&self, connection: &ConnectionContext) {
        let _ = connection;
    }
}

/// Marks a handler of the classic shape.
#[derive(Debug)]
pub enum Classic {}

/// Marks a handler from a [`Request`] to something that is [`IntoResponse`].
#[derive(Debug)]
pub enum Whole {}

/// Marks a handler that streams.
#[derive(Debug)]
pub enum Streaming {}

impl<F> Handler<Classic> for F
where
    F: Fn(&mut Exchange<'_>) + 'static,
{
    async fn handle(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.read_body().await?;
        self(exchange);
        exchange.end_of_classic().await
    }
}

impl<F, R> Handler<Whole> for F
where
    F: AsyncFn(Request) -> R + 'static,
    R: IntoResponse,
{
    async fn handle(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.read_body().await?;
        let request = exchange.take_request();
        let response = self(request).await.into_response();
        exchange.send(response).await
    }
}

impl<F> Handler<Streaming> for F
where
    F: AsyncFn(&mut Exchange<'_>) -> Result<(), HttpError> + 'static,
{
    async fn handle(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        self(exchange).await
    }
}
