//! A server that systemd may start: it takes the sockets that were passed to it, or binds one if there are none. Unix only.
//!
//! Run it:            cargo run -p netutil --example activated
//! or activated:      systemd-socket-activate -l 127.0.0.1:8888 -l /tmp/admin.sock --fdname=http:admin \
//!                        target/debug/examples/activated
//! In another shell:  nc 127.0.0.1 8888
//!
//! Blocking threads stand in for an event loop here, to keep to this crate alone.

use std::error::Error;
use std::io::{self, Write};
use std::thread;

use netutil::{BindOptions, activated_sockets, bind_sockets, raise_descriptor_limit};

fn main() -> Result<(), Box<dyn Error>> {
    println!("descriptors: {} at most", raise_descriptor_limit()?.soft);

    // In the units: FileDescriptorName=http in one, FileDescriptorName=admin in the other.
    let mut activated = activated_sockets()?;
    let mut http = activated.take_tcp("http")?;
    let admin = activated.take_unix("admin")?;
    if let Some(stranger) = activated.iter().next() {
        return Err(format!("no use for descriptor {}, {:?}", stranger.descriptor, stranger.name).into());
    }
    if http.is_empty() {
        http = bind_sockets(8888, &BindOptions::new().address("localhost"))?;
    }

    let mut servers = Vec::new();
    for listener in http {
        println!("http on {}", listener.local_addr()?);
        listener.set_nonblocking(false)?; // an event loop would leave it nonblocking
        servers.push(thread::spawn(move || greet(listener.incoming(), "http")));
    }
    for listener in admin {
        println!("admin on {:?}", listener.local_addr()?);
        listener.set_nonblocking(false)?;
        servers.push(thread::spawn(move || greet(listener.incoming(), "admin")));
    }
    for server in servers {
        server.join().expect("a server does not panic")?;
    }
    Ok(())
}

fn greet<C: Write>(connections: impl Iterator<Item = io::Result<C>>, name: &str) -> io::Result<()> {
    for connection in connections {
        // A peer that has left already is no reason to stop.
        let _ = connection?.write_all(format!("hello from {name}\n").as_bytes());
    }
    Ok(())
}
