//! What can be asked of a request, written once: `Request` and `Exchange` both lend it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Version};
use tcpserver::{ConnectionContext, PeerAddr, ProxyHeader};

use crate::arguments::Arguments;
use crate::cookies::Cookies;
use crate::core::Core;
use crate::form::{BodyError, Form};
use crate::headers::Headers;
use crate::helpers::split_host_and_port;
use crate::http1::{RequestHead, TargetForm};
use crate::proxies::Protocol;
use crate::session::Session;

/// The facts of a request: Tornado's `HTTPServerRequest` (HU15), which [`Request`](crate::Request) and
/// [`Exchange`](crate::Exchange) dereference to.
///
/// What has to be computed is computed when it is asked for, and anew each time: keep what you ask for twice. Nothing is
/// allocated for what nobody asks.
pub struct RequestFacts {
    /// Goes back to the server's store when this is dropped. `None` when [`take`](Self::take)n, and before the first request.
    head: Option<Box<RequestHead>>,
    body: Option<Bytes>,
    context: ConnectionContext,
    began: Instant,
    core: Rc<Core>,
    #[cfg(feature = "tls")]
    stream: iostream::IoStream,
    #[cfg(feature = "tls")]
    is_tls: bool,
}

impl RequestFacts {
    /// Of a connection on which no request has begun yet.
    pub(crate) fn new(session: &Session) -> RequestFacts {
        RequestFacts {
            head: None,
            body: None,
            context: session.context.clone(),
            began: session.now(),
            core: Rc::clone(&session.core),
            #[cfg(feature = "tls")]
            stream: session.stream.clone(),
            #[cfg(feature = "tls")]
            is_tls: session.is_tls(),
        }
    }

    /// Where the head of the next request is to be. What lies there is the last one's.
    #[inline]
    pub(crate) fn head_place(&mut self) -> &mut Option<Box<RequestHead>> {
        &mut self.head
    }

    /// The head has come.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// The request has ended: its body goes, and the memory of its head if that is much.
    pub(crate) fn end(&mut self) {
        if self.body.is_some() {
            self.body = None;
        }
        if let Some(head) = &mut self.head {
            Core::tidy_head(head);
        }
    }

    /// Moves the request out; what is left has neither head nor body.
    pub(crate) fn take(&mut self) -> RequestFacts {
        RequestFacts {
            head: self.head.take(),
            body: self.body.take(),
            context: self.context.clone(),
            began: self.began,
            core: Rc::clone(&self.core),
            #[cfg(feature = "tls")]
            stream: self.stream.clone(),
            #[cfg(feature = "tls")]
            is_tls: self.is_tls,
        }
    }

    #[cfg(feature = "gzip")]
    pub(crate) fn options(&self) -> &crate::options::HttpOptions {
        &self.core.options
    }

    pub(crate) fn set_body(&mut self, body: Bytes) {
        self.body = Some(body);
    }

    pub(crate) fn head(&self) -> &RequestHead {
        self.head
            .as_deref()
            .expect("the head is there until the request is taken, which only the last step does")
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.head().method()
    }

    /// The request target as it was sent: Tornado's `uri`.
    #[must_use]
    #[doc(alias = "target")]
    pub fn uri(&self) -> &str {
        self.head().target()
    }

    /// The path, not percent-decoded (HU16): [`url_unescape`](crate::url_unescape) does that, segment by segment. `//a/b` stays what
    /// it is.
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

    /// The host that was asked, with the port if one was named. A proxy has to pass on the Host that it was sent (nginx: `proxy_set_header
    /// Host $http_host`); `X-Forwarded-Host` is not looked at, since those that do not write it pass on the client's. `None` from an
    /// HTTP/1.0 client that names none, where Tornado says `127.0.0.1` (HU19).
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.head().host()
    }

    /// The host that was asked, in lower case and without the port; an IPv6 address keeps its brackets (HU21).
    #[must_use]
    pub fn host_name(&self) -> Option<Cow<'_, str>> {
        let (name, _) = split_host_and_port(self.host()?);
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        Some(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
    }

    /// Who is at the other end of the connection, a proxy perhaps.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.context.peer_addr()
    }

    /// What a proxy has said by the PROXY protocol, where the listener
    /// [expects it to](tcpserver::ListenOptions::proxy_protocol).
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.context.proxy_header()
    }

    /// The client's IP address: that of the connection's client, whom a PROXY protocol header names and who is else the peer; or, if
    /// that one is a trusted proxy, what it says in turn ([`HttpOptions::xheaders`](crate::HttpOptions::xheaders), HS8). `None`
    /// for a client on a Unix socket, where Tornado says `0.0.0.0` (HU22).
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        let peer = self.context.client_addr().ip();
        let proxies = self.core.options.xheaders.as_ref();
        proxies.and_then(|proxies| proxies.client_ip(peer, self.headers())).or(peer)
    }

    /// The protocol the client speaks: what a trusted proxy says (HS9), else what
    /// [`HttpOptions::protocol`](crate::HttpOptions::protocol) says (HS5), else whether the connection is encrypted (HU22), here or,
    /// as a PROXY protocol header says, at the proxy.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let options = &self.core.options;
        let said = options.xheaders.as_ref();
        let said =
            said.and_then(|proxies| proxies.client_protocol(self.context.client_addr().ip(), self.headers()));
        said.or(options.protocol).unwrap_or(self.connection_protocol())
    }

    fn connection_protocol(&self) -> Protocol {
        #[cfg(feature = "tls")]
        if self.is_tls {
            return Protocol::Https;
        }
        let was_tls = self.proxy_header().and_then(ProxyHeader::ssl).is_some_and(|ssl| ssl.is_tls());
        if was_tls { Protocol::Https } else { Protocol::Http }
    }

    /// The whole URL that was asked (HU23): [`protocol`](Self::protocol), [`host`](Self::host) and target. An absolute target is
    /// that already (RFC 9112 §3.3), and CONNECT has no more than its target. Where no host was named it is `127.0.0.1`.
    #[must_use]
    pub fn full_url(&self) -> String {
        let target = match self.head().form() {
            TargetForm::Absolute | TargetForm::Authority => return self.uri().to_owned(),
            TargetForm::Asterisk => "",
            TargetForm::Origin => self.uri(),
        };
        format!("{}://{}{target}", self.protocol(), self.host().unwrap_or("127.0.0.1"))
    }

    /// The time since the head had arrived, by the loop's clock (HU24). Zero where no loop is current.
    #[must_use]
    pub fn request_time(&self) -> Duration {
        ioloop::IoLoop::try_current()
            .map_or(Duration::ZERO, |it| it.precise_now().saturating_duration_since(self.began))
    }

    /// What the TLS handshake has agreed on, the client's certificate included (HU24). `None` without TLS, and once the
    /// connection is closed.
    #[cfg(feature = "tls")]
    #[must_use]
    #[doc(alias = "get_ssl_certificate")]
    pub fn tls_info(&self) -> Option<iostream::tls::TlsInfo> {
        self.stream.tls_info()
    }

    /// The fields of the query (HU17).
    #[must_use]
    pub fn query_arguments(&self) -> Arguments {
        Arguments::parse(self.query().unwrap_or_default())
    }

    /// The cookies that the client sent (HU26, HU37).
    #[must_use]
    pub fn cookies(&self) -> Cookies<'_> {
        Cookies::of(self.headers())
    }

    /// The whole body: empty if there was none, or if it has not been read. It has in classic handlers and in those that take a
    /// [`Request`](crate::Request); a handler that streams has it read by [`Exchange::read_body`](crate::Exchange::read_body).
    #[must_use]
    pub fn whole_body(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        self.body.as_ref().unwrap_or(&NONE)
    }

    /// The whole body, or an error where it has not been read: what is parsed must have arrived.
    pub(crate) fn read_body(&self) -> Result<&Bytes, BodyError> {
        self.body.as_ref().ok_or(BodyError::NotRead)
    }

    /// The form in the body: the fields and files of `multipart/form-data`, or the fields of
    /// `application/x-www-form-urlencoded` (HU27). A request without a body, or of another type, has none of either.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the body is not what its type says, is encoded, is beyond
    /// [`HttpOptions::form`](crate::HttpOptions::form), or has not been read. As a [`HttpError`](crate::HttpError) it answers
    /// 400, 413 or 415 (HS7).
    #[doc(alias = "files")]
    #[doc(alias = "body_arguments")]
    pub fn form(&self) -> Result<Form, BodyError> {
        Form::parse(self.headers(), self.read_body()?, &self.core.options.form)
    }

    /// The fields of the query, and behind them those of the form (HU17: Tornado's `arguments`).
    ///
    /// # Errors
    ///
    /// As for [`form`](Self::form).
    pub fn arguments(&self) -> Result<Arguments, BodyError> {
        let mut arguments = self.query_arguments();
        arguments.append(&self.form()?.arguments);
        Ok(arguments)
    }
}

impl Drop for RequestFacts {
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            self.core.return_head(head);
        }
    }
}

/// Shows what was asked and by whom, but neither headers nor body: logs are no place for either (HU25).
impl std::fmt::Debug for RequestFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Request");
        if self.head.is_some() {
            debug
                .field("protocol", &self.protocol())
                .field("host", &self.host())
                .field("method", self.method())
                .field("uri", &self.uri())
                .field("version", &self.version())
                .field("remote_ip", &self.remote_ip());
        }
        debug.finish_non_exhaustive()
    }
}
