//! A request that has arrived whole.

use std::ops::Deref;

use bytes::Bytes;

use crate::facts::RequestFacts;

/// A request with its whole body. What can be asked of it are [`RequestFacts`].
///
/// Its head is one piece of memory, which goes back to the server's store when the request is dropped.
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
