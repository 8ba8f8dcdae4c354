//! A chat: a line from one member goes to all others. A member who reads slowly holds up nobody: whoever has too much unsent is
//! disconnected, so memory is bounded by the number of members times the limit for each.
//!
//! Run it:                 cargo run --release --example chat [-- --port N] [--members N]
//! In two or more shells:  nc 127.0.0.1 9998
//! End it:                 kill -TERM its process: all members are told, and it ends at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use iostream::{IoStream, StreamError};
use tcpserver::{ConnectionContext, TcpServer};

/// The longest line, with its end.
const LONGEST_LINE: usize = 1024;

/// What may wait to be sent to one member.
const MOST_UNREAD: usize = 256 * 1024;

/// How long members may take to read the last of it when the chat ends.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Room {
    members: RefCell<HashMap<u64, IoStream>>,
}

impl Room {
    /// Has everybody but `speaker` hear a line. It is kept once, however many it waits for.
    fn tell(&self, speaker: u64, line: String) {
        let line = Bytes::from(line);
        let mut slow = Vec::new();
        for (_, member) in self.members.borrow().iter().filter(|(id, _)| **id != speaker) {
            if member.pending() + line.len() <= MOST_UNREAD {
                drop(member.write(line.clone())); // sent by the loop, as fast as the member reads
            } else {
                slow.push(member.clone());
            }
        }
        for member in slow {
            member.close_with(io::Error::new(io::ErrorKind::TimedOut, "the member reads too slowly"));
        }
    }
}

/// A member for as long as its connection lives.
struct Member {
    room: Rc<Room>,
    id: u64,
}

impl Member {
    fn enter(room: Rc<Room>, id: u64, stream: &IoStream) -> Member {
        room.members.borrow_mut().insert(id, stream.clone());
        room.tell(id, format!("* {id} has come\n"));
        Member { room, id }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.room.members.borrow_mut().remove(&self.id);
        drop(left);
        self.room.tell(self.id, format!("* {} has gone\n", self.id));
    }
}

async fn serve(room: Rc<Room>, stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    stream.write(format!("* you are {}\n", context.id())).await?;
    let member = Member::enter(room, context.id(), &stream);
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", LONGEST_LINE)).await {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        member.room.tell(member.id, format!("{}: {}\n", member.id, text.trim_end()));
    }
    drop(stream.write("* the chat ends\n")); // what has been written is sent before the connection closes
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("chat [--port N] [--members N]", &["--port", "--members"]);
    examples::log_to_stderr();

    let room = Rc::new(Room::default());
    let server = TcpServer::new(move |stream, context| serve(Rc::clone(&room), stream, context))
        .max_connections(flags.value("--members").unwrap_or(1000))
        .linger(GRACE);
    let addresses = server.listen(flags.value("--port").unwrap_or(9998))?;

    examples::announce(&addresses)?;
    server.run_until_signal(GRACE)?;
    Ok(())
}
