//! One connection of the load generator: sends a batch of requests, then counts what comes back.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::{AnswerReader, Answers, Shape};
use crate::load::{LoadError, Wanted};
use crate::tls::TlsStream;

/// A socket, registered once for both directions, and the batch that is under way on it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    reader: Reader,
    /// How much of the batch the kernel has taken.
    sent: usize,
    /// Answers still to come for this batch.
    pub(crate) waiting: u32,
    /// When the batch was begun, or in an open loop when it should have been.
    pub(crate) began: Instant,
    /// The peer has closed it, or it broke: the next batch needs a new one.
    pub(crate) spent: bool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

/// What one readiness event brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) answers: Answers,
    /// The peer has sent its last byte, or reset the connection.
    pub(crate) closed: bool,
}

#[derive(Debug)]
enum Reader {
    Http(AnswerReader),
    /// How far into the batch the echo has come.
    Echo {
        at: usize,
    },
}

impl Connection {
    pub(crate) fn open(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        wanted: &Wanted,
    ) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(address)?;
        if wanted.kept_alive() {
            stream.set_nodelay(true)?;
        }
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let stream = match wanted.is_over_tls() {
            true => Stream::Tls(Box::new(TlsStream::new(stream)?)),
            false => Stream::Tcp(stream),
        };
        let reader =
            if wanted.is_echo() { Reader::Echo { at: 0 } } else { Reader::Http(AnswerReader::default()) };
        Ok(Connection {
            stream,
            reader,
            sent: wanted.batch().len(),
            waiting: 0,
            began: Instant::now(),
            spent: false,
        })
    }

    /// Starts the next batch. Before the handshake is done the kernel takes nothing yet; the writable event sends then.
    pub(crate) fn begin(&mut self, wanted: &Wanted, began: Instant) -> io::Result<()> {
        self.began = began;
        self.waiting = wanted.depth();
        self.sent = 0;
        self.send(wanted.batch())
    }

    pub(crate) fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        while self.sent < batch.len() {
            match self.stream.write(&batch[self.sent..]) {
                Ok(taken) => self.sent += taken,
                Err(error) if would_block(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.flush()
    }

    /// Reads until the socket is drained: a short read says so, and after the FIN has been announced it also says
    /// that nothing will follow, which saves the read that would return 0.
    pub(crate) fn receive(
        &mut self,
        event: &Event,
        wanted: &Wanted,
        shape: &mut Option<Shape>,
        buffer: &mut [u8],
    ) -> Result<Received, LoadError> {
        let announced = event.is_read_closed() && !event.is_error();
        let mut received = Received::default();
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Ok(Received { closed: true, ..received }),
                Ok(read) => read,
                Err(error) if would_block(&error) => return Ok(received),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Reset: no more will come, but what came before it counts.
                Err(_) => return Ok(Received { closed: true, ..received }),
            };
            let answers = self.reader.feed(&buffer[..read], wanted, shape)?;
            received.answers.whole += answers.whole;
            received.answers.refused += answers.refused;
            received.answers.body_bytes += answers.body_bytes;
            if answers.whole > self.waiting {
                return Err(LoadError::TooManyAnswers);
            }
            self.waiting -= answers.whole;
            if read < buffer.len() && self.stream.is_drained_by_a_short_read() && !event.is_error() {
                return Ok(Received { closed: announced, ..received });
            }
        }
    }
}

impl Stream {
    /// A short read of a socket says that it holds no more; one of a TLS stream may have ended with a record.
    fn is_drained_by_a_short_read(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) => Ok(()),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl Reader {
    fn feed(
        &mut self,
        piece: &[u8],
        wanted: &Wanted,
        shape: &mut Option<Shape>,
    ) -> Result<Answers, LoadError> {
        match self {
            Reader::Http(reader) => Ok(reader.feed(shape, piece)?),
            Reader::Echo { at } => count_echo(at, piece, wanted.batch(), wanted.depth()),
        }
    }
}

/// Compares an echo with what was sent and counts the lines that it completes.
fn count_echo(at: &mut usize, mut piece: &[u8], batch: &[u8], depth: u32) -> Result<Answers, LoadError> {
    let line = batch.len() / depth as usize;
    let mut whole = 0;
    while !piece.is_empty() {
        let expected = &batch[*at..batch.len().min(*at + piece.len())];
        if &piece[..expected.len()] != expected {
            return Err(LoadError::WrongEcho);
        }
        let end = *at + expected.len();
        whole += (end / line - *at / line) as u32;
        *at = end % batch.len();
        piece = &piece[expected.len()..];
    }
    Ok(Answers { whole, ..Answers::default() })
}

/// A socket whose handshake is under way says NotConnected on some systems.
fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoed_lines_are_counted_however_the_stream_is_cut() {
        let batch = b"abc\ndef\nghi\n";
        let stream = batch.repeat(3);
        for size in 1..=stream.len() {
            let mut at = 0;
            let count = |piece: &[u8]| count_echo(&mut at, piece, batch, 3).unwrap().whole;
            assert_eq!(stream.chunks(size).map(count).sum::<u32>(), 9, "pieces of {size}");
        }
    }

    #[test]
    fn an_echo_of_something_else_is_an_error() {
        assert!(matches!(count_echo(&mut 0, b"abX\n", b"abc\n", 1), Err(LoadError::WrongEcho)));
    }
}
