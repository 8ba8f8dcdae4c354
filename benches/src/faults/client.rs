//! A small blocking client, a polite one that measures how long it waits, and the rude ends of a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Pid;
use socket2::SockRef;

use super::target::Target;

/// Only ever met when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two requests of the polite client.
const PACE: Duration = Duration::from_millis(2);
/// The niceness of who goes before all others.
const FIRST: i32 = -20;

/// A request without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The head of a request with a body.
pub(crate) fn post(path: &str, length: u64) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// The head of a request whose body comes in chunks.
pub(crate) fn post_chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        Client { stream, buffer: Vec::new() }
    }

    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        self.answer()
    }

    /// Reads an answer of known length.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = status_of(&self.buffer).ok_or_else(|| io::Error::other("no status line"))?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        while self.buffer.len() < end + length {
            self.more()?;
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Ok(Answer { status, head, body })
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(())
            }
            // A read that has a time limit is not begun again by the kernel.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The status that an answer begins with.
pub(crate) fn status_of(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()
}

/// Ends a connection by a reset.
pub(crate) fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// One client that asks for little, every now and then, on one connection, and notes how long it waits. What is measured is what the
/// attackers of the server make it wait, not what else the machine does: the server and this client go before all others.
#[derive(Debug)]
pub(crate) struct Polite {
    server: Option<Pid>,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Waits>,
}

/// How long it waited.
#[derive(Debug)]
pub(crate) struct Waits {
    pub(crate) micros: Histogram<u64>,
    pub(crate) failures: u64,
}

impl Waits {
    pub(crate) fn p99(&self) -> Duration {
        Duration::from_micros(self.micros.value_at_quantile(0.99))
    }

    pub(crate) fn text(&self) -> String {
        format!("{:.2} ms", self.p99().as_secs_f64() * 1e3)
    }
}

impl Polite {
    pub(crate) fn start(target: &Target) -> io::Result<Polite> {
        let mut client = Client::new(target.connect()?);
        let most = PATIENCE.as_micros() as u64;
        let micros = Histogram::new_with_max(most, 3).map_err(io::Error::other)?;
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let server = Pid::from_raw(target.running.pid() as i32);
        first_in_line(server, FIRST);
        let thread = thread::spawn(move || {
            first_in_line(Some(rustix::thread::gettid()), FIRST);
            let mut waits = Waits { micros, failures: 0 };
            // Once at least, however late it comes to that.
            loop {
                let began = Instant::now();
                if client.ask(get("/plaintext").as_bytes()).is_ok_and(|answer| answer.status == 200) {
                    waits.micros.saturating_record(began.elapsed().as_micros() as u64);
                } else {
                    waits.failures += 1;
                    break;
                }
                if until.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(PACE);
            }
            waits
        });
        Ok(Polite { server, enough, thread })
    }

    pub(crate) fn stop(self) -> io::Result<Waits> {
        self.enough.store(true, Ordering::Relaxed);
        first_in_line(self.server, 0);
        self.thread.join().map_err(|_| io::Error::other("the polite client panicked"))
    }

    /// For so long.
    pub(crate) fn watch(target: &Target, time: Duration) -> io::Result<Waits> {
        let polite = Polite::start(target)?;
        thread::sleep(time);
        polite.stop()
    }
}

/// Gives a thread its place among those that want the same CPU.
fn first_in_line(thread: Option<Pid>, nice: i32) {
    // Where this is not allowed the figures are worse than they are.
    let _ = rustix::process::setpriority_process(thread, nice);
}
