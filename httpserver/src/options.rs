//! The limits and deadlines of an HTTP server, all on by default.

use std::sync::Arc;
use std::time::Duration;

use crate::access::{AccessLog, AccessRecord};
#[cfg(feature = "gzip")]
use crate::content_coding::Compression;
use crate::form::FormLimits;
use crate::headers::HeaderError;
use crate::http1::{Ambient, Limits};
use crate::metrics::HttpMetrics;
use crate::proxies::{Protocol, TrustedProxies};

/// The options of an [`HttpServer`](crate::HttpServer). Every limit and deadline has a default:
///
/// | option | default | when it is reached |
/// | --- | --- | --- |
/// | `limits` | see [`Limits`] | 400, 413, 414 or 431, and the connection closes |
/// | `header_timeout` | 10 s | 408 if part of a request came, else the connection just closes |
/// | `idle_connection_timeout` | 75 s | the connection closes |
/// | `max_requests_per_connection`, `max_connection_age` | none | the response says `Connection: close` |
/// | `body_timeout` | 30 s | 408, and the connection closes |
/// | `minimum_body_rate` | 240 bytes a second | as `body_timeout` |
/// | `write_timeout` | 30 s | the connection closes |
/// | `minimum_send_rate` | 240 bytes a second | as `write_timeout` |
/// | `handler_timeout` | 60 s | 503, and the connection closes |
/// | `linger` | 2 s | the connection closes |
/// | `max_buffered_response` | 48 KiB | the handler waits; see there |
/// | `form` | 1000 fields; 100 parts, heads of 10 KiB, fields of 1 MiB | 413 when a handler asks for the form |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Sizes and counts of a request.
    pub limits: Limits,
    /// How long the head of a request may take, from its first byte to its last; on a new connection from the accept
    /// (H1-4). Ten seconds suffice for the slowest honest link; they are what a slow-loris can hold.
    pub header_timeout: Duration,
    /// How long a connection may idle between requests; `None` for ever (HS3), zero not at all, as
    /// [`no_keep_alive`](HttpOptions::no_keep_alive) has it. It is idle once the peer has taken the last
    /// response; empty lines do not count as a request. While newcomers find no place, those that idle longest close before:
    /// [`WhenFull`](tcpserver::WhenFull). 75 seconds is what common proxies and servers use, so that their connection
    /// pools agree with ours.
    pub idle_connection_timeout: Option<Duration>,
    /// How long a request body may take, and how long it may pause, in addition to what `minimum_body_rate` grants (H1-19). Only time
    /// spent waiting for the peer counts, not what the handler does in between.
    pub body_timeout: Duration,
    /// For every so many bytes received, the body gets one more second than `body_timeout`. So a large upload over a slow link gets
    /// the time it needs, and a peer that sends one byte a second does not. Zero counts as one.
    pub minimum_body_rate: u32,
    /// How long the peer may go without reading any of a response that waits to be sent, and how long it may take for all of it, in
    /// addition to what `minimum_send_rate` grants.
    pub write_timeout: Duration,
    /// For every so many bytes sent, such a wait gets one more second than `write_timeout`: a peer that reads a large response at one
    /// byte a second is disconnected, one on a slow link is not. Zero counts as one.
    pub minimum_send_rate: u32,
    /// How long a handler may take to begin its response; `None` for ever. Time spent waiting for the request's body, or for memory for
    /// it, does not count, nor does what comes after the head of the response: events may be streamed for days. A
    /// handler that is late is dropped at its `.await`. One that computes without ever awaiting cannot be stopped by this: see
    /// `IoLoop::watch_blocking`.
    pub handler_timeout: Option<Duration>,
    /// How long a connection is kept after its last response, to read and drop what still arrives until the peer ends its side too, so that
    /// a reset does not overtake the response (H1-52, RFC 9112 §9.6). After a 408 it is a tenth of a second at most, and while the server
    /// drains 20 ms; in any case no
    /// more than 256 MiB are dropped. If the peer itself asked for the connection to close, the server lingers only if the peer has sent
    /// more, or if the response was larger than what leaves without an acknowledgement.
    pub linger: Duration,
    /// Bytes of response that may wait in memory: a streaming handler that has written this much waits for the peer, and the
    /// next request does not begin before less is left. A [`Response`](crate::Response) may be larger, because its body is in
    /// memory anyway. Streamed pieces are gathered up to this size before they are sent. Where pieces of 16 KiB or more come, which are not
    /// copied, half as much again may wait. The limit is 22 times as high, a mebibyte, for those of them that are shared
    /// (`Bytes::is_unique` is false: static data, or a cache's), because queueing them takes no
    /// memory while others hold them; but not while the shared pieces that wait on this loop come to the soft mark of the
    /// [`MemoryBudget`](iostream::MemoryBudget), 256 MiB, nor while all of them may be pieces of request bodies that go back as they came.
    pub max_buffered_response: usize,
    /// Limits on forms.
    pub form: FormLimits,
    /// Which proxies are trusted to say the address and the protocol of clients. Default: none.
    pub xheaders: Option<TrustedProxies>,
    /// The protocol that clients are assumed to use, whatever the connection is: [`Protocol::Https`] behind something that terminates TLS
    /// without saying so (HS5). Default: that of the connection.
    pub protocol: Option<Protocol>,
    /// How many requests a connection may carry; the response to the last one says `Connection: close`. `None`, the default, is any number:
    /// nothing grows with it. A limit makes clients go back to the load balancer now and then.
    pub max_requests_per_connection: Option<u32>,
    /// How old a connection may become: the first response after that is its last; if it is idle then, it closes. `None` by default. Each
    /// connection gets up to a tenth more or less, so that those which came together do not all leave together. It is as old as for a balancer
    /// in front: from when it was [accepted](tcpserver::ConnectionContext::opened) on, a TLS handshake included.
    pub max_connection_age: Option<Duration>,
    /// Whether connections are kept alive between requests. Tornado's `no_keep_alive`, the other way round.
    pub keep_alive: bool,
    /// Whether a handler is dropped at its `.await` when its client has gone (H1-48). A client that has only ended its own side, perhaps
    /// together with its request, has not gone. Otherwise the handler runs on, within `handler_timeout`: for work that must not stop half-way. It
    /// can ask by [`Exchange::closed`](crate::Exchange::closed).
    pub cancel_on_disconnect: bool,
    /// Whether request bodies with one Content-Encoding, gzip or deflate, are decoded (H1-53). The handler then sees the request as if it
    /// had been sent without coding: without Content-Encoding and Content-Length, with X-Consumed-Content-Encoding. Limits on bodies apply before and
    /// after decoding (H1-55). A corrupt body is a 400. Other codings, and several at once, are left to the handler. Decoding takes 112 KiB
    /// while such a request is served. Tornado's `decompress_request`.
    #[cfg(feature = "gzip")]
    pub decompress_request: bool,
    /// How many times its encoded size a decoded request body may have, beyond the first MiB. Texts rarely reach 20; a bomb reaches 1000.
    #[cfg(feature = "gzip")]
    pub max_inflation: u32,
    /// Whether and how responses are compressed with gzip. Tornado's `compress_response`.
    #[cfg(feature = "gzip")]
    pub compress_response: Option<Compression>,
    /// The metrics in which requests are counted.
    pub(crate) metrics: Option<HttpMetrics>,
    /// Called with a record of each request.
    pub(crate) access_log: Option<AccessLog>,
    /// The Server field, validated.
    pub(crate) ambient: Ambient,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            limits: Limits::default(),
            header_timeout: Duration::from_secs(10),
            idle_connection_timeout: Some(Duration::from_secs(75)),
            body_timeout: Duration::from_secs(30),
            minimum_body_rate: 240,
            write_timeout: Duration::from_secs(30),
            minimum_send_rate: 240,
            handler_timeout: Some(Duration::from_secs(60)),
            linger: Duration::from_secs(2),
            max_buffered_response: 48 * 1024,
            form: FormLimits::default(),
            xheaders: None,
            protocol: None,
            max_requests_per_connection: None,
            max_connection_age: None,
            keep_alive: true,
            cancel_on_disconnect: true,
            #[cfg(feature = "gzip")]
            decompress_request: false,
            #[cfg(feature = "gzip")]
            max_inflation: 100,
            #[cfg(feature = "gzip")]
            compress_response: None,
            metrics: None,
            access_log: None,
            ambient: Ambient::with_server("waterspout").unwrap_or_default(),
        }
    }
}

impl HttpOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> HttpOptions {
        HttpOptions::default()
    }

    /// Sets [`limits`](HttpOptions::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> HttpOptions {
        self.limits = limits;
        self
    }

    /// Sets the most bytes of a request body: a shorthand for that one of the [`Limits`].
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> HttpOptions {
        self.limits.body_bytes = bytes;
        self
    }

    /// Sets the most bytes of a request head: a shorthand for that one of the [`Limits`].
    #[must_use]
    pub fn max_header_size(mut self, bytes: usize) -> HttpOptions {
        self.limits.head_bytes = bytes;
        self
    }

    /// Sets [`header_timeout`](HttpOptions::header_timeout).
    #[must_use]
    pub fn header_timeout(mut self, limit: Duration) -> HttpOptions {
        self.header_timeout = limit;
        self
    }

    /// Sets [`idle_connection_timeout`](HttpOptions::idle_connection_timeout).
    #[must_use]
    pub fn idle_connection_timeout(mut self, limit: impl Into<Option<Duration>>) -> HttpOptions {
        self.idle_connection_timeout = limit.into();
        self
    }

    /// Sets [`body_timeout`](HttpOptions::body_timeout).
    #[must_use]
    pub fn body_timeout(mut self, limit: Duration) -> HttpOptions {
        self.body_timeout = limit;
        self
    }

    /// Sets [`minimum_body_rate`](HttpOptions::minimum_body_rate).
    #[must_use]
    pub fn minimum_body_rate(mut self, bytes_per_second: u32) -> HttpOptions {
        self.minimum_body_rate = bytes_per_second;
        self
    }

    /// Sets [`write_timeout`](HttpOptions::write_timeout).
    #[must_use]
    pub fn write_timeout(mut self, limit: Duration) -> HttpOptions {
        self.write_timeout = limit;
        self
    }

    /// Sets [`minimum_send_rate`](HttpOptions::minimum_send_rate).
    #[must_use]
    pub fn minimum_send_rate(mut self, bytes_per_second: u32) -> HttpOptions {
        self.minimum_send_rate = bytes_per_second;
        self
    }

    /// Whether a connection is kept behind a response, so that the response need not say that it is not.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive && self.idle_connection_timeout != Some(Duration::ZERO)
    }

    /// Sets [`handler_timeout`](HttpOptions::handler_timeout).
    #[must_use]
    pub fn handler_timeout(mut self, limit: impl Into<Option<Duration>>) -> HttpOptions {
        self.handler_timeout = limit.into();
        self
    }

    /// Sets [`linger`](HttpOptions::linger).
    #[must_use]
    pub fn linger(mut self, limit: Duration) -> HttpOptions {
        self.linger = limit;
        self
    }

    /// Sets [`max_buffered_response`](HttpOptions::max_buffered_response).
    #[must_use]
    pub fn max_buffered_response(mut self, bytes: usize) -> HttpOptions {
        self.max_buffered_response = bytes;
        self
    }

    /// Sets [`max_requests_per_connection`](HttpOptions::max_requests_per_connection).
    #[must_use]
    pub fn max_requests_per_connection(mut self, requests: impl Into<Option<u32>>) -> HttpOptions {
        self.max_requests_per_connection = requests.into();
        self
    }

    /// Sets [`max_connection_age`](HttpOptions::max_connection_age).
    #[must_use]
    pub fn max_connection_age(mut self, age: impl Into<Option<Duration>>) -> HttpOptions {
        self.max_connection_age = age.into();
        self
    }

    /// Sets [`form`](HttpOptions::form).
    #[must_use]
    pub fn form(mut self, limits: FormLimits) -> HttpOptions {
        self.form = limits;
        self
    }

    /// Sets [`xheaders`](HttpOptions::xheaders).
    #[must_use]
    pub fn xheaders(mut self, proxies: TrustedProxies) -> HttpOptions {
        self.xheaders = Some(proxies);
        self
    }

    /// Sets [`protocol`](HttpOptions::protocol).
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> HttpOptions {
        self.protocol = Some(protocol);
        self
    }

    /// Has request bodies decoded: see [`decompress_request`](HttpOptions::decompress_request).
    #[cfg(feature = "gzip")]
    #[must_use]
    pub fn decompress_request(mut self) -> HttpOptions {
        self.decompress_request = true;
        self
    }

    /// Sets [`max_inflation`](HttpOptions::max_inflation).
    #[cfg(feature = "gzip")]
    #[must_use]
    pub fn max_inflation(mut self, times: u32) -> HttpOptions {
        self.max_inflation = times;
        self
    }

    /// Has responses compressed whose clients accept gzip: texts, JSON, XML and the like, of `minimum_bytes` or of unknown length, also
    /// from files. Never parts of files, what has a Content-Encoding or `Cache-Control: no-transform`, or events. All such
    /// responses get `Vary: Accept-Encoding`; encoded ones have a weak ETag and, beyond 64 KiB, no Content-Length; the answer to
    /// HEAD has the same fields. What a handler streams is kept back until there is enough of it, or it is
    /// [flushed](crate::ResponseWriter::flush).
    ///
    /// Compressing takes time on the loop, 64 KiB at a time, and 350 KiB of memory while a response goes out. A page that
    /// shows a secret beside what a client chose should not be compressed: the length tells (BREACH).
    #[cfg(feature = "gzip")]
    #[must_use]
    pub fn compress_response(mut self, compression: impl Into<Option<Compression>>) -> HttpOptions {
        self.compress_response = compression.into();
        self
    }

    /// Has requests counted here. Default: nowhere, and nothing is spent on it.
    #[must_use]
    pub fn metrics(mut self, metrics: HttpMetrics) -> HttpOptions {
        self.metrics = Some(metrics);
        self
    }

    /// Has `log` called once for each request that has ended, however it did; [`log_request`](crate::log_request) writes Tornado's
    /// line. Default: nothing is called, and nothing is spent on it. With it, each request's head is copied.
    ///
    /// It is called on the loop, and must not wait.
    #[must_use]
    #[doc(alias = "log_function")]
    pub fn access_log(mut self, log: impl Fn(&AccessRecord<'_>) + Send + Sync + 'static) -> HttpOptions {
        self.access_log = Some(AccessLog(Arc::new(log)));
        self
    }

    /// Closes each connection after its first response.
    #[must_use]
    pub fn no_keep_alive(mut self) -> HttpOptions {
        self.keep_alive = false;
        self
    }

    /// Lets handlers run on when their clients have gone.
    #[must_use]
    pub fn no_cancel_on_disconnect(mut self) -> HttpOptions {
        self.cancel_on_disconnect = false;
        self
    }

    /// Sends this in the Server field instead of `waterspout`; nothing sends no such field.
    ///
    /// # Errors
    ///
    /// When the name has a byte that no field can have.
    pub fn server_name<'a>(mut self, name: impl Into<Option<&'a str>>) -> Result<HttpOptions, HeaderError> {
        self.ambient = name.into().map(Ambient::with_server).transpose()?.unwrap_or_default();
        Ok(self)
    }
}
