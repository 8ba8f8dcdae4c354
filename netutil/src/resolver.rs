//! From a host name to addresses: the trait, and the system's resolver behind it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::lookup::look_up;
use crate::options::Family;
use crate::resolve_error::ResolveError;

/// The longest name that DNS can carry is 253 bytes as text, and may end with a dot (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 254;

/// The longest part between two dots (RFC 1035 §2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// Turns a host into the addresses to connect to.
///
/// `resolve` blocks. The trait is made to be carried to where that does no harm: it is object-safe, and a
/// resolver is `Send` and `Sync`, so an event loop keeps an `Arc<dyn Resolver>` and calls it on a pool of
/// threads. To choose the resolver of a program, hand that `Arc` around. What Tornado's `close()` does is
/// `Drop`'s work here.
///
/// ```
/// use std::sync::Arc;
/// use std::thread;
///
/// use netutil::{BlockingResolver, Family, Resolver};
///
/// let resolver: Arc<dyn Resolver> = Arc::new(BlockingResolver);
/// let looking = thread::spawn(move || resolver.resolve("localhost", 80, Family::Unspecified));
/// for address in looking.join().unwrap()? {
///     assert!(address.ip().is_loopback() && address.port() == 80);
/// }
/// # Ok::<(), netutil::ResolveError>(())
/// ```
///
/// Nothing here caches, honours a TTL or looks up SRV records (NU5.7). A caller that stops waiting does not
/// stop the look-up.
pub trait Resolver: Send + Sync {
    /// The addresses of `host`, each with `port`: only those of `family`, in the order in which they should
    /// be tried. Never an empty list, and no address twice.
    ///
    /// `host` is a name or a literal address, without brackets.
    ///
    /// # Errors
    ///
    /// A [`ResolveError`], which becomes an [`io::Error`](std::io::Error) with `?`, whoever implements this
    /// (NU5.1).
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError>;
}

impl<R: Resolver + ?Sized> Resolver for Arc<R> {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        (**self).resolve(host, port, family)
    }
}

impl<R: Resolver + ?Sized> Resolver for Box<R> {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        (**self).resolve(host, port, family)
    }
}

/// The system's resolver: one `getaddrinfo` call per name, which blocks for as long as it takes.
///
/// How long that is, the system's configuration says (on Linux: `timeout` and `attempts` in `resolv.conf`),
/// and often it is many seconds. The order is the resolver's own (RFC 6724). A literal address is itself, and
/// nothing is looked up. So are the short spellings that `inet_aton` knows (`127.1`, `0x7f000001`): who takes
/// hosts from strangers and forbids some addresses must judge the result, not the text.
///
/// Refused before the system is asked: an empty host, one with a NUL byte, one in brackets, one that is
/// longer than DNS can carry, and one that is not ASCII. Whether `münchen.example` should be looked up as
/// `xn--mnchen-3ya.example` or as bytes is answered differently by every C library, so the caller says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "DefaultExecutorResolver")]
pub struct BlockingResolver;

impl Resolver for BlockingResolver {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return if includes(family, ip) {
                Ok(vec![SocketAddr::new(ip, port)])
            } else {
                Err(ResolveError::no_address(host, port, family))
            };
        }
        if let Some(reason) = why_not(host) {
            return Err(ResolveError::invalid_host(host, port, reason));
        }
        let found = look_up(Some(host), port, family, 0)
            .map_err(|error| ResolveError::look_up(host, port, Some(error.error_num()), error.into()))?;
        if found.is_empty() {
            return Err(ResolveError::no_address(host, port, family));
        }
        Ok(found)
    }
}

fn includes(family: Family, ip: IpAddr) -> bool {
    match family {
        Family::Unspecified => true,
        Family::Ipv4 => ip.is_ipv4(),
        Family::Ipv6 => ip.is_ipv6(),
    }
}

/// Why `host` cannot be asked for, if so.
fn why_not(host: &str) -> Option<&'static str> {
    if host.is_empty() {
        Some("it is empty")
    } else if host.len() > MAX_HOST_BYTES {
        Some("it is longer than a name can be")
    } else if !host.is_ascii() {
        Some("it is not ASCII; give its IDNA form (xn--…)")
    } else if host.contains('\0') {
        Some("it contains a NUL byte")
    } else if host.starts_with('[') {
        Some("brackets belong to URLs, not to the address")
    } else if host.split('.').any(|label| label.len() > MAX_LABEL_BYTES) {
        Some("a part of it is longer than 63 bytes")
    } else {
        None
    }
}
