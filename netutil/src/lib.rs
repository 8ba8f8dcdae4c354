//! Listening sockets, set up correctly, and name resolution, after Tornado's `netutil`; everything returned is a std type.
//!
//! ```
//! use netutil::{BindOptions, bind_sockets};
//!
//! // All interfaces, IPv4 and IPv6, on one port that the kernel chooses.
//! let listeners = bind_sockets(0, &BindOptions::new())?;
//! let port = listeners[0].local_addr()?.port();
//! for listener in &listeners {
//!     assert_eq!(listener.local_addr()?.port(), port);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In scope
//!
//! - [`bind_sockets`]: one listening TCP socket per local address of a host, all on one port.
//! - [`bind_unix_socket`]: a listening Unix socket that never takes the path of a running server, and
//!   [`UnlinkOnDrop`], which removes its file (Unix only).
//! - [`activated_sockets`]: the sockets that systemd has opened for this process, by name (Unix only; systems other
//!   than Linux have none).
//! - [`Handover`]: passes listening sockets to the process that replaces this one, without losing a connection (Linux only).
//! - [`Resolver`]: the addresses of a host; [`BlockingResolver`] asks the system, [`OverrideResolver`]
//!   replaces some hosts by others.
//! - [`raise_descriptor_limit`]: as many descriptors as the system allows (Unix only).
//! - [`is_valid_ip`]: whether a text is an IP address, strictly.
//! - [`Network`]: a range of addresses with a common prefix, such as `10.0.0.0/8`.
//! - [`set_close_exec`]: keeps a descriptor from being inherited by child processes (Unix only).
//!
//! # Out of scope
//!
//! Accepting (that needs a loop: see the crate `tcpserver`), connecting, TLS, UDP; resolving without blocking a
//! thread, caching results; notifying systemd (sd_notify).
//!
//! # What you own
//!
//! Everything returned is a std type ([`TcpListener`](std::net::TcpListener),
//! `std::os::unix::net::UnixListener`), already nonblocking and close-on-exec, and closes when dropped. Hand
//! it to any event loop. No failed call to bind leaves a socket open or a file behind. The only state that is
//! kept is whether the activated sockets have been taken.
//!
//! # Cost
//!
//! Setup code, meant to run once per listener. [`bind_sockets`] blocks for one `getaddrinfo` call, so a name
//! (not a literal) may cost a DNS round trip; then it makes seven to nine system calls per address. Its
//! memory is the lists of addresses and sockets. [`bind_unix_socket`] makes nine system calls, six more to
//! replace a dead socket, never waits, and allocates only paths. [`activated_sockets`] makes at most eight
//! system calls per descriptor, [`raise_descriptor_limit`] three in all. [`is_valid_ip`] neither allocates nor
//! makes a system call.
//!
//! [`BlockingResolver`] holds its thread for one `getaddrinfo` call, seconds if a name server is silent; a
//! literal costs one allocation and no call. [`OverrideResolver`] adds three short strings per question.

#![forbid(unsafe_code)]

#[cfg(unix)]
mod activation;
mod addresses;
mod bind;
#[cfg(unix)]
mod close_exec;
#[cfg(unix)]
mod descriptor_limit;
mod error;
#[cfg(target_os = "linux")]
mod handover;
mod ip;
mod lookup;
mod network;
mod options;
mod override_resolver;
mod platform;
mod resolve_error;
mod resolver;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unlink_on_drop;

#[cfg(unix)]
pub use crate::activation::{
    ACTIVATION_VARIABLES, Activated, ActivatedSocket, ActivatedSockets, ActivationError, activated_sockets,
};
pub use crate::bind::bind_sockets;
#[cfg(unix)]
pub use crate::close_exec::set_close_exec;
#[cfg(unix)]
pub use crate::descriptor_limit::{DescriptorLimit, descriptor_limit, raise_descriptor_limit};
pub use crate::error::{BindError, BindStep};
#[cfg(target_os = "linux")]
pub use crate::handover::{Handover, HandoverError};
pub use crate::ip::is_valid_ip;
pub use crate::network::{Network, NetworkError};
pub use crate::options::{BindOptions, DEFAULT_BACKLOG, Family};
pub use crate::override_resolver::{OverrideKey, OverrideResolver, OverrideTarget};
pub use crate::platform::{AI_ADDRCONFIG, AI_NUMERICHOST, AI_PASSIVE};
pub use crate::resolve_error::ResolveError;
pub use crate::resolver::{BlockingResolver, Resolver};
#[cfg(unix)]
pub use crate::unix::{UnixBindOptions, bind_unix_socket, bind_unix_socket_guarded};
#[cfg(unix)]
pub use crate::unlink_on_drop::UnlinkOnDrop;
