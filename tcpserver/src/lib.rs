//! A TCP server for a protocol of your own, after Tornado's `tcpserver`.
//!
//! **In scope:** [`add_accept_handler`] (in Tornado it is in `netutil`), and [`TcpServer`]: listening, accepting fairly,
//! running a [`HandleStream`] per connection, closing the stream when it ends, limits on connections and metrics, on one loop or
//! many ([`TcpServer::start`], [`Servers`]). **Out of scope:** the protocol spoken on the connection; `httpserver` is one. Binding
//! sockets is `netutil`'s part, reading and writing is `iostream`'s.
//!
//! ```no_run
//! use ioloop::IoLoop;
//! use iostream::{IoStream, StreamError};
//! use tcpserver::{ConnectionContext, TcpServer};
//!
//! async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
//!     loop {
//!         let line = stream.read_until_max(b"\n", 8192).await?;
//!         stream.write(line).await?;
//!     }
//! }
//!
//! let server = TcpServer::new(echo);
//! server.listen(9999)?;
//! IoLoop::current().start()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What things cost
//!
//! A connection costs one `accept4`, and three allocations: the task's future, the stream, and the connection's record. It has no buffer
//! before bytes arrive. Nagle's algorithm is turned off on the listener; on Linux accepted sockets inherit that.
//!
//! The record of a connection, which its context and [`TcpServer::connections`] show, is 72 bytes, 48 more for a peer with an IPv6 address,
//! and 8 for its place in the table. A limit [per address](TcpServer::max_connections_per_ip) adds an entry in a hash table for each
//! client; without one nothing is looked up. A span is made only where a subscriber wants it.
//!
//! # What is logged
//!
//! - `error`: a handler that failed or panicked; the beginning of a time in which accepting fails.
//! - `warn`: the beginning of a time in which the server is full. The end of either is logged at `info`; at most one line a second, whatever
//!   clients do.
//! - `warn`: a bad PROXY protocol header, a failed TLS handshake, connections that were reset because the memory budget is exhausted: at most one line of each
//!   kind in ten seconds.
//! - `debug`: each connection's handler runs in a span `connection` with `id`, `peer`, `client` if that is another, and `label`; each client with
//!   too many connections is named.

#![forbid(unsafe_code)]

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod accept;
mod admission;
mod any_server;
mod backoff;
mod connections;
mod context;
#[cfg(all(unix, feature = "credentials"))]
mod credentials;
mod drain;
mod ending;
mod entrance;
mod error;
mod eviction;
mod handle;
mod handler;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(feature = "tls")]
mod handshakes;
mod listener;
mod log;
mod metrics;
mod opening;
mod peer;
mod per_ip;
mod proxy_protocol;
mod quiet;
mod reset;
mod server;
mod servers;
mod serving;
mod waiters;

pub use accept::{ACCEPTS_PER_TURN, AcceptHandle, add_accept_handler};
pub use admission::WhenFull;
pub use any_server::{AnyServer, Server};
pub use connections::{ConnectionInfo, ConnectionState};
pub use context::ConnectionContext;
#[cfg(all(unix, feature = "credentials"))]
pub use credentials::PeerCredentials;
pub use drain::{Drain, DrainPhase, DrainProgress, DrainReport};
pub use entrance::ListenOptions;
pub use error::ListenError;
pub use handle::ServerHandle;
pub use handler::{Failure, HandleStream, Outcome};
pub use listener::{Connection, Listener};
pub use metrics::{Metrics, Shed, Timeouts};
pub use peer::PeerAddr;
pub use proxy_protocol::{ProxyError, ProxyHeader, ProxyProtocol, ProxySsl, Tlv, Tlvs, kind as tlv_kind};
pub use reset::reset;
pub use server::TcpServer;
pub use servers::{AcceptStrategy, LoopMetrics, Servers, ServersHandle, SharedListener};

#[cfg(unix)]
pub use netutil::UnixBindOptions;
/// How listeners are bound, from `netutil`.
pub use netutil::{BindError, BindOptions, Network, NetworkError};

/// How listeners go to another process, from `netutil`.
#[cfg(target_os = "linux")]
pub use netutil::{ActivatedSockets, Handover, HandoverError};
