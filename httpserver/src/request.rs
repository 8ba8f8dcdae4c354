//! A request that has arrived whole.

use std::ops::Deref;

use bytes::Bytes;

use crate::facts::RequestFacts;

/// A request with its whole body. What can be asked of it are [`RequestFacts`].
///
/// Its head is one piece of memory, which goes back to the server's store when the request is dropped.
///
/// A handler whose client goes away is dropped where it waits, and with it all that it holds. So no callback is needed to hear of it:
///
/// ```
/// use httpserver::Request;
///
/// struct Subscription(u64);
///
/// impl Drop for Subscription {
///     fn drop(&mut self) {
///         println!("{} has its answer, or has gone", self.0);
///     }
/// }
///
/// async fn next_message(_request: Request) -> &'static str {
///     let _subscription = Subscription(42);
///     ioloop::sleep(std::time::Duration::from_secs(25)).await; // for a message
///     "no news"
/// }
/// # httpserver::HttpServer::new(next_message);
/// ```
///
/// To be told while the handler runs on, take an [`Exchange`](crate::Exchange), which has
/// [`on_connection_close`](crate::Exchange::on_connection_close) and [`closed`](crate::Exchange::closed).
#[doc(alias = "HTTPServerRequest")]
pub struct Request {
    facts: RequestFacts,
}

impl Request {
    pub(crate) fn new(facts: RequestFacts) -> Request {
        Request { facts }
    }

    /// The body; empty if there was none.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.facts.whole_body()
    }
}

impl Deref for Request {
    type Target = RequestFacts;

    fn deref(&self) -> &RequestFacts {
        &self.facts
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts.fmt(f)
    }
}
