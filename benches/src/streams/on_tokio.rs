//! tokio's streams on its current-thread runtime: `BufReader` for lines, the bare stream otherwise, tokio-rustls for TLS.

use std::rc::Rc;
use std::sync::mpsc::Sender;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use super::clock::cpu_of;
use super::counterpart::{Counterpart, Link, Role};
use super::{LONG, Measure, PIECE, PING, SHORT};

/// As large as the blocks of our streams: its own default of 8 KiB would cost it eight times the system calls.
const BUFFER: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

macro_rules! measure {
    ($role:expr, $link:expr, |$stream:ident, $times:ident| $work:expr) => {{
        let (socket, tls, orders) = Counterpart::start($role, $link).into_parts();
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
                    BufReader::with_capacity(BUFFER, stream),
                    orders,
                    async move |$stream, $times| $work,
                )
            }
            None => measured(
                runtime,
                BufReader::with_capacity(BUFFER, socket),
                orders,
                async move |$stream, $times| $work,
            ),
        }
    }};
}

fn measured<S: Stream + 'static>(
    runtime: Runtime,
    mut stream: BufReader<S>,
    orders: Sender<u64>,
    work: impl AsyncFn(&mut BufReader<S>, u64) + 'static,
) -> Measure {
    runtime.block_on(async { stream.read_u8().await.expect("the first byte") });
    let stream = Rc::new(Mutex::new(stream));
    Box::new(move |times| {
        Counterpart::order(&orders, times);
        cpu_of(|| {
            runtime.block_on(async {
                let mut stream = stream.lock().await;
                work(&mut stream, times).await;
            });
        })
    })
}

/// Into memory that is used again.
fn lines(length: usize, link: Link) -> Measure {
    measure!(Role::Lines(length), link, |stream, times| {
        let mut line = Vec::new();
        for _ in 0..times {
            line.clear();
            stream.read_until(b'\n', &mut line).await.expect("a line");
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
    measure!(Role::Lines(length), link, |stream, times| {
        for _ in 0..times {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.expect("a line");
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
    measure!(Role::Sends, link, |stream, times| {
        let mut target = vec![0; PIECE];
        let mut left = times * PIECE as u64;
        while left > 0 {
            left -= stream.get_mut().read(&mut target).await.expect("some bytes") as u64;
        }
    })
}

pub(super) fn send(link: Link) -> Measure {
    measure!(Role::Takes, link, |stream, times| {
        let piece = vec![b'x'; PIECE];
        for _ in 0..times {
            stream.write_all(&piece).await.expect("it is taken");
            stream.flush().await.expect("it is sent");
        }
        stream.read_u8().await.expect("all was taken");
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
