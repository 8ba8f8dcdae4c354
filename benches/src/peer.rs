//! What the peers share: their one option, their first line, their routes and bodies.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use lexopt::prelude::*;
use socket2::{Domain, Socket, Type};

/// The chunks in which `/chunked/N` is streamed.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// As much as a scenario asks for; a larger N is answered with 404.
pub const MAX_BODY_BYTES: usize = 1 << 20;
const BACKLOG: i32 = 1024;
/// The body of `/plaintext`, and the message of `/json`.
pub const HELLO: &str = "Hello, World!";

static BODY: [u8; MAX_BODY_BYTES] = [b'x'; MAX_BODY_BYTES];

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /plaintext`
    Plaintext,
    /// `GET /json`
    Json,
    /// `POST /echo`
    Echo,
    /// `GET /bytes/N`
    Bytes(usize),
    /// `GET /chunked/N`
    Chunked(usize),
    /// Anything else.
    Missing,
}

impl Route {
    /// For the peers that bring no router of their own.
    pub fn of(path: &str) -> Route {
        let number = |text: &str| text.parse().ok().filter(|bytes| *bytes <= MAX_BODY_BYTES);
        match path {
            "/plaintext" => Route::Plaintext,
            "/json" => Route::Json,
            "/echo" => Route::Echo,
            _ => None
                .or_else(|| path.strip_prefix("/bytes/").and_then(number).map(Route::Bytes))
                .or_else(|| path.strip_prefix("/chunked/").and_then(number).map(Route::Chunked))
                .unwrap_or(Route::Missing),
        }
    }
}

/// N bytes (at most [`MAX_BODY_BYTES`]) that nobody has to allocate.
pub fn body(bytes: usize) -> &'static [u8] {
    &BODY[..bytes.min(MAX_BODY_BYTES)]
}

/// The same in pieces of [`CHUNK_BYTES`].
pub fn chunks(bytes: usize) -> impl Iterator<Item = &'static [u8]> + Send + 'static {
    body(bytes).chunks(CHUNK_BYTES)
}

/// The value of `--port N`, the only option; 0, which lets the kernel choose, when it is not given.
///
/// # Errors
/// When there is any other argument.
pub fn port_from_arguments() -> Result<u16, lexopt::Error> {
    let mut port = 0;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = arguments.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(port)
}

/// A listener on 127.0.0.1, for every server of the comparison alike: nonblocking, and with TCP_NODELAY, which
/// accepted sockets inherit (Linux), so that nobody pays a call per connection for it.
///
/// # Errors
/// When the port is taken.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Prints the line that whoever started the peer waits for.
///
/// # Errors
/// When nobody reads standard output.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_apart() {
        assert_eq!(Route::of("/plaintext"), Route::Plaintext);
        assert_eq!(Route::of("/bytes/10"), Route::Bytes(10));
        assert_eq!(Route::of("/chunked/0"), Route::Chunked(0));
        for missing in ["/", "/bytes/", "/bytes/x", "/bytes/99999999999999999999", "/chunked/-1"] {
            assert_eq!(Route::of(missing), Route::Missing, "{missing}");
        }
    }

    #[test]
    fn chunks_add_up_to_the_body() {
        assert_eq!(chunks(40_000).map(<[u8]>::len).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
    }
}
