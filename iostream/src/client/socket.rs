//! One attempt: a socket, bound if need be, and its connect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::{ConnectStep, FailedAttempt};
use crate::options::StreamOptions;
use crate::stream::IoStream;

/// Where a connection is to come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
}

/// Connects to `address`. Dropping it closes the socket.
pub(super) async fn connect(
    address: SocketAddr,
    source: Source,
    options: Rc<StreamOptions>,
) -> Result<IoStream, FailedAttempt> {
    let failed = |step| move |error| FailedAttempt { address, step, error };
    let socket = match source.towards(address) {
        None => mio::net::TcpStream::connect(address).map_err(failed(ConnectStep::Connect))?,
        Some(local) => {
            let socket = bound(local).map_err(failed(ConnectStep::Bind))?;
            begin(socket, address).map_err(failed(ConnectStep::Connect))?
        }
    };
    let stream = IoStream::with_options(socket, options).map_err(failed(ConnectStep::Connect))?;
    stream.connected().await.map_err(failed(ConnectStep::Connect))?;
    Ok(stream)
}

impl Source {
    /// What to bind before connecting to `address`: nothing, if nothing was asked for.
    fn towards(self, address: SocketAddr) -> Option<SocketAddr> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let asked = self.ip.is_some() || self.port != 0;
        asked.then(|| SocketAddr::new(self.ip.unwrap_or(any), self.port))
    }
}

fn bound(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A port that was asked for is to be had while an earlier connection of it lingers, and by two attempts of one
    // race. On Windows the option would let it be taken from others.
    #[cfg(unix)]
    socket.set_reuse_address(local.port() != 0)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

fn begin(socket: Socket, address: SocketAddr) -> io::Result<mio::net::TcpStream> {
    match socket.connect(&address.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(mio::net::TcpStream::from_std(socket.into())),
    }
}

/// Whether this is how a connect that does not block says that it has begun.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::INPROGRESS);
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}
