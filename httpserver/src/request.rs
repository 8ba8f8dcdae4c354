//! A request that has arrived whole.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Version};
use tcpserver::PeerAddr;

use crate::core::Core;
use crate::headers::Headers;
use crate::http1::RequestHead;

/// A request with its whole body: Tornado's `HTTPServerRequest`.
///
/// Its head is one piece of memory, which goes back to the server's store when the request is dropped.
#[doc(alias = "HTTPServerRequest")]
pub struct Request {
    /// Only ever `None` while it is dropped.
    head: Option<Box<RequestHead>>,
    body: Bytes,
    peer: PeerAddr,
    core: Rc<Core>,
}

impl Request {
    pub(crate) fn new(head: Box<RequestHead>, body: Bytes, peer: PeerAddr, core: Rc<Core>) -> Request {
        Request { head: Some(head), body, peer, core }
    }

    fn head(&self) -> &RequestHead {
        self.head.as_deref().expect("a request has its head until it is dropped")
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.head().method()
    }

    /// The request target as it was sent (HU15: `request.uri`).
    #[must_use]
    #[doc(alias = "target")]
    pub fn uri(&self) -> &str {
        self.head().target()
    }

    /// The path, not percent-decoded (HU16).
    #[must_use]
    pub fn path(&self) -> &str {
        self.head().path()
    }

    /// What follows the first `?`, not percent-decoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head().query()
    }

    /// The HTTP version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head().version()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        self.head().headers()
    }

    /// The host that was asked, with the port if one was named. `None` from an HTTP/1.0 client that names none.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.head().host()
    }

    /// The body; empty if there was none.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer_addr(&self) -> &PeerAddr {
        &self.peer
    }

    /// The peer's IP address; `None` on a Unix socket (HU22).
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        self.peer.ip()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            self.core.return_head(head);
        }
    }
}

/// Shows what was asked, but neither headers nor body: logs are no place for either (HU25).
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method())
            .field("uri", &self.uri())
            .field("version", &self.version())
            .field("host", &self.host())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
