//! Names looked up beside the loop: a resolver that blocks, on threads of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ioloop::{IoLoop, JobError, LaneOptions};
use netutil::{BlockingResolver, Family, ResolveError, Resolver};

/// The lane of the look-ups.
const LANE: &str = "dns";

/// As many as Tornado's `ThreadedResolver` has (NU5.4).
const THREADS: usize = 10;

/// Asks a [`Resolver`], which blocks, without blocking the loop: Tornado's default resolver (NU5.2).
///
/// Look-ups run in the loop's lane `"dns"`, and so keep nobody waiting who reads a file in the default one. The lane has
/// at most 10 threads, begun when needed, and 1,024 questions may wait. A program that wants another bound, or one pool for
/// several loops (NU5.4), makes the lane first: see [`IoLoop::lane`] and [`IoLoop::set_lane`]. What
/// Tornado's `close()` does is `Drop`'s work.
///
/// ```
/// use ioloop::IoLoop;
/// use iostream::ExecutorResolver;
/// use netutil::Family;
///
/// let resolver = ExecutorResolver::new();
/// let found = IoLoop::new()?.run_sync(async { resolver.resolve("localhost", 80, Family::Unspecified).await })??;
/// assert!(found.iter().all(|address| address.ip().is_loopback()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "DefaultExecutorResolver")]
#[doc(alias = "DefaultLoopResolver")]
#[doc(alias = "ThreadedResolver")]
pub struct ExecutorResolver {
    /// `None` is the system's, whose answer to a literal address is known.
    resolver: Option<Arc<dyn Resolver>>,
}

impl ExecutorResolver {
    /// Asks the system's resolver. A literal address is itself, at once, and needs no thread.
    #[must_use]
    pub fn new() -> ExecutorResolver {
        ExecutorResolver::default()
    }

    /// Asks `resolver`, every question: it may have an answer of its own to a literal address.
    #[must_use]
    pub fn with(resolver: impl Resolver + 'static) -> ExecutorResolver {
        ExecutorResolver { resolver: Some(Arc::new(resolver)) }
    }

    /// The addresses of `host`, each with `port`, in the order in which they should be tried; never an empty list.
    ///
    /// # Errors
    ///
    /// What the resolver says (NU5.1). It is a [`LookUp`](ResolveError::LookUp) with a [`JobError`] inside if the resolver
    /// could not be asked, or panicked; its kind is `ResourceBusy` where too many questions wait.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A question that has not been asked then never is; a look-up under way runs to its
    /// end on its thread (NU5.7).
    ///
    /// # Panics
    ///
    /// When the thread has no loop and the operating system refuses one; see [`IoLoop::current`].
    pub async fn resolve(
        &self,
        host: &str,
        port: u16,
        family: Family,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let resolver: Arc<dyn Resolver> = match &self.resolver {
            Some(resolver) => Arc::clone(resolver),
            None if host.parse::<IpAddr>().is_ok() => return BlockingResolver.resolve(host, port, family),
            None => Arc::new(BlockingResolver),
        };
        let lane = IoLoop::current().lane(LANE, LaneOptions::new().threads(THREADS));
        let job = {
            let host = host.to_owned();
            lane.run(move || resolver.resolve(&host, port, family))
        };
        match job.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveError::no_address(host, port, family)),
            Ok(result) => result,
            Err(error) => Err(ResolveError::look_up(host, port, None, io::Error::new(kind(&error), error))),
        }
    }
}

impl std::fmt::Debug for ExecutorResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutorResolver").field("is_system", &self.resolver.is_none()).finish()
    }
}

fn kind(error: &JobError) -> io::ErrorKind {
    match error {
        JobError::QueueFull => io::ErrorKind::ResourceBusy,
        JobError::NoThread(kind) => *kind,
        _ => io::ErrorKind::Other,
    }
}
