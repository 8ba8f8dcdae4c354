//! The memory budget of a loop and its servers: who is idle and holds memory goes first.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use ioloop::IoLoop;
use iostream::testing::{Script, scripted};
use iostream::{HeldBytes, IoStream, MemoryBudget, StreamError, buffered_bytes};
use support::{Log, virtual_loop};
use tcpserver::{ConnectionContext, PeerAddr, TcpServer};
use tracing::Level;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Answers each line with so many KiB, and does not wait until they have left.
async fn much(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until(b"\n")).await {
        let kib: usize = std::str::from_utf8(&line?).unwrap().trim().parse().unwrap();
        drop(stream.write(vec![b'x'; kib * KIB]));
    }
    Ok(())
}

/// A client that takes nothing.
fn client<H: tcpserver::HandleStream>(server: &TcpServer<H>, says: &str) -> Script {
    let (transport, script) = scripted();
    script.set_room(Some(0));
    script.send(says);
    server.add_stream(IoStream::new(transport).unwrap(), PeerAddr::Unix(None));
    script
}

#[test]
fn ts7_who_is_idle_and_takes_nothing_goes_when_memory_is_used_up_those_who_hold_most_first() {
    let test = virtual_loop();
    MemoryBudget::new(MIB, 2 * MIB).install();
    let server = TcpServer::new(much);
    let clients: Vec<_> =
        [100, 0, 200, 50, 150].map(|kib| client(&server, &format!("{kib}\n"))).into_iter().collect();
    test.run_until_stalled();
    let mut others = HeldBytes::new();
    let (log, _logging) = Log::begin();
    // 240 KiB too many: the two that hold most.
    others.set(2 * MIB - 2 * MIB / 8 - 260 * KIB);
    assert!(iostream::relieve_memory());
    test.run_until_stalled();
    assert_eq!(clients.iter().map(Script::is_closed).collect::<Vec<_>>(), [false, false, true, false, true]);
    assert_eq!((server.metrics().shed.memory, server.metrics().shed.total()), (2, 2));
    let warned = || log.at(Level::WARN).iter().filter(|line| line.contains("memory is used up")).count();
    assert_eq!(warned(), 1);

    // They are not needed, and that does not help.
    others.set(2 * MIB);
    test.advance(std::time::Duration::from_secs(1));
    assert!(!iostream::relieve_memory());
    test.run_until_stalled();
    assert_eq!(clients.iter().map(Script::is_closed).collect::<Vec<_>>(), [true, false, true, true, true]);
    assert_eq!(server.open_connections(), 1, "who holds nothing gives nothing back");
    assert_eq!(buffered_bytes(), others.get());
    assert_eq!(warned(), 1, "a line in ten seconds");
}

#[test]
fn ts7_who_is_served_is_not_idle_and_an_upload_that_waits_has_those_who_are_give_way() {
    let test = virtual_loop();
    MemoryBudget::new(MIB, 2 * MIB).install();
    let server = TcpServer::new(much);
    let idle = client(&server, "1500\n");
    let read = Rc::new(Cell::new(0));
    let all = Rc::clone(&read);
    let uploads = TcpServer::new(move |stream: IoStream, _: ConnectionContext| {
        let all = Rc::clone(&all);
        async move { stream.read_bytes(600 * KIB).await.map(|bytes| all.set(all.get() + bytes.len())) }
    });
    test.run_until_stalled();
    let mut others = HeldBytes::new();
    others.set(290 * KIB);
    let upload = client(&uploads, "");
    upload.send(vec![b'x'; 600 * KIB]);
    test.run_until_stalled();
    assert!(idle.is_closed());
    assert!(upload.is_closed(), "it is done");
    assert_eq!((read.get(), server.metrics().shed.memory, uploads.metrics().shed.memory), (600 * KIB, 1, 0));
}

#[test]
fn ts5_the_loops_of_a_server_have_the_memory_budget_of_the_thread_that_starts_it() {
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    MemoryBudget::new(3 * MIB, 5 * MIB).install();
    let server = TcpServer::new(async |stream: IoStream, _: ConnectionContext| {
        stream.write(format!("{}", MemoryBudget::current().hard)).await
    });
    let address = server.bind(0).unwrap()[0];
    let started = server.start(2).unwrap();
    let answer = io_loop
        .run_sync(async move {
            let port = address.port();
            let stream = IoStream::connect(([127, 0, 0, 1], port).into()).await.unwrap();
            let answer = stream.read_until_close().await.unwrap();
            started.drain(std::time::Duration::ZERO).await;
            answer
        })
        .unwrap();
    assert_eq!(answer, (5 * MIB).to_string());
}
