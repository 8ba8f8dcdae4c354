//! Ending in good order: who is idle leaves, who is served is served, the deadline holds (TS6, and the phases of a drain).
//! On virtual time, with real sockets.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::{IoStream, StreamError};
use support::{connect, loopback, read_to_end, refused};
use tcpserver::{ConnectionContext, ConnectionState, DrainPhase, DrainReport, HandleStream, TcpServer};

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);

/// Gives lines back; one that begins with `s` takes ten seconds. Says so when clients are to leave.
async fn serve(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 8192)).await {
        let line = line?;
        if line.starts_with(b"s") {
            ioloop::sleep(10 * SECOND).await;
        }
        stream.write(if context.is_leaving() { "leave\n".into() } else { line }).await?;
    }
    Ok(())
}

struct Scene<H> {
    time: VirtualLoop,
    server: TcpServer<H>,
    address: SocketAddr,
}

impl<H: HandleStream> Scene<H> {
    fn new(handler: H) -> Scene<H> {
        let time = VirtualLoop::new();
        time.make_current();
        let server = TcpServer::new(handler);
        let (listener, address) = loopback();
        server.add_socket(listener).unwrap();
        Scene { time, server, address }
    }

    /// A client whose connection has been accepted.
    fn client(&self) -> TcpStream {
        let client = connect(self.address);
        self.time.run_until_stalled();
        client
    }

    /// What comes back for `line` before time has to pass.
    fn ask(&self, client: &mut TcpStream, line: &str) -> String {
        client.write_all(line.as_bytes()).unwrap();
        self.time.run_until_stalled();
        let mut answer = [0; 100];
        let n = client.read(&mut answer).unwrap();
        String::from_utf8(answer[..n].to_vec()).unwrap()
    }

    /// Begins to drain, and goes as far as it can without time passing.
    fn drain(&self, grace: Duration) -> Rc<Cell<Option<DrainReport>>> {
        let (report, told) = (Rc::new(Cell::new(None)), self.server.drain(grace));
        let tell = Rc::clone(&report);
        self.time.spawn_detached(async move { tell.set(Some(told.await)) });
        self.time.run_until_stalled();
        report
    }
}

#[track_caller]
fn assert_report(report: &Cell<Option<DrainReport>>, finished: usize, aborted: usize, took: Duration) {
    let report = report.get().expect("it is over");
    assert_eq!((report.finished, report.aborted, report.took), (finished, aborted, took));
}

#[test]
fn ts6_who_is_idle_is_closed_at_once_and_nobody_is_let_in() {
    let scene = Scene::new(serve);
    let mut clients = [scene.client(), scene.client()];
    assert_eq!(scene.ask(&mut clients[0], "hello\n"), "hello\n");
    let report = scene.drain(HOUR);
    assert_report(&report, 2, 0, Duration::ZERO);
    assert_eq!(clients.map(|mut client| read_to_end(&mut client)), [Some(vec![]), Some(vec![])]);
    assert!(refused(scene.address));
    assert_eq!(scene.server.drain_progress().phase, DrainPhase::Drained);
}

#[test]
fn ts6_who_is_served_is_served_to_the_end() {
    let scene = Scene::new(serve);
    let mut client = scene.client();
    client.write_all(b"slow\nand one more\n").unwrap();
    scene.time.run_until_stalled();
    let report = scene.drain(HOUR);
    scene.time.advance(9 * SECOND);
    assert_eq!(report.get(), None, "it is at work");
    scene.time.advance(SECOND);
    assert_report(&report, 1, 0, 10 * SECOND);
    assert_eq!(read_to_end(&mut client), Some(b"leave\nleave\n".to_vec()), "what had arrived was served too");
}

#[test]
fn ts6_who_is_left_when_the_grace_is_over_is_closed() {
    let scene = Scene::new(serve);
    let (mut slow, mut idle) = (scene.client(), scene.client());
    slow.write_all(b"slow\n").unwrap();
    scene.time.run_until_stalled();
    let report = scene.drain(3 * SECOND);
    scene.time.advance(3 * SECOND);
    assert_report(&report, 1, 1, 3 * SECOND);
    assert_eq!(read_to_end(&mut slow), Some(vec![]));
    assert_eq!(read_to_end(&mut idle), Some(vec![]));
}

#[test]
fn ts6_who_waits_in_the_queue_is_served() {
    let scene = Scene::new(serve);
    let mut queued = [connect(scene.address), connect(scene.address)]; // the loop has not run since
    for client in &mut queued {
        client.write_all(b"hello\n").unwrap();
    }
    let report = scene.drain(HOUR);
    assert_report(&report, 2, 0, Duration::ZERO);
    assert_eq!(
        queued.map(|mut client| read_to_end(&mut client)),
        [(); 2].map(|()| Some(b"leave\n".to_vec()))
    );
}

#[test]
fn ts6_who_came_last_may_ask_once() {
    let scene = Scene::new(serve);
    let mut late = connect(scene.address);
    let report = scene.drain(HOUR);
    assert_eq!(report.get(), None, "it has not asked yet");
    late.write_all(b"hello\n").unwrap();
    scene.time.run_until_stalled();
    assert_eq!(read_to_end(&mut late), Some(b"leave\n".to_vec()));
    assert_report(&report, 1, 0, Duration::ZERO);
}

#[test]
fn ts6_what_arrived_in_the_same_moment_is_served() {
    let scene = Scene::new(serve);
    let mut client = scene.client();
    client.write_all(b"hello\n").unwrap();
    let report = scene.drain(HOUR);
    assert_eq!(read_to_end(&mut client), Some(b"leave\n".to_vec()));
    assert_report(&report, 1, 0, Duration::ZERO);
}

#[test]
fn ts6_a_server_with_nobody_to_serve_is_drained_at_once() {
    let scene = Scene::new(serve);
    assert_report(&scene.drain(HOUR), 0, 0, Duration::ZERO);
    let never_listened = TcpServer::new(serve);
    let drain = never_listened.drain(HOUR);
    assert_eq!(scene.time.run(drain).finished, 0);
}

#[test]
fn ts6_a_drained_server_may_listen_again() {
    let scene = Scene::new(serve);
    scene.drain(HOUR);
    let (listener, address) = loopback();
    scene.server.add_socket(listener).unwrap();
    let scene = Scene { address, ..scene };
    let mut client = scene.client();
    assert_eq!(scene.ask(&mut client, "hello\n"), "hello\n");
    assert_report(&scene.drain(HOUR), 1, 0, Duration::ZERO);
}

/// Of a listener that lives on, in the process that has taken over for one.
#[test]
fn ts6_a_drained_server_is_not_woken_for_the_clients_of_another_descriptor_of_its_listener() {
    let scene = Scene::new(serve);
    let (listener, address) = loopback();
    let copy = listener.try_clone().unwrap();
    scene.server.add_socket(listener).unwrap();
    scene.drain(HOUR);
    let before = scene.time.counters().events;
    let _waiting = TcpStream::connect(address).unwrap();
    scene.time.run_until_stalled();
    assert_eq!(scene.time.counters().events, before);
    scene.server.add_socket(copy).unwrap();
    let scene = Scene { address, ..scene };
    let mut client = scene.client();
    assert_eq!(scene.ask(&mut client, "hello\n"), "hello\n");
}

#[test]
fn a_lame_duck_still_accepts_and_tells_its_clients_to_leave() {
    let scene = Scene::new(serve);
    let mut client = scene.client();
    scene.server.lame_duck();
    assert_eq!(scene.ask(&mut client, "hello\n"), "leave\n");
    assert_eq!(scene.ask(&mut scene.client(), "hello\n"), "leave\n");
    assert_eq!(scene.ask(&mut client, "hello\n"), "leave\n", "who does not leave is served");
    assert_eq!(scene.server.drain_progress().phase, DrainPhase::LameDuck);
}

#[test]
fn progress_tells_who_is_left() {
    let scene = Scene::new(serve);
    let (mut slow, _idle) = (scene.client(), scene.client());
    scene.time.advance(5 * SECOND);
    slow.write_all(b"slow\n").unwrap();
    scene.time.run_until_stalled();
    let before = scene.server.drain_progress();
    assert_eq!((before.idle, before.active, before.oldest), (1, 1, Some(5 * SECOND)));
    let states: Vec<_> = scene.server.connections().iter().map(|connection| connection.state).collect();
    assert_eq!(states, [ConnectionState::Serving, ConnectionState::Idle]);
    scene.drain(HOUR);
    let then = scene.server.drain_progress();
    assert_eq!((then.phase, then.idle, then.active), (DrainPhase::Draining, 0, 1));
}

#[test]
fn an_abort_cuts_a_drain_short() {
    let scene = Scene::new(serve);
    let mut client = scene.client();
    client.write_all(b"slow\n").unwrap();
    scene.time.run_until_stalled();
    let report = scene.drain(HOUR);
    scene.time.advance(SECOND);
    scene.server.abort();
    scene.time.run_until_stalled();
    assert_report(&report, 0, 1, SECOND);
    assert_eq!(read_to_end(&mut client), Some(vec![]));
}

#[test]
fn a_handler_that_never_asks_is_served_until_the_grace_is_over() {
    async fn deaf(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
        loop {
            stream.write(stream.read_until_max(b"\n", 100).await?).await?;
        }
    }
    let scene = Scene::new(deaf);
    let mut client = scene.client();
    let report = scene.drain(30 * SECOND);
    assert_eq!(scene.ask(&mut client, "hello\n"), "hello\n");
    scene.time.advance(30 * SECOND);
    assert_report(&report, 0, 1, 30 * SECOND);
}

#[test]
fn a_handler_that_waits_for_the_drain_is_told() {
    async fn says_goodbye(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
        context.draining().await;
        assert!(context.is_draining() && context.is_leaving());
        stream.write("goodbye\n").await
    }
    let scene = Scene::new(says_goodbye);
    let mut client = scene.client();
    assert_report(&scene.drain(HOUR), 1, 0, Duration::ZERO);
    assert_eq!(read_to_end(&mut client), Some(b"goodbye\n".to_vec()));
}

#[test]
fn a_server_that_is_full_does_not_wait_for_its_queue() {
    let scene = Scene::new(serve);
    let server = scene.server.clone().max_connections(1);
    let mut slow = scene.client();
    slow.write_all(b"slow\n").unwrap();
    scene.time.run_until_stalled();
    let _queued = connect(scene.address);
    let report = scene.drain(HOUR);
    assert_eq!(report.get(), None);
    assert!(refused(scene.address), "there was no room for another");
    scene.time.advance(10 * SECOND);
    assert_report(&report, 1, 0, 10 * SECOND);
    assert_eq!(server.open_connections(), 0);
}
