//! A UDP echo on `add_handler`: every datagram goes back to where it came from.
//!
//! ```text
//! cargo run -p ioloop --example udp_echo -- 9999
//! ```
//! and in another terminal, with bash alone:
//! ```text
//! exec 3<>/dev/udp/127.0.0.1/9999; echo hello >&3; head -n 1 <&3
//! ```

use std::error::Error;
use std::io::{self, ErrorKind};

use ioloop::{Interest, IoLoop};
use mio::net::UdpSocket;

/// Datagrams echoed before everybody else has a turn.
const AT_ONCE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let socket = UdpSocket::bind(([127, 0, 0, 1], port).into())?;
    println!("listening on {}", socket.local_addr()?);

    let io_loop = IoLoop::new()?;
    let again = io_loop.clone();
    let handler = std::rc::Rc::new(std::cell::OnceCell::new());
    let itself = handler.clone();
    let id = io_loop.add_handler(socket, Interest::READ, move |socket, _ready| {
        // Readiness is edge-triggered: read until `WouldBlock`, or be called no more…
        for _ in 0..AT_ONCE {
            match echo(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What an earlier datagram met, such as a port that nobody listens on: it concerns no other.
                Err(error) => eprintln!("{error}"),
            }
        }
        // …or ask to be called again, behind everybody else.
        if let Some(id) = itself.get() {
            again.update_handler(*id, Interest::READ).expect("this handler is there");
        }
    })?;
    handler.set(id).expect("set once");
    io_loop.start()?;
    Ok(())
}

fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = [0; 65_535];
    let (length, from) = socket.recv_from(&mut datagram)?;
    match socket.send_to(&datagram[..length], from) {
        // No room to send: the datagram is dropped, as the network might have dropped it.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        sent => sent.map(drop),
    }
}
