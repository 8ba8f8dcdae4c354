//! Our streams, on our loop.

use std::sync::mpsc::Sender;

use bytes::Bytes;
use ioloop::IoLoop;
use iostream::IoStream;
use iostream::tls::{TlsAcceptor, TlsServerConfig};

use super::clock::cpu_of;
use super::counterpart::{Counterpart, Link, Role};
use super::{LONG, Measure, PIECE, PING, SHORT};

/// Connected, and through with the handshake.
fn connected(role: Role, link: Link) -> (IoLoop, IoStream, Sender<u64>) {
    let (socket, tls, orders) = Counterpart::start(role, link).into_parts();
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
        stream.read_bytes(1).await.expect("the first byte");
        stream
    });
    (io_loop, stream.expect("it runs"), orders)
}

/// Measures `work` for each number of times.
fn measure<F: Future<Output = ()> + 'static>(
    role: Role,
    link: Link,
    work: impl Fn(IoStream, u64) -> F + 'static,
) -> Measure {
    let (io_loop, stream, orders) = connected(role, link);
    Box::new(move |times| {
        Counterpart::order(&orders, times);
        cpu_of(|| io_loop.run_sync(work(stream.clone(), times)).expect("it runs"))
    })
}

/// Into memory that is used again.
fn lines(length: usize, link: Link) -> Measure {
    measure(Role::Lines(length), link, move |stream, times| async move {
        let mut line = Vec::new();
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
    measure(Role::Lines(length), link, move |stream, times| async move {
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
    measure(Role::Sends, link, |stream, times| async move {
        let mut target = vec![0; PIECE];
        let mut left = times * PIECE as u64;
        while left > 0 {
            left -= stream.read_into(&mut target).await.expect("some bytes") as u64;
        }
    })
}

pub(super) fn send(link: Link) -> Measure {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    measure(Role::Takes, link, move |stream, times| {
        let piece = piece.clone();
        async move {
            for _ in 0..times {
                stream.write(piece.clone()).await.expect("it is taken");
            }
            stream.read_bytes(1).await.expect("all was taken");
        }
    })
}

pub(super) fn round_trips(link: Link) -> Measure {
    measure(Role::Pings, link, |stream, times| async move {
        let mut ping = [0; PING];
        for _ in 0..times {
            stream.read_exact(&mut ping).await.expect("a ping");
            stream.write_with(|out| out.extend_from_slice(&ping)).expect("it is taken");
            stream.flush().await.expect("it is sent");
        }
    })
}
