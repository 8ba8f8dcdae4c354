//! A log that panics ends neither a listener nor an orderly end. In a program of its own: the log is the process's.
#![cfg(unix)]

#[path = "../../ioloop/tests/support/broken_log.rs"]
mod broken_log;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use broken_log::Broken;
use ioloop::IoLoop;
use iostream::{IoStream, StreamOptions};
use rustix::process::{Signal, getpid, kill_process};
use tcpserver::{ConnectionContext, TcpServer};

async fn answer(stream: IoStream, _: ConnectionContext) -> Result<(), String> {
    match &stream.read_until(b"\n").await.map_err(|error| error.to_string())?[..] {
        b"panic\n" => resume_unwind(Box::new("as it was asked to")),
        b"fail\n" => Err("as it was asked to".to_owned()),
        _ => stream.write("fine\n").await.map_err(|error| error.to_string()),
    }
}

/// What comes back.
fn ask(address: SocketAddr, line: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn break_the_log() {
    let _by_another_test = tracing::subscriber::set_global_default(Broken);
}

#[test]
fn ts8_a_server_whose_log_panics_serves_on_and_ends_in_good_order() {
    break_the_log();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let server = TcpServer::new(answer).max_connections(1);
    let address = server.listen(0).unwrap()[0];
    let ended = server.drained_by_signal(Duration::ZERO, Duration::from_secs(60));
    let clients = thread::spawn(move || {
        let address = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let mut first = TcpStream::connect(address).unwrap();
        let second = thread::spawn(move || ask(address, "anything\n")); // which the full server leaves waiting
        thread::yield_now();
        first.write_all(b"fail\n").unwrap();
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        drop(first);
        assert_eq!(second.join().unwrap(), "fine\n");
        assert_eq!(ask(address, "panic\n"), "");
        assert_eq!(ask(address, "anything\n"), "fine\n");
        kill_process(getpid(), Signal::TERM).unwrap();
    });
    let report = io_loop.run_sync_timeout(Duration::from_secs(60), ended).unwrap().unwrap();
    assert_eq!(report.aborted, 0);
    clients.join().unwrap();
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.handler_errors, metrics.handler_panics), (4, 1, 1));
}

#[test]
fn connections_that_cannot_be_used_take_nobodys_place_though_the_log_panics() {
    break_the_log();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let mut options = StreamOptions::new();
    options.read_chunk_size = 0;
    let server = TcpServer::new(answer).stream_options(options).max_connections(1);
    let address = SocketAddr::from(([127, 0, 0, 1], server.listen(0).unwrap()[0].port()));
    let clients = io_loop.run_in_executor(move || {
        let read = |_| TcpStream::connect(address).unwrap().read(&mut [0]).unwrap();
        (0..3).map(read).sum::<usize>()
    });
    assert_eq!(io_loop.run_sync_timeout(Duration::from_secs(60), clients).unwrap().unwrap(), 0);
    assert_eq!(server.open_connections(), 0);
}
