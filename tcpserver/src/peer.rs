//! Who is at the other end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};

/// The peer's address, by the family of its listener (TS11).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A TCP connection.
    Tcp(SocketAddr),
    /// A Unix socket. Clients seldom bind one of their own, so there is hardly ever a path.
    #[cfg(unix)]
    Unix(Option<Box<PathBuf>>),
}

impl PeerAddr {
    /// The IP address, for TCP.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.as_tcp().map(|addr| addr.ip())
    }

    /// The address with its port, for TCP.
    #[must_use]
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            PeerAddr::Tcp(addr) => Some(*addr),
            #[cfg(unix)]
            PeerAddr::Unix(_) => None,
        }
    }

    #[cfg(unix)]
    pub(crate) fn from_unix(path: Option<&Path>) -> PeerAddr {
        PeerAddr::Unix(path.map(|path| Box::new(path.to_owned())))
    }
}

/// A peer's address as a server keeps it of each connection: in 7 bytes, as far as so many do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ShortAddr {
    /// The port in bytes, which need not lie at an even address.
    V4(Ipv4Addr, [u8; 2]),
    /// A Unix socket without a path.
    #[cfg(unix)]
    Unix,
    /// It is kept elsewhere.
    Long,
}

impl ShortAddr {
    pub(crate) fn of(peer: &PeerAddr) -> ShortAddr {
        match peer {
            PeerAddr::Tcp(SocketAddr::V4(addr)) => ShortAddr::V4(*addr.ip(), addr.port().to_ne_bytes()),
            #[cfg(unix)]
            PeerAddr::Unix(None) => ShortAddr::Unix,
            _ => ShortAddr::Long,
        }
    }

    /// `None` for one that is kept elsewhere.
    pub(crate) fn whole(self) -> Option<PeerAddr> {
        match self {
            ShortAddr::V4(ip, port) => {
                Some(PeerAddr::Tcp(SocketAddr::new(ip.into(), u16::from_ne_bytes(port))))
            }
            #[cfg(unix)]
            ShortAddr::Unix => Some(PeerAddr::Unix(None)),
            ShortAddr::Long => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddr::Tcp(addr) => addr.fmt(f),
            #[cfg(unix)]
            PeerAddr::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            #[cfg(unix)]
            PeerAddr::Unix(None) => f.write_str("unix:"),
        }
    }
}
