//! A host with scripted addresses, and a log of what was done with them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, sleep};
use netutil::{Family, ResolveError, Resolver};

use crate::client::{ConnectError, ConnectStep, FailedAttempt, TcpClient};

/// What an address does, so many milliseconds after it is tried.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Connects(u64),
    Fails(u64),
    Silent,
}

pub(super) use Answer::{Connects, Fails, Silent};

/// A host whose addresses have names of two letters: the family and one more, as in `6a` and `4b`.
pub(super) struct Scene {
    client: TcpClient,
    answers: BTreeMap<SocketAddr, Answer>,
    log: Log,
}

#[derive(Clone)]
pub(super) struct Log {
    lines: Rc<RefCell<Vec<String>>>,
    io_loop: IoLoop,
    began: std::time::Instant,
}

impl Log {
    fn note(&self, address: SocketAddr, what: &str) {
        let after = (self.io_loop.now() - self.began).as_millis();
        self.lines.borrow_mut().push(format!("{after} {} {what}", name(address)));
    }
}

/// An attempt under way, and then the connection: closed when it is dropped.
pub(super) struct Connection {
    address: SocketAddr,
    log: Log,
    /// What to note when it is dropped; nothing once it has failed.
    at_end: Option<&'static str>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(what) = self.at_end {
            self.log.note(self.address, what);
        }
    }
}

impl Connection {
    pub(super) fn name(&self) -> String {
        name(self.address)
    }

    fn becomes(&mut self, now: &str, at_end: Option<&'static str>) {
        self.log.note(self.address, now);
        self.at_end = at_end;
    }
}

impl Scene {
    /// On the current loop. The resolver gives the addresses in this order.
    pub(super) fn new(script: &[(&str, Answer)]) -> Scene {
        let answers: Vec<_> = script.iter().map(|(name, answer)| (address(name), *answer)).collect();
        let found = answers.iter().map(|(address, _)| *address).collect();
        let io_loop = IoLoop::current();
        Scene {
            client: TcpClient::new().resolver(Found(found)),
            answers: answers.into_iter().collect(),
            log: Log { lines: Rc::default(), began: io_loop.now(), io_loop },
        }
    }

    /// With other options.
    pub(super) fn client(mut self, change: impl FnOnce(TcpClient) -> TcpClient) -> Scene {
        self.client = change(self.client);
        self
    }

    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        self.client
            .first_connection(&self.client.question("host", 80)?, &mut self.client.end(), |address| {
                self.attempt(address)
            })
            .await
    }

    fn attempt(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = Result<Connection, FailedAttempt>> + use<> {
        let answer = self.answers[&address];
        self.log.note(address, "begins");
        let mut socket = Connection { address, log: self.log.clone(), at_end: Some("given up") };
        async move {
            match answer {
                Connects(after) => {
                    sleep(Duration::from_millis(after)).await;
                    socket.becomes("connects", Some("closed"));
                    Ok(socket)
                }
                Fails(after) => {
                    sleep(Duration::from_millis(after)).await;
                    socket.becomes("fails", None);
                    let error = std::io::Error::other(name(address));
                    Err(FailedAttempt { address, step: ConnectStep::Connect, error })
                }
                Silent => std::future::pending().await,
            }
        }
    }

    /// What was done: milliseconds since the beginning, the address, the event.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lines.borrow().clone()
    }

    /// Of an error: the addresses that failed, in the order in which they did.
    pub(super) fn failed(error: &ConnectError) -> Vec<String> {
        match error {
            ConnectError::AllFailed { earlier, last, .. } => {
                earlier.iter().chain([last]).map(|attempt| name(attempt.address)).collect()
            }
            ConnectError::TimedOut { failed, .. } => {
                failed.iter().map(|attempt| name(attempt.address)).collect()
            }
            other => panic!("{other}"),
        }
    }
}

struct Found(Vec<SocketAddr>);

impl Resolver for Found {
    fn resolve(&self, _: &str, _: u16, _: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        Ok(self.0.clone())
    }
}

fn address(name: &str) -> SocketAddr {
    let (family, letter) = name.split_at(1);
    let port = u16::from(letter.as_bytes()[0]);
    match family {
        "6" => SocketAddr::from(([0_u16; 8], port)),
        _ => SocketAddr::from(([0_u8; 4], port)),
    }
}

pub(super) fn name(address: SocketAddr) -> String {
    let family = if address.is_ipv6() { 6 } else { 4 };
    format!("{family}{}", char::from(address.port() as u8))
}
