//! Step 2 of path 1 in ARCHITECTURE.md (bind_sockets → tcpserver/accept): a port becomes listening TCP
//! sockets.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::addresses::resolve;
use crate::error::{BindError, BindStep};
use crate::options::{BindOptions, listen_backlog};
use crate::platform::{HAS_REUSE_PORT, is_family_unsupported, set_reuse_address, set_reuse_port};

/// Attempts in all to find a port that is free for every address, when the kernel chooses it. One collision
/// is rare; this many in a row mean that something else is wrong.
const PORT_ZERO_ATTEMPTS: u32 = 16;

/// Binds `port` on every address that `options` name, and listens.
///
/// Returns one listener per address: never an empty list, IPv4 before IPv6, all nonblocking and
/// close-on-exec. They close when dropped. Port 0 lets the kernel choose; all listeners then have the same
/// number.
///
/// IPv6 sockets are IPv6 only on every system, so `0.0.0.0` and `::` stand side by side on one port.
/// SO_REUSEADDR is set (not on Windows, where it means something else), so a restart need not wait for
/// TIME_WAIT to pass. No socket listens before all of them are bound.
///
/// An address is left out, without an error, in two cases only: the kernel lacks its family (no IPv6), or it
/// is the `::1` of `localhost` on a system whose loopback has none (containers). A typo in a literal is an
/// error.
///
/// Blocks while a name is resolved. Call it before the loop starts, or from a thread of its own.
///
/// # Errors
///
/// A [`BindError`] that names address and step; whatever was bound until then is closed.
/// - [`Resolve`](BindError::Resolve): the address is unknown, or is not of the chosen family.
/// - [`Socket`](BindError::Socket): a system call failed; the port may be taken
///   ([`AddrInUse`](io::ErrorKind::AddrInUse)), forbidden
///   ([`PermissionDenied`](io::ErrorKind::PermissionDenied)) or the address not ours
///   ([`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable)). For port 0, a number that turns out to be taken
///   for a later address makes the call start from scratch, 16 attempts in all.
/// - [`NoAddress`](BindError::NoAddress): nothing was left to bind.
/// - [`ReusePortUnsupported`](BindError::ReusePortUnsupported): found out before anything else is done.
pub fn bind_sockets(port: u16, options: &BindOptions) -> Result<Vec<TcpListener>, BindError> {
    if options.reuse_port && !HAS_REUSE_PORT {
        return Err(BindError::ReusePortUnsupported);
    }
    let addresses = resolve(port, options)?;
    retry_collisions(port, || {
        let bound = bind_each(&addresses, &options.address, |address| Bound::open(address, options))?;
        bound.into_iter().map(|socket| socket.listen(options.backlog)).collect()
    })
}

/// Calls `attempt` again, if the kernel chose the port and chose badly (NU1.11).
fn retry_collisions<T>(port: u16, mut attempt: impl FnMut() -> Result<T, BindError>) -> Result<T, BindError> {
    let attempts = if port == 0 { PORT_ZERO_ATTEMPTS } else { 1 };
    for _ in 1..attempts {
        match attempt() {
            Err(error) if is_collision(&error) => {}
            outcome => return outcome,
        }
    }
    attempt()
}

/// Whether a number that the kernel chose for one socket was taken for another. A failure with port 0 is
/// none: there the kernel has no number left at all, and asking again is useless.
fn is_collision(error: &BindError) -> bool {
    matches!(error, BindError::Socket { address, source, .. }
        if address.port() != 0 && source.kind() == io::ErrorKind::AddrInUse)
}

/// Opens every address, with the port of the first socket for all that follow.
fn bind_each<S: LocalPort>(
    addresses: &[SocketAddr],
    host: &str,
    mut open: impl FnMut(SocketAddr) -> Result<S, BindError>,
) -> Result<Vec<S>, BindError> {
    let mut sockets: Vec<S> = Vec::with_capacity(addresses.len());
    let mut skipped = None;
    for address in addresses {
        let mut address = *address;
        if let Some(first) = sockets.first() {
            address.set_port(first.local_port());
        }
        match open(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_skipped(host, &error) => skipped = Some(error.into()),
            Err(error) => return Err(error),
        }
    }
    if sockets.is_empty() {
        return Err(BindError::NoAddress { address: host.to_owned(), skipped });
    }
    Ok(sockets)
}

/// Whether an address that failed with `error` is left out, instead of failing the call.
fn is_skipped(host: &str, error: &BindError) -> bool {
    let BindError::Socket { address, step, source } = error else { return false };
    match step {
        // A kernel without IPv6 (NU1.7).
        BindStep::Socket => is_family_unsupported(source),
        // IPv6 half disabled, as in some containers: the hosts file knows ::1, the loopback interface does
        // not. Anywhere else an address that is not ours is a typo (NU1.13).
        BindStep::Bind => {
            host == "localhost"
                && address.ip() == Ipv6Addr::LOCALHOST
                && source.kind() == io::ErrorKind::AddrNotAvailable
        }
        _ => false,
    }
}

/// What has a port, so that the next address can be bound to the same one.
trait LocalPort {
    fn local_port(&self) -> u16;
}

/// A socket that is bound and does not listen yet.
struct Bound {
    socket: Socket,
    address: SocketAddr,
}

impl Bound {
    fn open(address: SocketAddr, options: &BindOptions) -> Result<Self, BindError> {
        let failed = |step| move |source| BindError::Socket { address, step, source };
        // Socket::new makes the socket close-on-exec.
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .map_err(failed(BindStep::Socket))?;
        socket.set_nonblocking(true).map_err(failed(BindStep::Nonblocking))?;
        set_reuse_address(&socket).map_err(failed(BindStep::ReuseAddress))?;
        if options.reuse_port {
            set_reuse_port(&socket).map_err(failed(BindStep::ReusePort))?;
        }
        if address.is_ipv6() {
            // The default differs between systems; without this, :: may take the IPv4 port too (NU1.10).
            socket.set_only_v6(true).map_err(failed(BindStep::V6Only))?;
        }
        socket.bind(&address.into()).map_err(failed(BindStep::Bind))?;
        let address = local_address(&socket).map_err(failed(BindStep::LocalAddress))?;
        Ok(Self { socket, address })
    }

    fn listen(self, backlog: u32) -> Result<TcpListener, BindError> {
        let Self { socket, address } = self;
        // With SO_REUSEADDR, two sockets can both bind; that the port is taken may come out only here.
        socket.listen(listen_backlog(backlog)).map_err(|source| BindError::Socket {
            address,
            step: BindStep::Listen,
            source,
        })?;
        Ok(socket.into())
    }
}

impl LocalPort for Bound {
    fn local_port(&self) -> u16 {
        self.address.port()
    }
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
