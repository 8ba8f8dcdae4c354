//! Whom both contenders talk to: a thread that blocks, on a CPU of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustls::StreamOwned;

use super::tls::Sides;
use super::{PIECE, PING};
use crate::machine::pin_to;

/// Where the counterpart runs; the measured thread must not.
const CPU: usize = 0;

/// How the two are linked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Plain,
    Tls,
}

/// What the counterpart does with each number it is told.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Sends so many lines of this length, with their ends.
    Lines(usize),
    /// Sends so many pieces.
    Sends,
    /// Takes so many pieces, then sends one byte.
    Takes,
    /// Sends so many pings, each after the answer to the one before.
    Pings,
}

/// The measured side's end of the connection, a server's in TLS, and the way to give orders.
pub(super) struct Counterpart {
    pub(super) socket: TcpStream,
    pub(super) tls: Option<Sides>,
    orders: Sender<u64>,
}

impl Counterpart {
    pub(super) fn start(role: Role, link: Link) -> Counterpart {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let other = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let socket = listener.accept().expect("a connection").0;
        for socket in [&other, &socket] {
            socket.set_nodelay(true).expect("an option");
        }
        let tls = (link == Link::Tls).then(Sides::new);
        let session = tls.as_ref().map(Sides::client);
        let (orders, told) = channel();
        thread::spawn(move || {
            pin_to(&[CPU]).expect("CPU 0");
            match session {
                Some(session) => serve(role, StreamOwned::new(session, other), &told),
                None => serve(role, other, &told),
            }
        });
        Counterpart { socket, tls, orders }
    }

    /// Lets it begin with `times`.
    pub(super) fn order(orders: &Sender<u64>, times: u64) {
        orders.send(times).expect("it waits for orders");
    }

    pub(super) fn into_parts(self) -> (TcpStream, Option<Sides>, Sender<u64>) {
        (self.socket, self.tls, self.orders)
    }
}

fn serve(role: Role, mut stream: impl Read + Write, told: &Receiver<u64>) {
    // The handshake of TLS begins with the first byte; a contender is told by it that all is ready.
    stream.write_all(b"!").and_then(|()| stream.flush()).expect("the contender listens");
    let mut piece = vec![b'x'; PIECE];
    for times in told {
        match role {
            Role::Lines(length) => {
                for line in piece.chunks_mut(length) {
                    line[length - 2..].copy_from_slice(b"\r\n");
                }
                send(&mut stream, &piece, times * length as u64);
            }
            Role::Sends => send(&mut stream, &piece, times * PIECE as u64),
            Role::Takes => {
                let mut left = times * PIECE as u64;
                while left > 0 {
                    left -= stream.read(&mut piece).expect("the contender sends") as u64;
                }
                stream.write_all(b"!").expect("the contender listens");
            }
            Role::Pings => {
                let mut back = [0; PING];
                for _ in 0..times {
                    stream.write_all(&piece[..PING]).expect("the contender listens");
                    stream.read_exact(&mut back).expect("the contender answers");
                }
            }
        }
    }
}

fn send(stream: &mut impl Write, piece: &[u8], bytes: u64) {
    let mut left = bytes;
    while left > 0 {
        let some = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&piece[..some]).expect("the contender reads");
        left -= some as u64;
    }
}
