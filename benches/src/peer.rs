//! What the peers share: their options, their first line, their routes and bodies.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use lexopt::prelude::*;
use socket2::{Domain, Socket, Type};

use crate::tls::Certificate;

/// The chunks in which `/chunked/N` is streamed.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// The pieces in which more than this is sent by `/bytes/N`: the same memory again and again, for everybody.
pub const PIECE_BYTES: usize = 1 << 20;
/// As much as a scenario asks for; a larger N is answered with 404.
pub const MAX_BODY_BYTES: usize = 100 << 20;
const BACKLOG: i32 = 1024;
/// The body of `/plaintext`, and the message of `/json`.
pub const HELLO: &str = "Hello, World!";

static BODY: [u8; PIECE_BYTES] = [b'x'; PIECE_BYTES];

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

/// N bytes (at most [`PIECE_BYTES`]) that nobody has to allocate.
pub fn body(bytes: usize) -> &'static [u8] {
    &BODY[..bytes.min(PIECE_BYTES)]
}

/// The same in pieces of [`CHUNK_BYTES`].
pub fn chunks(bytes: usize) -> impl Iterator<Item = &'static [u8]> + Send + 'static {
    body(bytes).chunks(CHUNK_BYTES)
}

/// As many bytes as that in pieces of [`PIECE_BYTES`].
pub fn pieces(bytes: usize) -> impl Iterator<Item = &'static [u8]> + Send + 'static {
    (0..bytes).step_by(PIECE_BYTES).map(move |at| body(bytes - at))
}

/// What a peer is told on its command line. A peer that has no use for a part of it leaves it alone.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--port N`; 0, which lets the kernel choose, when it is not given.
    pub port: u16,
    /// `--loops N`, loops or worker threads; 1 when it is not given.
    pub loops: usize,
    /// `--cert FILE --key FILE`: TLS instead of TCP.
    pub certificate: Option<Certificate>,
    /// `--header-timeout SECONDS`; none when it is not given.
    pub header_timeout: Option<Duration>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// When there is any other argument.
    pub fn from_arguments() -> Result<Options, lexopt::Error> {
        let mut options = Options { port: 0, loops: 1, certificate: None, header_timeout: None };
        let (mut chain, mut key) = (None, None);
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("port") => options.port = arguments.value()?.parse()?,
                Long("loops") => options.loops = arguments.value()?.parse()?,
                Long("header-timeout") => {
                    let seconds = arguments.value()?.parse_with(str::parse)?;
                    options.header_timeout =
                        Some(Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?);
                }
                Long("cert") => chain = Some(arguments.value()?.into()),
                Long("key") => key = Some(arguments.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        options.certificate = chain.zip(key).map(|(chain, key)| Certificate { chain, key });
        Ok(options)
    }
}

/// A listener on 127.0.0.1, for every server of the comparison alike: nonblocking, and with TCP_NODELAY, which
/// accepted sockets inherit (Linux), so that nobody pays a call per connection for it.
///
/// # Errors
/// When the port is taken.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    listen_on(&socket, port)?;
    Ok(socket.into())
}

/// Listeners of one port for as many loops: the kernel hands each connection to one of them (SO_REUSEPORT).
///
/// # Errors
/// When the port is taken.
pub fn listen_for_each(loops: usize, mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for _ in 0..loops {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(loops > 1)?;
        listen_on(&socket, port)?;
        let listener = TcpListener::from(socket);
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listen_on(socket: &Socket, port: u16) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)
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
    fn pieces_add_up_to_more_than_one() {
        let lengths = |bytes| pieces(bytes).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(PIECE_BYTES + 1), [PIECE_BYTES, 1]);
        assert_eq!(lengths(PIECE_BYTES), [PIECE_BYTES]);
        assert_eq!(lengths(0), Vec::<usize>::new());
    }

    #[test]
    fn listeners_for_two_loops_share_a_port() {
        let listeners = listen_for_each(2, 0).unwrap();
        assert_eq!(listeners[0].local_addr().unwrap(), listeners[1].local_addr().unwrap());
    }

    #[test]
    fn chunks_add_up_to_the_body() {
        assert_eq!(chunks(40_000).map(<[u8]>::len).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
    }
}
