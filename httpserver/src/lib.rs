//! A strict HTTP/1.1 server, after Tornado's `httpserver`.
//!
//! **In scope:** [`HttpServer`], its three shapes of [`Handler`], requests and responses, whole or streamed, limits and deadlines,
//! and the protocol core by itself, without sockets and clocks ([`http1`]). **Out of scope:** routing, templates, HTTP/2, clients.
//!
//! ```no_run
//! use httpserver::{HttpServer, Request, Response};
//! use ioloop::IoLoop;
//!
//! async fn hello(request: Request) -> Response {
//!     Response::text(format!("You requested {}\n", request.uri()))
//! }
//!
//! let server = HttpServer::new(hello);
//! server.listen(8888)?;
//! IoLoop::current().start()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What things cost
//!
//! A request on a keep-alive connection costs one read and one write; so do sixteen that arrive in one segment. There is no syscall and no allocation
//! per header; a head is copied once, into memory that is reused. An idle connection holds neither a buffer nor request state.
//! Response bodies of 16 KiB and more are not copied.
//!
//! # What is logged
//!
//! - `error`: a handler that failed or panicked.
//! - `warn`: a request that was turned away because the loop holds as much for its peers as it may.
//! - `info`: a request that was refused, and a peer that stopped reading its response.
//! - `debug`: each request's handler runs in a span `request`, with OpenTelemetry's fields.
//!
//! Of each kind there are at most ten lines a second, whatever clients do; the next line says how many were `withheld`. A client that
//! goes away is not logged. Requests are logged by [`HttpOptions::access_log`] and counted by [`HttpOptions::metrics`];
//! [`HttpError::fault`] says whose fault an error is.

#![forbid(unsafe_code)]

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod access;
mod active;
mod admin;
mod ambient;
mod arguments;
mod conditional;
#[cfg(feature = "gzip")]
mod content_coding;
mod cookies;
mod core;
mod delegate;
mod driver;
mod error;
mod events;
mod exchange;
mod facts;
mod file_body;
mod form;
mod forwarded;
mod gathering;
mod handler;
mod headers;
mod helpers;
pub mod http1;
#[cfg(feature = "json")]
mod json;
mod left_out;
mod lifecycle;
mod log_limit;
mod media_type;
mod metrics;
pub mod multipart;
mod multipart_stream;
mod observed;
mod options;
mod proxies;
mod ranges;
mod request;
mod response;
mod saving;
mod server;
mod session;
mod set_cookie;
mod span;
mod start;
mod static_file;
mod takeover;
mod watch;
mod whole;
mod worker;
mod writer;

pub use access::{AccessRecord, log_request};
pub use admin::{Admin, Mounted};
pub use arguments::Arguments;
#[cfg(feature = "gzip")]
pub use content_coding::Compression;
pub use cookies::Cookies;
pub use delegate::{Delegated, HttpMessageDelegate, HttpServerConnectionDelegate};
pub use error::{Fault, HttpError};
pub use events::{Event, EventStream};
pub use exchange::{Body, Exchange};
pub use facts::RequestFacts;
pub use form::{BodyError, Form, FormLimits, UploadedFile};
pub use handler::{Classic, Handler, Streaming, Whole};
pub use headers::{HeaderError, Headers};
pub use helpers::{format_timestamp, split_host_and_port, url_concat, url_unescape};
#[cfg(feature = "json")]
pub use json::Json;
pub use metrics::HttpMetrics;
pub use multipart_stream::{Multipart, Part};
pub use options::HttpOptions;
pub use proxies::{Protocol, ProxyHeaders, TrustedProxies};
pub use request::Request;
pub use response::{IntoResponse, Response};
pub use server::HttpServer;
pub use set_cookie::{CookieError, SameSite, SetCookie};
pub use static_file::StaticFile;
pub use writer::{ResponseBuilder, ResponseWriter};

/// What stands in the signatures here and comes from the layers beneath.
pub use iostream::{IoStream, StreamOptions};
#[cfg(unix)]
pub use tcpserver::UnixBindOptions;
pub use tcpserver::{
    AcceptStrategy, BindOptions, ConnectionContext, Drain, DrainReport, ListenError, ListenOptions,
    LoopMetrics, Network, NetworkError, PeerAddr, ProxyHeader, ProxyProtocol, ServerHandle, Servers,
    ServersHandle, WhenFull,
};

/// Methods, statuses and versions are those of the `http` crate.
pub use http::{Method, StatusCode, Version};
