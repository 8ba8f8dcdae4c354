//! Connections to hosts by name: Tornado's `TCPClient`.

mod error;
mod interleave;
mod race;
mod resolver;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ioloop::{Deadline, IoLoop};
use netutil::{Family, Resolver};

pub use error::{ConnectError, ConnectStep, FailedAttempt};
pub use resolver::ExecutorResolver;

use crate::options::StreamOptions;
use crate::stream::IoStream;
#[cfg(feature = "tls")]
use crate::tls::TlsClientConfig;
use error::Question;
use interleave::interleave;
use race::Race;
use socket::Source;

/// What RFC 8305 §5 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The absolute bounds of RFC 8305 §8.
const ATTEMPT_DELAYS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(2);

/// What a host with sixteen addresses that all keep silent costs in descriptors.
const ATTEMPTS_AT_ONCE: usize = 16;

/// Connects to hosts: looks the name up, races its addresses, and gives the first connection that stands.
///
/// Made once and used often: it holds a resolver and options, and every option stays as it is until a clone has
/// another.
///
/// | option | default | why |
/// | --- | --- | --- |
/// | [`resolver`](TcpClient::resolver) | the system's | on threads of its own, see [`ExecutorResolver`] |
/// | [`family`](TcpClient::family) | every one | what works is found by trying |
/// | [`stream_options`](TcpClient::stream_options) | those of [`StreamOptions`] | |
/// | [`source_ip`](TcpClient::source_ip), [`source_port`](TcpClient::source_port) | the kernel's choice | |
/// | `tls` (feature `tls`) | none | a handshake for the host, on the connection that won |
/// | [`timeout`](TcpClient::timeout) | none | Tornado's (TC2). The system then gives up: many seconds for a name, minutes for an address |
/// | [`attempt_delay`](TcpClient::attempt_delay) | 250 ms | RFC 8305 §5 |
/// | [`attempts_at_once`](TcpClient::attempts_at_once) | 16 | a bound on descriptors |
///
/// ```
/// use std::time::Duration;
/// use ioloop::IoLoop;
/// use iostream::TcpClient;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
///
/// let stream = IoLoop::new()?.run_sync(async {
///     let client = TcpClient::new().timeout(Duration::from_secs(10));
///     client.connect("localhost", port).await
/// })??;
/// assert_eq!(stream.peer_addr(), listener.accept()?.0.local_addr().ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Happy Eyeballs
///
/// The addresses are tried as in RFC 8305: in the resolver's order, but with the two families taking turns, the first
/// one's first (§4). An attempt begins when the one before has had 250 ms (§5), or at once when any has failed. The first that
/// succeeds ends all others, whose sockets are closed. Tornado (TC4) has one attempt per family under way and no
/// second one while the first keeps silent, so that one address which swallows packets holds up its whole family for
/// minutes; here it costs 250 ms.
///
/// # Cost
///
/// A literal address costs neither thread nor system call to resolve. A connection costs what
/// [`IoStream::connect`] costs, two or three small allocations, and a timer while a second address waits for its turn.
#[derive(Debug, Clone)]
#[doc(alias = "TCPClient")]
pub struct TcpClient {
    resolver: ExecutorResolver,
    family: Family,
    stream_options: Rc<StreamOptions>,
    source_ip: Option<IpAddr>,
    source_port: u16,
    timeout: Option<Duration>,
    attempt_delay: Duration,
    attempts_at_once: usize,
    #[cfg(feature = "tls")]
    tls: Option<TlsClientConfig>,
}

impl Default for TcpClient {
    fn default() -> TcpClient {
        TcpClient {
            resolver: ExecutorResolver::new(),
            family: Family::default(),
            stream_options: Rc::default(),
            source_ip: None,
            source_port: 0,
            timeout: None,
            attempt_delay: ATTEMPT_DELAY,
            attempts_at_once: ATTEMPTS_AT_ONCE,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl TcpClient {
    /// A client with the defaults above.
    #[must_use]
    pub fn new() -> TcpClient {
        TcpClient::default()
    }

    /// Asks `resolver` instead of the system's, for literal addresses too. It blocks, so it runs on the threads of
    /// [`ExecutorResolver`]. Give an `Arc` to keep it (TC1); otherwise it goes with the last clone of the client.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> TcpClient {
        self.resolver = ExecutorResolver::with(resolver);
        self
    }

    /// Connects to addresses of this family only.
    #[must_use]
    #[doc(alias = "af")]
    pub fn family(mut self, family: Family) -> TcpClient {
        self.family = family;
        self
    }

    /// The limits of the streams; Tornado's `max_buffer_size` is among them.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    pub fn stream_options(mut self, options: impl Into<Rc<StreamOptions>>) -> TcpClient {
        self.stream_options = options.into();
        self
    }

    /// Connects from this address of the machine, and so only to addresses of its family.
    #[must_use]
    pub fn source_ip(mut self, source_ip: IpAddr) -> TcpClient {
        self.source_ip = Some(source_ip);
        self
    }

    /// Connects from this port; 0 is the kernel's choice. Without a [`source_ip`](TcpClient::source_ip) the kernel
    /// chooses the address that leads to the host. (Tornado takes the loopback's, from which no other machine can be
    /// reached, TC7.) Except on Windows the port may be reused at once, and by connections to other addresses (`SO_REUSEADDR`).
    #[must_use]
    pub fn source_port(mut self, source_port: u16) -> TcpClient {
        self.source_port = source_port;
        self
    }

    /// Gives up when so much time has passed since [`connect`](TcpClient::connect) was first polled: one limit for
    /// everything that it does (TC3). Literal addresses and quick answers may still connect with a limit of zero.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> TcpClient {
        self.timeout = Some(timeout);
        self
    }

    /// How long an address may keep silent before the next is tried beside it: RFC 8305's Connection Attempt Delay, 10 ms
    /// to 2 s.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> TcpClient {
        self.attempt_delay = delay;
        self
    }

    /// How many addresses may be tried at a time, at least 1. When so many keep silent, the next waits until one of
    /// them has failed. With 1 nothing races: each address has as long as the system gives it.
    #[must_use]
    pub fn attempts_at_once(mut self, attempts: usize) -> TcpClient {
        self.attempts_at_once = attempts;
        self
    }

    /// Begins TLS for the host's name on the connection that won (TC8), within the same [`timeout`](TcpClient::timeout)
    /// and the handshake timeout of `config`. A server whose handshake fails is the end of it, as in Tornado: whom one
    /// address of a host shows a wrong certificate, another would not serve better.
    #[cfg(feature = "tls")]
    #[must_use]
    #[doc(alias = "ssl_options")]
    pub fn tls(mut self, config: TlsClientConfig) -> TcpClient {
        self.tls = Some(config);
        self
    }

    /// Connects to `host`, a name or a literal address without brackets (TC2). Done when a connection stands, with TLS
    /// when its handshake is done.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] that says how far it came, with every address that was tried and what became of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes every socket. A look-up that has begun runs to its end on its thread.
    pub async fn connect(&self, host: &str, port: u16) -> Result<IoStream, ConnectError> {
        let mut end = self.end();
        let source = Source { ip: self.source_ip, port: self.source_port };
        let question = self.question(host, port)?;
        #[cfg(feature = "tls")]
        tls::check_name(self.tls.as_ref(), &question)?;
        let stream = self
            .first_connection(&question, &mut end, |address| {
                socket::connect(address, source, Rc::clone(&self.stream_options))
            })
            .await?;
        #[cfg(feature = "tls")]
        tls::begin(self.tls.as_ref(), &stream, &question, &mut end).await?;
        Ok(stream)
    }

    /// The first connection to any address of the host that `connect_one` makes before `end`.
    async fn first_connection<T, F>(
        &self,
        question: &Question<'_>,
        end: &mut Deadline,
        connect_one: impl Fn(SocketAddr) -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, FailedAttempt>>,
    {
        let looked_up = self.resolver.resolve(question.host, question.port, question.family);
        let addresses = before(end, looked_up).await;
        let addresses =
            addresses.ok_or_else(|| question.timed_out(ConnectStep::Resolve, vec![], vec![]))??;
        let mut race =
            Race::new(interleave(addresses), connect_one, self.attempt_delay, self.attempts_at_once);
        match before(end, poll_fn(|cx| race.poll(cx))).await {
            Some(Some(connection)) => Ok(connection),
            Some(None) => Err(question.all_failed(race.into_failed())),
            None => {
                let pending = race.pending();
                Err(question.timed_out(ConnectStep::Connect, race.into_failed(), pending))
            }
        }
    }

    fn end(&self) -> Deadline {
        let io_loop = IoLoop::current();
        let end = Deadline::new(&io_loop);
        end.set(self.timeout.and_then(|limit| io_loop.now().checked_add(limit))); // beyond that it is as good as never
        end
    }

    /// What to look up, if the options go together.
    fn question<'a>(&self, host: &'a str, port: u16) -> Result<Question<'a>, ConnectError> {
        Ok(Question { host, port, family: self.checked_family()?, limit: self.timeout })
    }

    fn checked_family(&self) -> Result<Family, ConnectError> {
        self.stream_options.check().map_err(ConnectError::InvalidOption)?;
        if !ATTEMPT_DELAYS.contains(&self.attempt_delay) {
            return Err(ConnectError::InvalidOption("the attempt delay must be 10 ms to 2 s"));
        }
        if self.attempts_at_once == 0 {
            return Err(ConnectError::InvalidOption("at least one attempt must be allowed at once"));
        }
        let source_family = match self.source_ip {
            None => return Ok(self.family),
            Some(IpAddr::V4(_)) => Family::Ipv4,
            Some(IpAddr::V6(_)) => Family::Ipv6,
        };
        if self.family == Family::Unspecified || self.family == source_family {
            Ok(source_family)
        } else {
            Err(ConnectError::InvalidOption("the source address is not of the family that is asked for"))
        }
    }
}

impl IoStream {
    /// Connects to `host`, a name or a literal address: `TcpClient::new().connect(host, port)`, without a limit of time.
    ///
    /// ```
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let port = listener.local_addr()?.port();
    /// use ioloop::IoLoop;
    /// use iostream::IoStream;
    ///
    /// IoLoop::new()?.run_sync(async { IoStream::connect_host("localhost", port).await })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`TcpClient::connect`].
    pub async fn connect_host(host: &str, port: u16) -> Result<IoStream, ConnectError> {
        TcpClient::new().connect(host, port).await
    }
}

/// What `future` gives, `None` if `end` passes first. A future that is done in time is not lost to a late look.
async fn before<T>(end: &mut Deadline, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.poll(cx).map(|()| None),
    })
    .await
}
