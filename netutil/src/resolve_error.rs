//! Why a host could not be resolved.

use std::io;

use crate::options::Family;
use crate::platform::EAI_AGAIN;

/// A host in an error is cut at this many characters: it may come from a peer and be of any length.
const SHOWN_HOST_CHARS: usize = 255;

/// Why [`Resolver::resolve`](crate::Resolver::resolve) failed. Each variant names host and port as they were
/// asked for; a host of more than 255 characters is cut there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No resolver can be asked for this host; none was.
    #[error("{host:?} (port {port}) cannot be looked up: {reason}")]
    InvalidHost {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What is wrong with the host.
        reason: &'static str,
    },

    /// The look-up failed: no such name, no answer, no resolver.
    #[error("looking up {host:?} (port {port}) failed: {source}")]
    LookUp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What `getaddrinfo` returned: an `EAI_…` constant of this system's C library. None from a resolver
        /// that works otherwise; 0 if the system's answer could not be read.
        code: Option<i32>,
        /// What the resolver said.
        source: io::Error,
    },

    /// The host has addresses, but none of the family that was asked for; or, for [`Family::Unspecified`], it has none.
    #[error("{host:?} (port {port}) has no address{}", of_family(*family))]
    NoAddress {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The family.
        family: Family,
    },
}

impl ResolveError {
    /// For resolvers: an [`InvalidHost`](Self::InvalidHost).
    #[must_use]
    pub fn invalid_host(host: &str, port: u16, reason: &'static str) -> Self {
        Self::InvalidHost { host: shown(host), port, reason }
    }

    /// For resolvers: a [`LookUp`](Self::LookUp).
    #[must_use]
    pub fn look_up(host: &str, port: u16, code: Option<i32>, source: io::Error) -> Self {
        Self::LookUp { host: shown(host), port, code, source }
    }

    /// For resolvers: a [`NoAddress`](Self::NoAddress).
    #[must_use]
    pub fn no_address(host: &str, port: u16, family: Family) -> Self {
        Self::NoAddress { host: shown(host), port, family }
    }

    /// Whether the same question may have an answer later: `getaddrinfo` said `EAI_AGAIN`, as it does when
    /// no name server answers.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::LookUp { code: Some(EAI_AGAIN), .. })
    }

    /// The kind of error, as std names it.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InvalidHost { .. } => io::ErrorKind::InvalidInput,
            Self::LookUp { source, .. } => source.kind(),
            Self::NoAddress { .. } => io::ErrorKind::NotFound,
        }
    }
}

/// Keeps the kind and the message; the [`ResolveError`] is inside ([`io::Error::get_ref`]).
impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        io::Error::new(error.kind(), error)
    }
}

fn of_family(family: Family) -> &'static str {
    match family {
        Family::Unspecified => "",
        Family::Ipv4 => " of the family IPv4",
        Family::Ipv6 => " of the family IPv6",
    }
}

fn shown(host: &str) -> String {
    host.chars().take(SHOWN_HOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_host_port_and_reason() {
        let failed = ResolveError::look_up("a\nb", 80, Some(-2), io::Error::other("no such name"));
        assert_eq!(failed.to_string(), r#"looking up "a\nb" (port 80) failed: no such name"#);
        let refused = ResolveError::invalid_host("", 443, "it is empty");
        assert_eq!(refused.to_string(), r#""" (port 443) cannot be looked up: it is empty"#);
        let other_family = ResolveError::no_address("::1", 80, Family::Ipv4);
        assert_eq!(other_family.to_string(), r#""::1" (port 80) has no address of the family IPv4"#);
        let none = ResolveError::no_address("a", 80, Family::Unspecified);
        assert_eq!(none.to_string(), r#""a" (port 80) has no address"#);
    }

    #[test]
    fn nu5_1_as_an_io_error_it_keeps_kind_and_message() {
        for (error, kind) in [
            (ResolveError::invalid_host("", 80, "it is empty"), io::ErrorKind::InvalidInput),
            (ResolveError::look_up("a", 80, None, io::ErrorKind::TimedOut.into()), io::ErrorKind::TimedOut),
            (ResolveError::no_address("a", 80, Family::Ipv6), io::ErrorKind::NotFound),
        ] {
            let message = error.to_string();
            let error = io::Error::from(error);
            assert_eq!((error.kind(), error.to_string()), (kind, message));
            assert!(matches!(error.get_ref(), Some(inner) if inner.is::<ResolveError>()));
        }
    }

    #[test]
    fn only_a_look_up_that_may_work_later_is_temporary() {
        let failed = |code| ResolveError::look_up("a", 80, code, io::Error::other("no answer"));
        assert!(failed(Some(EAI_AGAIN)).is_temporary());
        assert!(!failed(Some(0)).is_temporary());
        assert!(!failed(None).is_temporary());
        assert!(!ResolveError::no_address("a", 80, Family::Ipv6).is_temporary());
    }

    #[test]
    fn a_long_host_is_cut_in_the_error() {
        let error = ResolveError::invalid_host(&"ü".repeat(100_000), 80, "it is longer than a name can be");
        assert!(matches!(&error, ResolveError::InvalidHost { host, .. } if *host == "ü".repeat(255)));
    }
}
