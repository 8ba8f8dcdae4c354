//! The least a server can do: counts blank lines, answers a constant, parses nothing. What a request costs beyond
//! this is what a server spends on being one.
//!
//!     floor --port 0                                  # a 13-byte text/plain answer for every blank line
//!     floor --port 0 --answer-bytes 1048576           # a larger constant
//!     floor --port 0 --request-bytes 102558           # an answer for every so many bytes (uploads)
//!     floor --port 0 --close                          # and the connection closed behind each answer
//!     floor --port 0 --lines                          # everything comes back as it is
//!     floor --port 0 --loops 2                        # two of them, each with a listener of its own
//!
//! One recv and one send per batch, no epoll_ctl after the accept, one receive buffer for all connections.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::thread;
use std::time::SystemTime;

use benches::peer;
use lexopt::prelude::*;
use memchr::memmem::Finder;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const BLANK_LINE: &[u8] = b"\r\n\r\n";
const BUFFER_BYTES: usize = 256 * 1024;
/// Pipelined answers leave in one send as long as so many bytes hold them.
const ANSWERS_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments()?;
    let mut listeners = peer::listen_for_each(options.loops, options.port)?;
    peer::announce(listeners[0].local_addr()?)?;
    let own = listeners.pop();
    for listener in listeners {
        let options = options.clone();
        thread::spawn(|| serve(listener, options).expect("the loop of a thread"));
    }
    Ok(own.map_or(Ok(()), |listener| serve(listener, options))?)
}

fn serve(listener: std::net::TcpListener, options: Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let answers = Answers::new(options.answer_bytes);
    let mut floor = Floor { clients: Slab::new(), buffer: vec![0; BUFFER_BYTES], answers, options };
    let mut events = Events::with_capacity(EVENTS);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        floor.answers.refresh_date();
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, poll.registry())?,
                token => floor.ready(token.0, event),
            }
        }
    }
}

#[derive(Clone)]
struct Options {
    port: u16,
    loops: usize,
    answer_bytes: usize,
    request_bytes: Option<usize>,
    close: bool,
    lines: bool,
}

struct Floor {
    clients: Slab<Client>,
    buffer: Vec<u8>,
    answers: Answers,
    options: Options,
}

struct Client {
    stream: TcpStream,
    /// How much of a blank line, or of a request counted by bytes, has come.
    partial: usize,
    /// Answer bytes the kernel has not taken yet, and where in an answer they begin.
    owed: usize,
    at: usize,
    /// Lines the kernel has not taken yet.
    echo: Vec<u8>,
    /// The answer under way is the last.
    last: bool,
}

/// The answer, several times over, so that a pipelined batch is one slice of it; of a large one its beginning, and the
/// rest is the same memory again and again.
struct Answers {
    bytes: Vec<u8>,
    head: usize,
    one: usize,
    date: usize,
    second: u64,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, registry: &mio::Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let entry = self.clients.vacant_entry();
            registry.register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            entry.insert(Client { stream, partial: 0, owed: 0, at: 0, echo: Vec::new(), last: false });
        }
    }

    fn ready(&mut self, index: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let stuck = client.owed > 0 || !client.echo.is_empty();
        // A new connection reports writable; that alone is no reason to read.
        if (stuck || event.is_readable())
            && !client.serve(event, &mut self.buffer, &self.answers, &self.options).unwrap_or(false)
        {
            self.clients.remove(index);
        }
    }
}

impl Client {
    /// Serves what there is. False: the connection is over.
    fn serve(
        &mut self,
        event: &Event,
        buffer: &mut [u8],
        answers: &Answers,
        options: &Options,
    ) -> io::Result<bool> {
        loop {
            if !self.flush(answers)? {
                return Ok(true);
            }
            if self.last {
                return Ok(false);
            }
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            if options.lines {
                self.echo_back(&buffer[..read])?;
            } else {
                let requests = self.count(&buffer[..read], options.request_bytes);
                self.owed += requests * answers.one;
                self.last = options.close && requests > 0;
                if !self.flush(answers)? {
                    return Ok(true);
                }
                if self.last {
                    return Ok(false);
                }
            }
            // A short read drained the socket, but the FIN that came with it would not be announced again.
            if read < buffer.len() && !event.is_read_closed() {
                return Ok(true);
            }
        }
    }

    fn count(&mut self, piece: &[u8], request_bytes: Option<usize>) -> usize {
        if let Some(request) = request_bytes {
            self.partial += piece.len();
            let whole = self.partial / request;
            self.partial %= request;
            return whole;
        }
        count_blank_lines(&mut self.partial, piece)
    }

    /// False: the kernel takes no more for now.
    fn flush(&mut self, answers: &Answers) -> io::Result<bool> {
        if !self.echo.is_empty() {
            let sent = send(&mut self.stream, &self.echo)?;
            self.echo.drain(..sent);
        }
        while self.owed > 0 {
            let rest = answers.from(self.at);
            let sent = send(&mut self.stream, &rest[..rest.len().min(self.owed)])?;
            if sent == 0 {
                return Ok(false);
            }
            self.owed -= sent;
            self.at = (self.at + sent) % answers.one;
        }
        Ok(self.echo.is_empty())
    }

    fn echo_back(&mut self, piece: &[u8]) -> io::Result<()> {
        let sent = send(&mut self.stream, piece)?;
        self.echo.extend_from_slice(&piece[sent..]);
        Ok(())
    }
}

/// `partial` is how much of a blank line the stream ended with.
fn count_blank_lines(partial: &mut usize, mut piece: &[u8]) -> usize {
    let mut count = 0;
    while *partial > 0 && !piece.is_empty() {
        let (first, rest) = (piece[0], &piece[1..]);
        *partial = if first == BLANK_LINE[*partial] { *partial + 1 } else { usize::from(first == b'\r') };
        piece = rest;
        if *partial == BLANK_LINE.len() {
            count += 1;
            *partial = 0;
        }
    }
    let mut end = 0;
    for at in Finder::new(BLANK_LINE).find_iter(piece) {
        count += 1;
        end = at + BLANK_LINE.len();
    }
    let rest = &piece[end..];
    if !rest.is_empty() {
        *partial =
            (1..BLANK_LINE.len()).rev().find(|length| rest.ends_with(&BLANK_LINE[..*length])).unwrap_or(0);
    }
    count
}

/// 0: the kernel takes no more for now.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

impl Answers {
    fn new(body_bytes: usize) -> Answers {
        let head = "HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/plain\r\nDate: ";
        let date = head.len();
        let body = if body_bytes == 13 { peer::HELLO.as_bytes() } else { peer::body(body_bytes) };
        let mut bytes = format!("{head}{}\r\nContent-Length: {body_bytes}\r\n\r\n", http_date()).into_bytes();
        let head = bytes.len();
        bytes.extend_from_slice(body);
        let copies = (ANSWERS_BYTES / bytes.len()).max(1);
        Answers { bytes: bytes.repeat(copies), head, one: head + body_bytes, date, second: 0 }
    }

    /// What is to be sent next when so much of an answer has been sent.
    fn from(&self, at: usize) -> &[u8] {
        match self.bytes.get(at..) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => {
                let again = &peer::body(peer::PIECE_BYTES)[(at - self.head) % peer::PIECE_BYTES..];
                &again[..again.len().min(self.one - at)]
            }
        }
    }

    fn refresh_date(&mut self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let second = since.map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            let date = http_date();
            let one = self.one.min(self.bytes.len());
            for answer in self.bytes.chunks_mut(one) {
                answer[self.date..self.date + date.len()].copy_from_slice(date.as_bytes());
            }
        }
    }
}

fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

impl Options {
    fn from_arguments() -> Result<Options, lexopt::Error> {
        let mut options =
            Options { port: 0, loops: 1, answer_bytes: 13, request_bytes: None, close: false, lines: false };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("port") => options.port = arguments.value()?.parse()?,
                Long("loops") => options.loops = arguments.value()?.parse::<usize>()?.max(1),
                Long("answer-bytes") => options.answer_bytes = arguments.value()?.parse()?,
                Long("request-bytes") => {
                    options.request_bytes = Some(arguments.value()?.parse::<usize>()?.max(1));
                }
                Long("close") => options.close = true,
                Long("lines") => options.lines = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_counted_however_the_stream_is_cut() {
        let stream = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nA: \r\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for size in 1..=stream.len() {
            let mut partial = 0;
            let count: usize = stream.chunks(size).map(|piece| count_blank_lines(&mut partial, piece)).sum();
            assert_eq!((count, partial), (3, 0), "pieces of {size}");
        }
    }
}
