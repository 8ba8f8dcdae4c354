//! A resolver that sends some hosts elsewhere, like a private hosts file.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::options::Family;
use crate::resolve_error::ResolveError;
use crate::resolver::Resolver;

/// Replaces some questions before another resolver is asked them.
///
/// For tests that must not leave the machine, and for a name that should lead to another server. The keys are
/// tried from the narrowest to the widest (NU5.5): host, port and family; host and port; host. The first one
/// that is there decides, and what it leads to is resolved by the inner resolver, once, with the family that
/// was asked for. A question without a key passes through. Keys are compared byte for byte.
///
/// ```
/// use netutil::{BlockingResolver, Family, OverrideKey, OverrideResolver, OverrideTarget, Resolver};
///
/// let resolver = OverrideResolver::new(
///     BlockingResolver,
///     [
///         (OverrideKey::from("example.com"), OverrideTarget::from("127.0.0.1")),
///         (OverrideKey::from(("example.com", 443)), OverrideTarget::from(("127.0.0.1", 8443))),
///     ],
/// );
/// let web = resolver.resolve("example.com", 80, Family::Unspecified)?;
/// assert_eq!(web, ["127.0.0.1:80".parse().unwrap()]);
/// let tls = resolver.resolve("example.com", 443, Family::Unspecified)?;
/// assert_eq!(tls, ["127.0.0.1:8443".parse().unwrap()]);
/// # Ok::<(), netutil::ResolveError>(())
/// ```
///
/// With keys of one shape, plain tuples do: `[("example.com", "127.0.0.1")]`.
#[derive(Clone, Debug, Default)]
pub struct OverrideResolver<R> {
    inner: R,
    mapping: HashMap<OverrideKey, OverrideTarget>,
}

impl<R: Resolver> OverrideResolver<R> {
    /// Asks `inner`, by way of `mapping`. Of two equal keys the later one counts.
    pub fn new<K, T>(inner: R, mapping: impl IntoIterator<Item = (K, T)>) -> Self
    where
        K: Into<OverrideKey>,
        T: Into<OverrideTarget>,
    {
        let mapping = mapping.into_iter().map(|(key, target)| (key.into(), target.into())).collect();
        Self { inner, mapping }
    }

    fn target(&self, host: &str, port: u16, family: Family) -> Option<&OverrideTarget> {
        [(host, port, family).into(), (host, port).into(), host.into()]
            .iter()
            .find_map(|key: &OverrideKey| self.mapping.get(key))
    }
}

/// An error names what was asked of the inner resolver: the target, where there is one.
impl<R: Resolver> Resolver for OverrideResolver<R> {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        match self.target(host, port, family) {
            Some(target) => self.inner.resolve(&target.host, target.port.unwrap_or(port), family),
            None => self.inner.resolve(host, port, family),
        }
    }
}

/// The questions that an [`OverrideResolver`] replaces. Made from `"host"`, `("host", port)` or
/// `("host", port, family)`.
///
/// The family is the one in the question: [`Family::Unspecified`] is a family of its own here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OverrideKey {
    host: String,
    port: Option<u16>,
    /// Only with a port.
    family: Option<Family>,
}

/// Every question for the host.
impl From<String> for OverrideKey {
    fn from(host: String) -> Self {
        Self { host, port: None, family: None }
    }
}

/// Every question for the host.
impl From<&str> for OverrideKey {
    fn from(host: &str) -> Self {
        host.to_owned().into()
    }
}

/// Every question for the host and the port.
impl<H: Into<String>> From<(H, u16)> for OverrideKey {
    fn from((host, port): (H, u16)) -> Self {
        Self { host: host.into(), port: Some(port), family: None }
    }
}

/// The one question for the host, the port and the family.
impl<H: Into<String>> From<(H, u16, Family)> for OverrideKey {
    fn from((host, port, family): (H, u16, Family)) -> Self {
        Self { host: host.into(), port: Some(port), family: Some(family) }
    }
}

/// What an [`OverrideResolver`] asks instead. Made from `"host"`, which keeps the port, or `("host", port)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideTarget {
    host: String,
    port: Option<u16>,
}

/// The host, with the port of the question.
impl From<String> for OverrideTarget {
    fn from(host: String) -> Self {
        Self { host, port: None }
    }
}

/// The host, with the port of the question.
impl From<&str> for OverrideTarget {
    fn from(host: &str) -> Self {
        host.to_owned().into()
    }
}

/// The host and the port.
impl<H: Into<String>> From<(H, u16)> for OverrideTarget {
    fn from((host, port): (H, u16)) -> Self {
        Self { host: host.into(), port: Some(port) }
    }
}
