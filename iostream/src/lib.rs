//! Buffered reads and writes over any non-blocking transport, after Tornado's `iostream`.
//!
//! **In scope:** [`IoStream`] with reads up to a delimiter, a length or the end; coalesced writes; limits; graceful
//! closing; a [`Transport`] trait for what is neither TCP nor a Unix socket; by feature, TLS with
//! rustls (`tls`), connecting to hosts by name (`client`), pipes and child processes (`process`), reading up to a pattern
//! (`regex`), the traits of other ecosystems (`futures-io`, `tokio-io`), and scripted transports and in-memory pairs
//! for tests (`testing`). **Out of scope:** listening and accepting (`tcpserver`), resolving names (`netutil`).
//!
//! ```
//! use ioloop::IoLoop;
//! use iostream::IoStream;
//! # use std::io::{Read, Write};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let peer = std::thread::spawn(move || {
//! #     let mut socket = listener.accept().unwrap().0;
//! #     let mut request = [0; 6];
//! #     socket.read_exact(&mut request).unwrap();
//! #     socket.write_all(b"world\r\nand more").unwrap();
//! # });
//!
//! let answer = IoLoop::new()?.run_sync(async {
//!     let stream = IoStream::connect(address).await?;
//!     stream.write("hello\n").await?;
//!     stream.read_until(b"\r\n").await
//! })??;
//! assert_eq!(answer, "world\r\n");
//! # peer.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What things cost
//!
//! An idle stream takes about 180 bytes, its slot in the loop included; over TLS, 8 KiB. A transport is registered with
//! the poller once, when it would first block. A read that finds data is one syscall, and none is made just to learn that
//! there is no more. All that a task writes before it waits for input is sent by one syscall. An idle stream holds no buffer:
//! blocks of 64 KiB are borrowed from the thread's pool while bytes are in flight ([`leased_blocks`] counts them), and a
//! small remainder that waits for more is moved to memory of its own size. A reader that stops with bytes unread keeps the
//! block that holds them, over TLS two at times; while more than 64 are borrowed (4 MiB), what is left of up to 16 KiB is moved likewise when
//! the turn ends in which it came. A result is copied out of the block once, or is the block itself where it fills
//! most of it. Writes of 16 KiB and more are not copied. In one turn a stream reads at most 256 KiB and sends at most 1088 KiB; after 8192 reads out
//! of what it has its reader gives way too.

#![forbid(unsafe_code)]

/// Runs the examples of the README.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
mod async_io;
mod budget;
#[cfg(feature = "client")]
mod client;
mod close;
mod close_watch;
mod connect;
mod detach;
mod error;
mod fill;
mod flush;
mod grant;
mod held_back;
mod options;
#[cfg(all(unix, feature = "process"))]
mod pipe;
mod pool;
mod read;
mod read_buffer;
#[cfg(feature = "regex")]
mod read_until_regex;
mod search;
mod send_at_once;
mod shortage;
mod socket_calls;
mod stream;
#[cfg(all(unix, feature = "process"))]
mod subprocess;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod turn_share;
mod write;
mod write_buffer;

#[cfg(any(feature = "futures-io", feature = "tokio-io"))]
pub use async_io::AsyncIo;
pub use budget::{HeldBytes, MemoryBudget, buffered_bytes};
#[cfg(feature = "client")]
pub use client::{ConnectError, ConnectStep, ExecutorResolver, FailedAttempt, TcpClient};
#[cfg(feature = "tls")]
pub use detach::DetachedTls;
pub use detach::{DetachError, DetachedTransport, Parts};
#[cfg(all(unix, feature = "process"))]
pub use error::NotPollable;
pub use error::{CloseReason, StreamError};
pub use grant::{MemoryGrant, MemoryWait};
pub use options::StreamOptions;
pub use pool::{leased_blocks, release_free_blocks};
#[cfg(feature = "regex")]
pub use read_until_regex::{Regex, RegexError};
pub use shortage::{on_memory_shortage, relieve_memory};
pub use stream::IoStream;
#[cfg(all(unix, feature = "process"))]
pub use subprocess::Subprocess;
pub use transport::{Carrier, Direction, IntoTransport, Transport};
pub use write::Write;
