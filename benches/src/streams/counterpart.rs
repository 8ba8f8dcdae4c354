//! Whom both contenders talk to: a thread that blocks and takes turns with the thread that is measured.
//!
//! Where bytes go one way it first fills the system's queue and then rests, or empties it afterwards. If both ran at once, who is
//! faster would decide who sleeps and how long the queue gets, and these cost more than what is measured: a sleep as much as a
//! hundred short lines, and bytes that have left the caches while they waited four times those that have not. Whoever once is
//! behind stays so, and a ratio is 0.4 in one run and 3 in the next.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustls::StreamOwned;

use super::aligned::Aligned;
use super::clock::cpu;
use super::tls::Sides;
use super::{PIECE, PING};

/// Bytes that go one way before it is the other's turn: the caches hold them.
const BATCH: u64 = 256 * 1024;

/// What the socket's buffers are asked to hold, which the system doubles: together more than a batch, with all that it counts
/// beside the bytes.
const QUEUE: usize = 208 * 1024;

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
    /// Takes so many pieces.
    Takes,
    /// Sends so many pings, each after the answer to the one before.
    Pings,
}

impl Role {
    /// How often in one batch.
    fn batch(self) -> u64 {
        match self {
            Role::Lines(length) => BATCH / length as u64,
            Role::Sends | Role::Takes => BATCH / PIECE as u64,
            Role::Pings => u64::MAX,
        }
    }
}

/// The measured side's end of the connection, a server's in TLS, and who gives orders to the other end.
pub(super) struct Counterpart {
    pub(super) socket: TcpStream,
    pub(super) tls: Option<Sides>,
    pub(super) orders: Orders,
}

/// Says when it is whose turn.
pub(super) struct Orders {
    role: Role,
    to: Sender<u64>,
    done: Receiver<()>,
}

impl Orders {
    /// What `work` costs the measured thread, so many times in all, in batches. While it is the other's turn this thread is blocked,
    /// with all that runs on it; so each batch is made to begin with a new turn of the loop, as if its bytes had been waited for.
    pub(super) async fn measure(
        &self,
        times: u64,
        new_turn: impl AsyncFn(),
        mut work: impl AsyncFnMut(u64),
    ) -> Duration {
        let mut left = times;
        let mut spent = Duration::ZERO;
        while left > 0 {
            let some = left.min(self.role.batch());
            left -= some;
            match self.role {
                Role::Lines(_) | Role::Sends => self.order(some).wait(),
                Role::Pings => self.order(some),
                Role::Takes => self,
            };
            new_turn().await;
            let began = cpu();
            work(some).await;
            spent += cpu() - began;
            match self.role {
                Role::Lines(_) | Role::Sends => self,
                Role::Pings => self.wait(),
                Role::Takes => self.order(some).wait(),
            };
        }
        spent
    }

    fn order(&self, times: u64) -> &Orders {
        self.to.send(times).expect("it waits for orders");
        self
    }

    fn wait(&self) -> &Orders {
        self.done.recv().expect("it does what it is told");
        self
    }
}

impl Counterpart {
    pub(super) fn start(role: Role, link: Link) -> Counterpart {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let other = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let socket = listener.accept().expect("a connection").0;
        for socket in [&other, &socket] {
            socket.set_nodelay(true).expect("an option");
            set_socket_recv_buffer_size(socket, QUEUE).expect("an option");
            set_socket_send_buffer_size(socket, QUEUE).expect("an option");
        }
        let tls = (link == Link::Tls).then(Sides::new);
        let session = tls.as_ref().map(Sides::client);
        let (to, told) = channel();
        let (did, done) = channel();
        thread::spawn(move || match session {
            Some(session) => serve(role, StreamOwned::new(session, other), &told, &did),
            None => serve(role, other, &told, &did),
        });
        Counterpart { socket, tls, orders: Orders { role, to, done } }
    }
}

fn serve(role: Role, mut stream: impl Read + Write, told: &Receiver<u64>, did: &Sender<()>) {
    let mut memory = Aligned::new();
    let piece = memory.piece();
    // The handshake of TLS begins with the first byte; a contender is told by it that all is ready.
    stream.write_all(&piece[..PING]).and_then(|()| stream.flush()).expect("the contender listens");
    for times in told {
        match role {
            Role::Lines(length) => {
                for line in piece.chunks_mut(length) {
                    line[length - 2..].copy_from_slice(b"\r\n");
                }
                send(&mut stream, piece, times * length as u64);
            }
            Role::Sends => send(&mut stream, piece, times * PIECE as u64),
            Role::Takes => {
                let mut left = times * PIECE as u64;
                while left > 0 {
                    left -= stream.read(piece).expect("the contender sends") as u64;
                }
            }
            Role::Pings => {
                let mut back = [0; PING];
                for _ in 0..times {
                    stream.write_all(&piece[..PING]).expect("the contender listens");
                    stream.read_exact(&mut back).expect("the contender answers");
                }
            }
        }
        did.send(()).expect("somebody waits");
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
