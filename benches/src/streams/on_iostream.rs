//! Our streams, on our loop.

use ioloop::IoLoop;
use iostream::IoStream;
use iostream::tls::{TlsAcceptor, TlsServerConfig};

use super::aligned::Aligned;
use super::counterpart::{Counterpart, Link, Orders, Role};
use super::{LONG, Measure, PIECE, PING, SHORT};

/// Connected, and through with the handshake.
fn connected(role: Role, link: Link) -> (IoLoop, IoStream, Orders) {
    let Counterpart { socket, tls, orders } = Counterpart::start(role, link);
    socket.set_nonblocking(true).expect("an option");
    let io_loop = IoLoop::new().expect("a loop");
    let stream = io_loop.run_sync(async {
        let stream = match tls {
            Some(sides) => {
                let acceptor = TlsAcceptor::new(TlsServerConfig::from_rustls(sides.server));
                IoStream::accept_tls(socket, &acceptor).await.expect("a handshake")
            }
            None => IoStream::new(socket).expect("a stream"),
        };
        stream.read_bytes(PING).await.expect("the first bytes");
        stream
    });
    (io_loop, stream.expect("it runs"), orders)
}

/// Measures `work` for each number of times.
fn measure(role: Role, link: Link, mut work: impl AsyncFnMut(&IoStream, u64) + 'static) -> Measure {
    let (io_loop, stream, orders) = connected(role, link);
    Box::new(move |times| {
        let spent = orders.measure(times, ioloop::yield_now, async |some| work(&stream, some).await);
        io_loop.run_sync(spent).expect("it runs")
    })
}

/// Into memory that is used again.
fn lines(length: usize, link: Link) -> Measure {
    let mut line = Vec::new();
    measure(Role::Lines(length), link, async move |stream, times| {
        for _ in 0..times {
            line.clear();
            stream.read_until_into(b"\r\n", PIECE, &mut line).await.expect("a line");
            assert_eq!(line.len(), length);
        }
    })
}

pub(super) fn short_lines(link: Link) -> Measure {
    lines(SHORT, link)
}

pub(super) fn long_lines(link: Link) -> Measure {
    lines(LONG, link)
}

/// Each a value of its own.
fn owned_lines(length: usize, link: Link) -> Measure {
    measure(Role::Lines(length), link, async move |stream, times| {
        for _ in 0..times {
            let line = stream.read_until(b"\r\n").await.expect("a line");
            assert_eq!(line.len(), length);
        }
    })
}

pub(super) fn short_owned_lines(link: Link) -> Measure {
    owned_lines(SHORT, link)
}

pub(super) fn long_owned_lines(link: Link) -> Measure {
    owned_lines(LONG, link)
}

pub(super) fn receive(link: Link) -> Measure {
    let mut memory = Aligned::new();
    measure(Role::Sends, link, async move |stream, times| {
        let target = memory.piece();
        let mut left = times * PIECE as u64;
        while left > 0 {
            left -= stream.read_into(target).await.expect("some bytes") as u64;
        }
    })
}

pub(super) fn send(link: Link) -> Measure {
    let piece = Aligned::new().into_bytes();
    measure(Role::Takes, link, async move |stream, times| {
        for _ in 0..times {
            stream.write(piece.clone()).await.expect("it is taken");
        }
    })
}

pub(super) fn round_trips(link: Link) -> Measure {
    measure(Role::Pings, link, async |stream, times| {
        let mut ping = [0; PING];
        for _ in 0..times {
            stream.read_exact(&mut ping).await.expect("a ping");
            stream.write_now(&ping).await.expect("it is taken");
        }
    })
}
