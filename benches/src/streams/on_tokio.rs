//! tokio's streams on its current-thread runtime: `BufReader` for lines, the bare stream otherwise, tokio-rustls for TLS.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use super::aligned::Aligned;
use super::counterpart::{Counterpart, Link, Orders, Role};
use super::{LONG, Measure, PIECE, PING, SHORT};

/// What `BufReader::new` takes.
const DEFAULT: usize = 8 * 1024;

/// As large as the blocks of our streams: an eighth of the system calls.
const LARGE: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

macro_rules! measure {
    ($role:expr, $link:expr, |$stream:ident, $times:ident| $work:expr) => {
        measure!($role, $link, DEFAULT, |$stream, $times| $work)
    };
    ($role:expr, $link:expr, $buffer:expr, |$stream:ident, $times:ident| $work:expr) => {{
        let Counterpart { socket, tls, orders } = Counterpart::start($role, $link);
        socket.set_nonblocking(true).expect("an option");
        let runtime = runtime();
        let socket = {
            let _entered = runtime.enter();
            TcpStream::from_std(socket).expect("a stream")
        };
        match tls {
            Some(sides) => {
                let acceptor = TlsAcceptor::from(sides.server);
                let stream = runtime.block_on(acceptor.accept(socket)).expect("a handshake");
                measured(
                    runtime,
                    BufReader::with_capacity($buffer, stream),
                    orders,
                    async move |$stream, $times| $work,
                )
            }
            None => measured(
                runtime,
                BufReader::with_capacity($buffer, socket),
                orders,
                async move |$stream, $times| $work,
            ),
        }
    }};
}

fn measured<S: Stream + 'static>(
    runtime: Runtime,
    mut stream: BufReader<S>,
    orders: Orders,
    mut work: impl AsyncFnMut(&mut BufReader<S>, u64) + 'static,
) -> Measure {
    runtime.block_on(async { stream.read_exact(&mut [0; PING]).await.expect("the first bytes") });
    Box::new(move |times| {
        let spent = orders.measure(times, tokio::task::yield_now, async |some| work(&mut stream, some).await);
        runtime.block_on(spent)
    })
}

/// Into memory that is used again.
fn lines(length: usize, link: Link, buffer: usize) -> Measure {
    let mut line = Vec::new();
    measure!(Role::Lines(length), link, buffer, |stream, times| {
        for _ in 0..times {
            line.clear();
            stream.read_until(b'\n', &mut line).await.expect("a line");
            assert_eq!(line.len(), length);
        }
    })
}

pub(super) fn short_lines_in_large_reads(link: Link) -> Measure {
    lines(SHORT, link, LARGE)
}

pub(super) fn short_lines(link: Link) -> Measure {
    lines(SHORT, link, DEFAULT)
}

pub(super) fn long_lines_in_large_reads(link: Link) -> Measure {
    lines(LONG, link, LARGE)
}

pub(super) fn long_lines(link: Link) -> Measure {
    lines(LONG, link, DEFAULT)
}

/// Each a value of its own.
fn owned_lines(length: usize, link: Link, buffer: usize) -> Measure {
    measure!(Role::Lines(length), link, buffer, |stream, times| {
        for _ in 0..times {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.expect("a line");
            assert_eq!(line.len(), length);
        }
    })
}

pub(super) fn short_owned_lines_in_large_reads(link: Link) -> Measure {
    owned_lines(SHORT, link, LARGE)
}

pub(super) fn short_owned_lines(link: Link) -> Measure {
    owned_lines(SHORT, link, DEFAULT)
}

pub(super) fn long_owned_lines_in_large_reads(link: Link) -> Measure {
    owned_lines(LONG, link, LARGE)
}

pub(super) fn long_owned_lines(link: Link) -> Measure {
    owned_lines(LONG, link, DEFAULT)
}

pub(super) fn receive(link: Link) -> Measure {
    let mut memory = Aligned::new();
    measure!(Role::Sends, link, |stream, times| {
        let target = memory.piece();
        let mut left = times * PIECE as u64;
        while left > 0 {
            left -= stream.get_mut().read(target).await.expect("some bytes") as u64;
        }
    })
}

pub(super) fn send(link: Link) -> Measure {
    let mut memory = Aligned::new();
    measure!(Role::Takes, link, |stream, times| {
        let piece = memory.piece();
        for _ in 0..times {
            stream.write_all(piece).await.expect("it is taken");
            stream.flush().await.expect("it is sent");
        }
    })
}

pub(super) fn round_trips(link: Link) -> Measure {
    measure!(Role::Pings, link, |stream, times| {
        let mut ping = [0; PING];
        for _ in 0..times {
            stream.read_exact(&mut ping).await.expect("a ping");
            stream.write_all(&ping).await.expect("it is taken");
            stream.flush().await.expect("it is sent");
        }
    })
}
