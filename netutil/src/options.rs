//! What a caller of `bind_sockets` may choose.

use crate::platform::AI_PASSIVE;

/// How many connections may wait to be accepted, unless an option says otherwise: 128, as everywhere in
/// Tornado.
pub const DEFAULT_BACKLOG: u32 = 128;

/// Which address family to bind, or to resolve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Every family that the address has. The default.
    #[default]
    #[doc(alias = "AF_UNSPEC")]
    Unspecified,
    /// IPv4 only.
    #[doc(alias = "AF_INET")]
    Ipv4,
    /// IPv6 only.
    #[doc(alias = "AF_INET6")]
    Ipv6,
}

/// The options of [`bind_sockets`](crate::bind_sockets).
///
/// ```
/// use netutil::{BindOptions, Family};
///
/// let options = BindOptions::new().address("localhost").family(Family::Ipv4).backlog(1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    pub(crate) address: String,
    pub(crate) family: Family,
    pub(crate) backlog: u32,
    pub(crate) flags: i32,
    pub(crate) reuse_port: bool,
}

impl BindOptions {
    /// All interfaces, every family, a backlog of [`DEFAULT_BACKLOG`], [`AI_PASSIVE`], no SO_REUSEPORT.
    #[must_use]
    pub fn new() -> Self {
        Self {
            address: String::new(),
            family: Family::Unspecified,
            backlog: DEFAULT_BACKLOG,
            flags: AI_PASSIVE,
            reuse_port: false,
        }
    }

    /// The literal address or host name to bind. Default: `""`, all interfaces.
    ///
    /// A name binds every address it resolves to. A literal stands without brackets: `::1`, not `[::1]`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The address family to bind. Default: [`Family::Unspecified`].
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// How many finished handshakes may wait to be accepted, per socket. Default: [`DEFAULT_BACKLOG`].
    ///
    /// The kernel caps it silently (Linux: `net.core.somaxconn`); 0 means the smallest queue it has.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// The `ai_flags` bit mask for `getaddrinfo`. Default: [`AI_PASSIVE`].
    ///
    /// It replaces the default whole: without [`AI_PASSIVE`] in it, no address means the loopback addresses.
    /// `AI_CANONNAME` asks for something that has no place in the result and is left out of the call.
    #[must_use]
    pub fn flags(mut self, flags: i32) -> Self {
        self.flags = flags;
        self
    }

    /// Whether to set SO_REUSEPORT, with which several sockets may listen on one port. Default: no.
    ///
    /// Every socket on the port must ask for it. Linux spreads new connections over them.
    #[must_use]
    #[doc(alias = "SO_REUSEPORT")]
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }
}

impl Default for BindOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The backlog as `listen` takes it.
pub(crate) fn listen_backlog(connections: u32) -> i32 {
    i32::try_from(connections).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nu1_14_the_default_backlog_is_128() {
        assert_eq!(BindOptions::default().backlog, 128);
        assert_eq!(listen_backlog(DEFAULT_BACKLOG), 128);
    }

    #[test]
    fn a_backlog_beyond_what_listen_takes_is_the_largest_one_not_a_negative_one() {
        assert_eq!(listen_backlog(u32::MAX), i32::MAX);
    }

    #[test]
    fn nu1_4_given_flags_replace_the_default() {
        assert_eq!(BindOptions::new().flags, AI_PASSIVE);
        assert_eq!(BindOptions::new().flags(0).flags, 0);
    }
}
