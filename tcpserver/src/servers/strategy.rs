//! How the loops of a server come by their connections.

/// Who accepts, where a server stands on several loops: [`TcpServer::start`](crate::TcpServer::start),
/// [`Servers::start`](crate::Servers::start). `docs/performance.md` has what each has measured.
///
/// | | connections go to | a connection wakes | for |
/// | --- | --- | --- | --- |
/// | [`Shared`](AcceptStrategy::Shared) | whoever is first | every loop that sleeps, all but one in vain | few loops; any listener |
/// | [`ReusePort`](AcceptStrategy::ReusePort) | the loop that the kernel's hash names | that one | many short connections; TCP bound here |
/// | [`Dispatch`](AcceptStrategy::Dispatch) | the loop with the fewest | the acceptor, then that one | long connections; any listener |
///
/// Most wakes in vain are over before the program hears of them: the kernel looks again, and lets the loop sleep on. The others are counted:
/// [`Metrics::wakes_in_vain`](crate::Metrics::wakes_in_vain). (Linux could wake one loop alone at a shared listener, by `EPOLLEXCLUSIVE`,
/// which mio does not offer.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptStrategy {
    /// Every loop accepts at the same listeners, as Tornado's processes do after a fork: whoever has time takes the next. The
    /// default. A loop that is busy takes none, and none waits for it.
    #[default]
    Shared,
    /// Every loop has listeners of its own at the same port (`SO_REUSEPORT`), and the kernel spreads connections by a hash of their
    /// addresses. No wake is in vain; but who is sent to a loop that is busy waits for that one, and with few connections the shares
    /// are uneven.
    ///
    /// Listeners that were not bound here, or are Unix sockets, cannot be multiplied; they are shared. A loop that is restarted
    /// finds its queue as it was.
    #[doc(alias = "SO_REUSEPORT")]
    ReusePort,
    /// The loop that is current where the server is started accepts for all, and hands each connection to the loop that has the
    /// fewest. Long connections are spread evenly, whoever comes and goes; each costs a message to another thread. That loop must
    /// run, and should have little else to do.
    Dispatch,
}
