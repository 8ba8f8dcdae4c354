//! What the tests share: a scripted peer on virtual time, a server on real sockets in a thread of its own, and a
//! reader of answers that accepts nothing behind them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub(crate) mod budget;
#[path = "../../../ioloop/tests/support/overdue.rs"]
mod overdue;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use httpserver::{Handler, HttpOptions, HttpServer};
use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, Remote};
use iostream::IoStream;
use iostream::testing::{Script, scripted};
pub(crate) use overdue::AT_MOST;
use tcpserver::{ConnectionContext, PeerAddr};

/// A virtual loop on which servers serve scripted peers.
pub struct Stage {
    pub time: VirtualLoop,
}

/// A scripted peer of one connection.
pub struct Peer {
    script: Script,
    served: Rc<Cell<bool>>,
}

impl Stage {
    pub fn new() -> Stage {
        let time = VirtualLoop::new();
        time.make_current();
        Stage { time }
    }

    /// Connects a peer to `server`.
    pub fn connect<M: 'static, H: Handler<M>>(&self, server: &HttpServer<H, M>) -> Peer {
        self.connect_with(server, |_| {})
    }

    /// Connects a peer that has done something already when the server first looks.
    pub fn connect_with<M: 'static, H: Handler<M>>(
        &self,
        server: &HttpServer<H, M>,
        first: impl FnOnce(&Script),
    ) -> Peer {
        let (transport, script) = scripted();
        first(&script);
        let stream = IoStream::new(transport).unwrap();
        let served = Rc::new(Cell::new(false));
        let (server, done) = (server.clone(), Rc::clone(&served));
        let context = ConnectionContext::new(PeerAddr::Tcp(SocketAddr::from(([192, 0, 2, 1], 4711))));
        self.time.spawn_detached(async move {
            server.serve_stream(stream, context).await;
            done.set(true);
        });
        self.time.run_until_stalled();
        Peer { script, served }
    }

    /// Sends `bytes` and gives all that comes back before time has to pass.
    pub fn exchange(&self, peer: &Peer, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        peer.send(bytes);
        self.time.run_until_stalled();
        peer.received()
    }

    /// A connection of its own for `bytes`: all that comes back, with the connection's end if it ends by itself.
    pub fn ask<M: 'static, H: Handler<M>>(
        &self,
        server: &HttpServer<H, M>,
        bytes: impl AsRef<[u8]>,
    ) -> Vec<u8> {
        let peer = self.connect(server);
        self.exchange(&peer, bytes)
    }
}

impl std::ops::Deref for Peer {
    type Target = Script;

    fn deref(&self) -> &Script {
        &self.script
    }
}

impl Peer {
    /// Whether the server has done with the connection and closed it.
    pub fn is_over(&self) -> bool {
        self.served.get() && self.script.is_closed()
    }
}

/// A server on real sockets, in a thread of its own; stopped and joined when dropped.
pub struct Running {
    pub addresses: Vec<SocketAddr>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Has `make` make a server in the new thread, and listen on a port of the kernel's choice.
    pub fn start<M: 'static, H: Handler<M>>(
        make: impl FnOnce() -> HttpServer<H, M> + Send + 'static,
    ) -> Running {
        Running::start_with(move || {
            let server = make();
            let addresses = server.listen(0).unwrap();
            (server, addresses)
        })
    }

    /// Has `make` make a server in the new thread that listens already.
    pub fn start_with<S: 'static>(make: impl FnOnce() -> (S, Vec<SocketAddr>) + Send + 'static) -> Running {
        overdue::watch_this_test();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let io_loop = IoLoop::new().unwrap();
            io_loop.make_current();
            let (_server, addresses) = make();
            tell.send((addresses, io_loop.remote())).unwrap();
            io_loop.start().unwrap();
            IoLoop::clear_current();
        });
        let (addresses, remote) = told.recv().unwrap();
        Running { addresses, remote, thread: Some(thread) }
    }

    /// The loopback address of the first family that is listened on.
    pub fn address(&self) -> SocketAddr {
        let port = self.addresses[0].port();
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
        }
    }
}

/// Options without a Server field, so that whole answers can be compared but for their date.
pub fn plain() -> HttpOptions {
    HttpOptions::new().server_name(None).unwrap()
}

/// These without limits of time, for a server on real sockets: none of its peers is late for anything, however slow the machine is. A
/// test that hangs is ended all the same.
pub fn unhurried(options: HttpOptions) -> HttpOptions {
    let options = options.header_timeout(AT_MOST).body_timeout(AT_MOST).write_timeout(AT_MOST);
    options.handler_timeout(None).linger(AT_MOST)
}

/// One answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// Reads the answers in `bytes`, which must hold nothing else. `head_only` says which of them have no body, by number.
pub fn answers_with(bytes: &[u8], head_only: impl Fn(usize) -> bool) -> Vec<Answer> {
    let mut rest = bytes;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = find(rest, b"\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {}", rest.escape_ascii()));
        let head = std::str::from_utf8(&rest[..end + 2]).unwrap().to_owned();
        rest = &rest[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line[..3].parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let mut answer = Answer { status, head, body: Vec::new() };
        let has_none = head_only(answers.len()) || status < 200 || status == 204 || status == 304;
        if has_none {
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            assert!(rest.len() >= length, "{} bytes of {length}: {}", rest.len(), answer.head);
            answer.body = rest[..length].to_vec();
            rest = &rest[length..];
        } else if answer.header("transfer-encoding") == Some("chunked") {
            (answer.body, rest) = unchunk(rest);
        } else {
            answer.body = std::mem::take(&mut rest).to_vec(); // up to the connection's end
        }
        answers.push(answer);
    }
    answers
}

/// Reads the answers in `bytes`, which must hold nothing else.
pub fn answers(bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    answers_with(bytes.as_ref(), |_| false)
}

/// Reads the one answer in `bytes`.
pub fn answer(bytes: impl AsRef<[u8]>) -> Answer {
    let mut all = answers(&bytes);
    assert_eq!(all.len(), 1, "{}", bytes.as_ref().escape_ascii());
    all.remove(0)
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").expect("a chunk size line");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
        if size == 0 {
            return (body, rest);
        }
    }
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Numbers that look random and are the same every time.
pub struct Seeded(pub u64);

impl Seeded {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
