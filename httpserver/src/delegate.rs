//! Tornado's push interface: a delegate per connection and per request, whose methods are called as the request comes.

use std::future::Future;

use bytes::Bytes;
use tcpserver::ConnectionContext;

use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::handler::Handler;

/// Makes a delegate for each request: Tornado's `HTTPServerConnectionDelegate` (HU39). It is a [`Handler`], so
/// `HttpServer::new(delegate)` serves it.
///
/// ```
/// use bytes::Bytes;
/// use httpserver::{
///     ConnectionContext, Exchange, Headers, HttpError, HttpMessageDelegate, HttpServer, HttpServerConnectionDelegate, Response,
///     StatusCode,
/// };
///
/// struct Counter;
///
/// #[derive(Default)]
/// struct Count {
///     bytes: usize,
/// }
///
/// impl HttpServerConnectionDelegate for Counter {
///     type Message = Count;
///
///     fn start_request(&self, _connection: &ConnectionContext) -> Count {
///         Count::default()
///     }
/// }
///
/// impl HttpMessageDelegate for Count {
///     async fn headers_received(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
///         if request.headers().contains("authorization") {
///             return Ok(());
///         }
///         request.send(Response::new(StatusCode::UNAUTHORIZED)).await // an early answer: the body is not read
///     }
///
///     async fn data_received(&mut self, _request: &mut Exchange<'_>, chunk: Bytes) -> Result<(), HttpError> {
///         self.bytes += chunk.len();
///         Ok(())
///     }
///
///     async fn finish(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
///         request.write_headers(StatusCode::OK, &Headers::new());
///         request.write(format!("{} bytes\n", self.bytes));
///         request.finish();
///         Ok(())
///     }
/// }
///
/// HttpServer::new(Counter);
/// ```
#[doc(alias = "HTTPServerConnectionDelegate")]
pub trait HttpServerConnectionDelegate: 'static {
    /// What is told of a request.
    type Message: HttpMessageDelegate;

    /// A request begins: its head has been read and is good.
    fn start_request(&self, connection: &ConnectionContext) -> Self::Message;

    /// The connection has ended (HS15). Not called for connections that end with their loop.
    fn on_close(&self, connection: &ConnectionContext) {
        let _ = connection;
    }
}

/// Is told of one request as it comes: Tornado's `HTTPMessageDelegate` (HU40).
///
/// [`headers_received`](Self::headers_received), then [`data_received`](Self::data_received) any number of times, then exactly one of
/// [`finish`](Self::finish) and [`on_connection_close`](Self::on_connection_close); neither once the connection was
/// [detached](Exchange::detach). Nothing more is read from the peer before the future of a call is done: that is the flow control.
///
/// The response is given to `request` in any way and at any of these times: whole with [`send`](Exchange::send), or with
/// [`write_headers`](Exchange::write_headers), [`write`](Exchange::write), [`flush`](Exchange::flush) and
/// [`finish`](Exchange::finish) one by one. When it is complete before the body is, the rest of the body is not for the delegate
/// (H1-30). It must be complete when `finish` is done.
///
/// An error ends the request: the peer gets the status that goes with it if nothing was sent yet, else the connection closes.
#[doc(alias = "HTTPMessageDelegate")]
pub trait HttpMessageDelegate {
    /// The head is there: `request` knows it. The place for [`set_max_body_size`](Exchange::set_max_body_size).
    fn headers_received(
        &mut self,
        request: &mut Exchange<'_>,
    ) -> impl Future<Output = Result<(), HttpError>> {
        let _ = request;
        async { Ok(()) }
    }

    /// A piece of the body, never empty.
    fn data_received(
        &mut self,
        request: &mut Exchange<'_>,
        chunk: Bytes,
    ) -> impl Future<Output = Result<(), HttpError>> {
        let _ = (request, chunk);
        async { Ok(()) }
    }

    /// The request is complete.
    fn finish(&mut self, request: &mut Exchange<'_>) -> impl Future<Output = Result<(), HttpError>>;

    /// The request will not be complete here: its client is gone, its body was bad or late, a method before has failed, or the
    /// response was complete before it. For a client that leaves while `finish` is at work there is
    /// [`Exchange::on_connection_close`].
    fn on_connection_close(&mut self) {}
}

/// Marks a [`HttpServerConnectionDelegate`] among handlers.
#[derive(Debug)]
pub enum Delegated {}

impl<D: HttpServerConnectionDelegate> Handler<Delegated> for D {
    async fn handle(&self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let message = self.start_request(exchange.connection());
        let mut told = Told { message, has_ended: false };
        told.message.headers_received(exchange).await?;
        loop {
            if exchange.is_taken_over() {
                told.has_ended = true;
                return Ok(());
            }
            if exchange.is_answered() {
                break;
            }
            match exchange.body().chunk().await? {
                Some(chunk) => told.message.data_received(exchange, chunk).await?,
                None => {
                    told.has_ended = true;
                    told.message.finish(exchange).await?;
                    break;
                }
            }
        }
        exchange.end_of_writing().await
    }

    fn connection_closed(&self, connection: &ConnectionContext) {
        self.on_close(connection);
    }
}

/// A delegate that is told of the end one way or the other, also when the handler is dropped where it waits.
struct Told<M: HttpMessageDelegate> {
    message: M,
    has_ended: bool,
}

impl<M: HttpMessageDelegate> Drop for Told<M> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.message.on_connection_close();
        }
    }
}
