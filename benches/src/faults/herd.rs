//! Many slow connections in one thread: each does a little every second, and it is noted when and how it ends.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::client::status_of;

/// How a connection ended, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) after: Duration,
    /// Of the answer that came before.
    pub(crate) status: Option<u16>,
}

/// What all members of a herd do.
#[derive(Clone, Debug)]
pub(crate) struct Habit {
    /// Sent at once.
    pub(crate) first: Vec<u8>,
    /// Then sent one a second, over and over.
    pub(crate) then: Vec<u8>,
}

struct Member {
    socket: TcpStream,
    began: Instant,
    received: Vec<u8>,
    cut: Option<Cut>,
}

/// Has `count` connections follow `habit` for at most `time`; gives how those ended that did.
pub(crate) fn drive(
    address: SocketAddr,
    count: usize,
    habit: &Habit,
    time: Duration,
) -> io::Result<Vec<Cut>> {
    let mut poll = Poll::new()?;
    let mut members = Vec::with_capacity(count);
    for number in 0..count {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
        let mut member = Member { socket, began: Instant::now(), received: Vec::new(), cut: None };
        if !habit.first.is_empty() {
            member.socket.write_all(&habit.first)?;
        }
        members.push(member);
    }
    let end = Instant::now() + time;
    let mut events = Events::with_capacity(1024);
    for second in 0.. {
        let tick = Instant::now() + Duration::from_secs(1);
        while let Some(left) = tick.min(end).checked_duration_since(Instant::now()) {
            poll.poll(&mut events, Some(left))?;
            for event in &events {
                members[event.token().0].take_note();
            }
        }
        let is_over = members.iter().all(|member| member.cut.is_some());
        if is_over || Instant::now() >= end {
            break;
        }
        if let Some(byte) = habit.then.get(second % habit.then.len().max(1)) {
            for member in members.iter_mut().filter(|member| member.cut.is_none()) {
                // Whoever has ended the connection says so by an event.
                let _ = member.socket.write(&[*byte]);
            }
        }
    }
    Ok(members.into_iter().filter_map(|member| member.cut).collect())
}

impl Member {
    fn take_note(&mut self) {
        let mut piece = [0; 4096];
        while self.cut.is_none() {
            match self.socket.read(&mut piece) {
                Ok(n) if n > 0 => self.received.extend_from_slice(&piece[..n.min(64)]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => {}
            }
            // An answer says that it is over, and so does the end.
            let status = status_of(&self.received);
            self.cut = Some(Cut { after: self.began.elapsed(), status });
        }
    }
}
