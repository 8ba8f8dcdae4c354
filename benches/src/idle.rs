//! What connections cost that only wait: memory, what stays of it, CPU, and what their busy neighbour notices.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, Stream};

use crate::process_cost::Cpu;
use crate::tls;

/// What is asked once on each connection, so that it has been at work before it waits; and how its answer ends.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    asks: &'static [u8],
    answer_ends: &'static [u8],
    over_tls: bool,
}

/// Of an HTTP server.
pub const REQUEST: Question = Question {
    asks: b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n",
    answer_ends: crate::peer::HELLO.as_bytes(),
    over_tls: false,
};
/// Of an HTTPS server.
pub const REQUEST_OVER_TLS: Question = Question { over_tls: true, ..REQUEST };
/// Of a server of lines.
pub const LINE: Question = Question { asks: b"hello\n", answer_ends: b"hello\n", over_tls: false };

/// A part of a request's head, and no more.
const PART_OF_A_HEAD: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nX-Slow: on";

/// Connections to one server; the oldest first.
#[derive(Debug)]
pub struct Crowd {
    server: SocketAddr,
    question: Question,
    connections: VecDeque<TcpStream>,
}

impl Crowd {
    /// Nobody yet.
    pub fn of(server: SocketAddr, question: Question) -> Crowd {
        Crowd { server, question, connections: VecDeque::new() }
    }

    /// Has so many connections idle: each has been answered once. Who leaves came last.
    ///
    /// # Errors
    /// When the server refuses, or closes one.
    pub fn is(&mut self, connections: usize) -> io::Result<()> {
        self.connections.truncate(connections);
        while self.connections.len() < connections {
            let mut client = Client::new(self.server, self.question)?;
            client.ask()?;
            self.connections.push_back(client.socket); // its session has said what it had to say
        }
        Ok(())
    }

    /// Lets so many more begin a request that they do not finish.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn dribble(&mut self, connections: usize) -> io::Result<()> {
        for _ in 0..connections {
            let mut connection = connect(self.server)?;
            // In two pieces with an answerless pause between them, so that the server has looked at the first.
            let (first, second) = PART_OF_A_HEAD.split_at(20);
            connection.write_all(first)?;
            connection.write_all(second)?;
            self.connections.push_back(connection);
        }
        Ok(())
    }
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(server)?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// One who asks, and waits for the answer.
struct Client {
    socket: TcpStream,
    session: Option<ClientConnection>,
    question: Question,
}

impl Client {
    fn new(server: SocketAddr, question: Question) -> io::Result<Client> {
        let session = question.over_tls.then(tls::session).transpose()?;
        Ok(Client { socket: connect(server)?, session, question })
    }

    fn ask(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => ask(&mut Stream::new(session, &mut self.socket), self.question),
            None => ask(&mut self.socket, self.question),
        }
    }
}

fn ask(connection: &mut (impl Read + Write), question: Question) -> io::Result<()> {
    connection.write_all(question.asks)?;
    let (mut answer, mut len) = ([0; 1024], 0);
    while !answer[..len].ends_with(question.answer_ends) {
        match connection.read(&mut answer[len..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => len += n,
        }
    }
    Ok(())
}

/// Memory of its own that a process has in use, without what it has of files.
///
/// # Errors
/// When it is gone.
pub fn memory(pid: u32) -> io::Result<u64> {
    Ok(status(pid, "RssAnon:")? * 1024)
}

fn status(pid: u32, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("no {name} in the status of the server")))
}

/// How much a process runs, and how often it wakes up, in the next `while_waiting`. If it does, it is given four times more: a deadline
/// that was pushed forward while the crowd came is looked at once when it would have been due; a tick is there each time.
///
/// # Errors
/// When it is gone.
pub fn awake(pid: u32, while_waiting: Duration) -> io::Result<(Duration, u64)> {
    let switches = || status(pid, "voluntary_ctxt_switches:");
    let mut times = 0;
    loop {
        let (ran, woken) = (Cpu::of(pid)?.ran, switches()?);
        std::thread::sleep(while_waiting);
        let found = (Cpu::of(pid)?.ran.saturating_sub(ran), switches()? - woken);
        times += 1;
        if found.1 == 0 || times == 5 {
            return Ok(found);
        }
    }
}

/// What a busy client waits for its answers, at the 99th of a hundred, of each of two servers in turn: so that what else the machine
/// does meets both.
///
/// # Errors
/// When a server does not answer.
pub fn p99_in_turn(servers: [SocketAddr; 2], question: Question, rounds: usize) -> io::Result<[Duration; 2]> {
    const IN_A_ROW: usize = 200;
    let mut clients = [Client::new(servers[0], question)?, Client::new(servers[1], question)?];
    let mut waits = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (client, waits) in clients.iter_mut().zip(&mut waits) {
            for _ in 0..IN_A_ROW {
                let began = Instant::now();
                client.ask()?;
                waits.push(began.elapsed());
            }
        }
    }
    Ok(waits.map(|mut waits| {
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }))
}
