//! A small Redis: strings that expire, and channels. Commands that arrive together cost one read and one write.
//!
//! Run it:           cargo run --release --example redis_mini [-- --port N]
//! In another shell: redis-cli        or        printf 'SET colour blue\r\nGET colour\r\n' | nc -N 127.0.0.1 6379

#[path = "redis_mini/keys.rs"]
mod keys;
#[path = "redis_mini/resp.rs"]
mod resp;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use examples::{Drain, Guest};
use ioloop::IoLoop;
use iostream::{IoStream, StreamError, StreamOptions};
use tcpserver::TcpServer;

use keys::Keys;
use resp::{MAX_COMMAND, array, bulk, error, integer, number, parse, status, text};

const MAX_CHANNELS: usize = 1024; // that one connection listens to
const MAX_UNREAD: usize = 1 << 20; // bytes of messages that a subscriber may leave before it is given up
const ENOUGH_UNREAD: usize = 64 << 10; // bytes of answers after which it is the peer's turn to read
const LINGER: Duration = Duration::from_secs(1); // for a peer to take note of the end of its connection
const GRACE: Duration = Duration::from_secs(5); // for all of them, from SIGTERM on
const COMMANDS: &str = " CONFIG DEL ECHO EXISTS EXPIRE GET INCR INCRBY PING PUBLISH SET SUBSCRIBE TTL ";
const SUBSCRIBED: &str =
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

/// What all connections share.
#[derive(Default)]
pub struct Redis {
    keys: Rc<Keys>,
    listeners: RefCell<BTreeMap<(Vec<u8>, u64), IoStream>>, // by channel and connection
    pub drain: Rc<Drain>,
}

impl Redis {
    /// The limits of each connection's buffers.
    pub fn limits() -> StreamOptions {
        StreamOptions::new().max_buffer_size(MAX_COMMAND).max_write_buffer_size(MAX_UNREAD)
    }

    /// Queues a message for everybody who listens, and counts them. Who has left too much unread loses the connection,
    /// for that is what becomes of a write which finds no room and is not waited for.
    fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut push = Vec::new();
        array(&mut push, &[b"message", channel, message]);
        let push = Bytes::from(push);
        let takes = |(_, stream): &(_, &IoStream)| {
            drop(stream.write(push.clone()));
            !stream.is_closed()
        };
        let listening = (channel.to_vec(), 0)..=(channel.to_vec(), u64::MAX);
        self.listeners.borrow().range(listening).filter(takes).count()
    }
}

/// One connection.
struct Session {
    redis: Rc<Redis>,
    stream: IoStream,
    guest: Guest,
    channels: BTreeSet<Vec<u8>>,
    is_over: bool,
}

pub async fn serve(redis: Rc<Redis>, stream: IoStream) -> Result<(), StreamError> {
    let guest = redis.drain.enter().await;
    let mut session =
        Session { redis, stream: stream.clone(), guest, channels: BTreeSet::new(), is_over: false };
    while !session.is_over {
        session.answer(&stream)?;
        if stream.pending() >= ENOUGH_UNREAD {
            stream.flush().await?;
        } else if !session.is_over {
            session.is_over = session.guest.unless_draining(stream.fill()).await.unwrap_or(Ok(0))? == 0;
        }
    }
    stream.shutdown(LINGER).await
}

impl Session {
    /// Answers the commands that have come, where they lie, until it is the peer's turn to read.
    fn answer(&mut self, stream: &IoStream) -> Result<(), StreamError> {
        stream.read_with(|input| {
            let (mut used, mut words) = (0, Vec::new());
            let written = stream.write_with(|out| {
                while !self.is_over && out.len() < ENOUGH_UNREAD {
                    let parsed = parse(&input[used..], &mut words);
                    match parsed {
                        Ok(0) => break,
                        Ok(length) => used += length,
                        Err(_) => self.is_over = true,
                    }
                    if let Err(problem) = parsed.and_then(|_| self.execute(&words, out)) {
                        error(out, &problem);
                    }
                }
            });
            (used, written)
        })
    }

    fn execute(&mut self, words: &[&[u8]], out: &mut Vec<u8>) -> Result<(), String> {
        let Some((typed, words)) = words.split_first() else { return Ok(()) };
        let (name, is_subscriber) = (text(typed).to_ascii_uppercase(), !self.channels.is_empty());
        let keys = &self.redis.keys;
        match (&name[..], words) {
            ("QUIT", _) => {
                self.is_over = true;
                status(out, "OK");
            }
            ("SUBSCRIBE", [_, ..]) => words.iter().try_for_each(|channel| self.subscribe(channel, out))?,
            ("UNSUBSCRIBE", [_, ..]) => words.iter().for_each(|channel| self.unsubscribe(channel, out)),
            ("UNSUBSCRIBE", []) if is_subscriber => {
                self.channels.clone().iter().for_each(|channel| self.unsubscribe(channel, out));
            }
            ("UNSUBSCRIBE", []) => self.confirm("unsubscribe", None, out),
            ("PING", []) if is_subscriber => array(out, &[b"pong", b""]),
            ("PING", [text]) if is_subscriber => array(out, &[b"pong", text]),
            _ if is_subscriber => {
                return Err(format!("ERR Can't execute '{}': {SUBSCRIBED}", name.to_lowercase()));
            }
            ("PING", []) => status(out, "PONG"),
            ("PING" | "ECHO", [text]) => bulk(out, Some(text)),
            ("GET", [key]) => keys.get(key, |value| bulk(out, value)),
            ("SET", [key, value, options @ ..]) => match keys.set(key, value, options)? {
                true => status(out, "OK"),
                false => bulk(out, None),
            },
            ("INCR", [key]) => number(out, ':', keys.add(key, 1)?),
            ("INCRBY", [key, by]) => number(out, ':', keys.add(key, integer(by)?)?),
            ("DEL", [_, ..]) => number(out, ':', words.iter().filter(|key| keys.remove(key)).count()),
            ("EXISTS", [_, ..]) => number(out, ':', words.iter().filter(|key| keys.contains(key)).count()),
            ("EXPIRE", [key, seconds]) => number(out, ':', u8::from(keys.expire(key, integer(seconds)?))),
            ("TTL", [key]) => number(out, ':', keys.seconds_left(key)),
            ("PUBLISH", [channel, message]) => number(out, ':', self.redis.publish(channel, message)),
            ("COMMAND", _) => array(out, &[]),
            ("CONFIG", [verb, option]) if verb.eq_ignore_ascii_case(b"GET") => array(out, &[option, b""]),
            (known, _) if COMMANDS.contains(&format!(" {known} ")) => {
                return Err(format!("ERR wrong number of arguments for '{}' command", known.to_lowercase()));
            }
            _ => {
                let words: String = words.iter().map(|word| format!("'{}' ", text(word))).collect();
                let name = text(typed);
                return Err(format!("ERR unknown command '{name}', with args beginning with: {words}"));
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, channel: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        if self.channels.len() >= MAX_CHANNELS {
            return Err("ERR too many channels".into());
        }
        self.channels.insert(channel.to_vec());
        self.redis.listeners.borrow_mut().insert((channel.to_vec(), self.guest.id()), self.stream.clone());
        self.confirm("subscribe", Some(channel), out);
        Ok(())
    }

    fn unsubscribe(&mut self, channel: &[u8], out: &mut Vec<u8>) {
        self.channels.remove(channel);
        self.redis.listeners.borrow_mut().remove(&(channel.to_vec(), self.guest.id()));
        self.confirm("unsubscribe", Some(channel), out);
    }

    fn confirm(&self, what: &str, channel: Option<&[u8]>, out: &mut Vec<u8>) {
        number(out, '*', 3);
        bulk(out, Some(what.as_bytes()));
        bulk(out, channel);
        number(out, ':', self.channels.len());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for channel in std::mem::take(&mut self.channels) {
            self.redis.listeners.borrow_mut().remove(&(channel, self.guest.id()));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = examples::Flags::parse("redis_mini [--port N]", &["--port"]);
    examples::log_to_stderr();
    let (io_loop, redis) = (IoLoop::current(), Rc::new(Redis::default()));
    let (drain, limits) = (Rc::clone(&redis.drain), Redis::limits());
    let server = TcpServer::new(move |stream, _| serve(Rc::clone(&redis), stream)).stream_options(limits);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(6379))?)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(examples::drain(&server, &drain, GRACE)?)
}
