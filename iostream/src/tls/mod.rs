//! TLS over any carrier, by rustls: what Tornado's `SSLIOStream` is, with its holes closed.
//!
//! A stream becomes a TLS stream where it stands, as client ([`start_tls_client`](IoStream::start_tls_client)) or as server
//! ([`start_tls_server`](IoStream::start_tls_server)), right after it was connected or in the middle of a conversation. From
//! then on its methods, limits and callbacks are what they were; the bytes on the wire are not.
//! [`connect_tls`](IoStream::connect_tls) and [`accept_tls`](IoStream::accept_tls) do both steps at once.
//!
//! ```
//! use iostream::IoStream;
//! use iostream::tls::{Pem, TlsAcceptor, TlsClientConfig, TlsServerConfig};
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let at_client = std::net::TcpStream::connect(listener.local_addr()?)?;
//! # let at_server = listener.accept()?.0;
//!
//! let server = TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key)).build()?;
//! let acceptor = TlsAcceptor::new(server);
//! let client = TlsClientConfig::builder().trust(Pem::text(&chain)).build()?;
//!
//! let io_loop = ioloop::IoLoop::new()?;
//! let (question, answer) = io_loop.run_sync(async {
//!     let asking = io_loop.spawn(async move {
//!         let stream = IoStream::new(at_client)?;
//!         stream.start_tls_client(&client, "localhost").await?;
//!         stream.write("hello\n").await?;
//!         Ok::<_, std::io::Error>(stream.read_until_close().await?)
//!     });
//!     let stream = IoStream::accept_tls(at_server, &acceptor).await?;
//!     let question = stream.read_until(b"\n").await?;
//!     stream.write("world\n").await?;
//!     drop(stream); // says that this was all
//!     Ok::<_, Box<dyn std::error::Error>>((question, asking.await??))
//! })??;
//! assert_eq!((&question[..], &answer[..]), (&b"hello\n"[..], &b"world\n"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - The handshake is done when the stream is handed over: nothing can be read or written before names and chains have been
//!   checked. It has a deadline, 10 s unless the configuration says otherwise, and dropping its future closes the stream.
//! - A client checks the chain and the name; it takes a method with "danger" in its name to change that.
//! - Closing tells the peer that it is no accident (`close_notify`), if everything was sent. A peer that ends its side
//!   without saying so is [`TlsError::Truncated`] to whoever reads on, not the end of the stream; what came before it is authentic and is
//!   given first, and the stream can still be written to.
//! - TLS 1.2 and 1.3, with the cipher suites that rustls has; no compression, no renegotiation. A server remembers no
//!   session: its clients are given tickets (RFC 8446 §4.6.1), sealed with keys of the configuration that change every six hours.
//!
//! # What it costs
//!
//! One receive per request of up to 4 KiB, straight to where rustls decrypts it, or per 64 KiB where more comes; one send per
//! 64 KiB of plaintext. An idle TLS stream holds no buffer of ours.
//! rustls keeps its state and 4 KiB for the next record: 7.7 KB in all on a server, against the 184 bytes of a plain
//! stream (a test counts them).

mod client;
mod config;
mod error;
mod info;
mod pem;
mod server;
mod start;
mod transport;
mod verify;

pub use client::{TlsClientBuilder, TlsClientConfig};
pub use config::{DEFAULT_HANDSHAKE_TIMEOUT, TlsVersion};
pub use error::{TlsAlert, TlsConfigError, TlsError};
pub use info::TlsInfo;
pub use pem::Pem;
pub use server::{TlsAcceptor, TlsServerBuilder, TlsServerConfig};
#[cfg(feature = "client")]
pub(crate) use start::check_server_name;
pub(crate) use transport::TlsTransport;

#[cfg(doc)]
use crate::IoStream;
