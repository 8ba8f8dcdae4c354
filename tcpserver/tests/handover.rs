//! A process that is replaced, again and again, while clients come as fast as they can (TS4, TS6). Each generation is a test of this
//! binary once more.
#![cfg(target_os = "linux")]

mod support;

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio, exit, id};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ioloop::{IoLoop, Lane, LaneOptions};
use iostream::{IoStream, StreamError};
use netutil::activated_sockets;
use rustix::process::{Pid, Signal, kill_process};
use support::{connect, loopback, read_to_end, run_until, talk};
use tcpserver::{ConnectionContext, Handover, HandoverError, TcpServer};

const HOUR: Duration = Duration::from_secs(3_600);
const RESTARTS: usize = 50;

/// For a generation: a file, by whose existence it is told to fail.
const GENERATION: &str = "TCPSERVER_TEST_GENERATION";

/// Answers one line with the number of the process.
async fn who(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    if let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        drop(line?);
        stream.write(format!("{}\n", id())).await?;
    }
    Ok(())
}

fn serve_as_generation(fail: &PathBuf) {
    let _io_loop = support::current_loop();
    let mut sockets = activated_sockets().expect("handed over");
    let listeners = sockets.take_tcp("lines").expect("a listener");
    if fs::remove_file(fail).is_ok() {
        exit(3);
    }
    let server = TcpServer::new(who);
    server.add_sockets(listeners).expect("a loop");
    let report = server.run_until_replaced("lines", sockets, HOUR).expect("signals");
    assert_eq!(report.aborted, 0);
}

/// The loop's one thread for what blocks is busy, so nothing is started.
#[test]
fn ts6_a_loop_that_goes_while_a_successor_is_waited_for_closes_its_server() {
    let io_loop = support::current_loop();
    let lane = Lane::new("busy", LaneOptions::new().threads(1));
    let (let_go, go_on) = mpsc::channel::<()>();
    lane.run(move || go_on.recv()).detach().expect("a thread");
    io_loop.set_default_executor(lane);
    let server = TcpServer::new(who);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a loop");
    let handle = server.handle().clone();
    io_loop.spawn_detached(async move {
        drop(handle.hand_over(Handover::new(Command::new("/nowhere/at/all")), HOUR).await);
    });
    io_loop.run_sync(async {}).expect("the loop runs");
    assert!(TcpStream::connect(address).is_ok(), "it serves");
    IoLoop::clear_current();
    drop(io_loop);
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    drop(let_go);
}

/// Who answers, asked over a connection of its own. Whatever goes wrong with that is an error.
fn ask(address: SocketAddr) -> io::Result<i32> {
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"who?\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    answer.strip_suffix('\n').and_then(|id| id.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

fn signal(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).expect("a number"), signal).expect("it is there");
}

#[test]
fn ts6_fifty_restarts_in_a_storm_of_connections_refuse_and_reset_nobody_and_a_failed_one_changes_nothing() {
    let test = "ts6_fifty_restarts_in_a_storm_of_connections_refuse_and_reset_nobody_and_a_failed_one_changes_nothing";
    if let Some(fail) = env::var_os(GENERATION) {
        return serve_as_generation(&fail.into());
    }
    let fail = env::temp_dir().join(format!("tcpserver-handover-{}", id()));
    let (listener, address) = loopback();
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command.args(["--exact", test, "--nocapture"]).env(GENERATION, &fail).stdout(Stdio::piped());
    let first = Handover::new(command).pass("lines", &listener).expect("a descriptor");
    let mut first = first.start(HOUR).expect("it is ready");
    drop(listener);

    let enough = Arc::new(AtomicBool::new(false));
    let (hear, heard) = mpsc::channel();
    let clients = [(); 8].map(|()| {
        let (enough, hear) = (Arc::clone(&enough), hear.clone());
        thread::spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                let _ = hear.send(ask(address)?);
            }
            io::Result::Ok(())
        })
    });
    drop(hear); // so that clients that have all failed end the wait
    let mut serving = vec![heard.recv().expect("somebody serves")];
    assert_eq!(serving[0], first.id() as i32);
    for restart in 0..RESTARTS {
        if restart == RESTARTS / 2 {
            fs::write(&fail, "").expect("a file");
            signal(serving[restart], Signal::HUP);
            assert!(heard.iter().any(|_| !fail.exists()), "nobody has tried");
            assert!(heard.iter().take(100).all(|by| serving.contains(&by)), "the old one serves on");
        }
        signal(serving[restart], Signal::HUP);
        let next = heard.iter().find(|by| !serving.contains(by));
        serving.push(next.expect("the clients have failed"));
    }
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic").expect("nobody was refused or reset");
    }
    signal(serving[RESTARTS], Signal::TERM);
    // All generations have this as their output; each has come to its end.
    let mut output = String::new();
    first.stdout.take().expect("it is piped").read_to_string(&mut output).expect("a pipe");
    assert_eq!(output.matches("1 passed").count(), RESTARTS + 1, "{output}");
    assert!(first.wait().expect("a process").success());
}

#[test]
fn ts6_a_server_whose_successor_fails_serves_on() {
    let io_loop = support::current_loop();
    let (listener, address) = loopback();
    let server = TcpServer::new(support::echo);
    server.add_socket(listener).expect("a loop");
    let nowhere =
        server.pass_on(Handover::new(Command::new("/nowhere/at/all")), "lines").expect("descriptors");
    let error = io_loop.run_sync(server.handle().hand_over(nowhere, HOUR)).expect("the loop runs");
    assert!(matches!(error, Err(HandoverError::Spawn(_))));
    let said = support::with_client(&io_loop, move || talk(&mut connect(address), "still here\n"));
    assert_eq!(said, "still here\n");
}

/// A shell stands in for a successor: it has the sockets as long as it lives, and says that it is ready.
#[test]
fn ts6_who_has_not_asked_yet_may_ask_once_after_a_handover_and_who_has_is_let_go() {
    let io_loop = support::current_loop();
    let (listener, address) = loopback();
    let server = TcpServer::new(|stream: IoStream, context: ConnectionContext| async move {
        while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
            stream.write(line?).await?;
        }
        Ok::<(), StreamError>(())
    });
    server.add_socket(listener).expect("a loop");
    let (mut silent, mut idle) = (connect(address), connect(address));
    let idle = support::with_client(&io_loop, move || {
        assert_eq!(talk(&mut idle, "hello\n"), "hello\n");
        idle
    });
    run_until(&io_loop, || server.open_connections() == 2);

    let mut command = Command::new("sh");
    command.args(["-c", "printf r >&0; cat > /dev/null"]);
    let handover = server.pass_on(Handover::new(command), "lines").expect("descriptors");
    let started = io_loop.run_sync(server.handle().hand_over(handover, HOUR)).expect("the loop runs");
    let mut successor = started.expect("it says that it is ready");
    let drain = server.drain(HOUR);
    let talked = thread::spawn(move || {
        let mut idle = idle;
        assert_eq!(read_to_end(&mut idle).as_deref(), Some(&b""[..]));
        let said = talk(&mut silent, "hello\n");
        assert_eq!(read_to_end(&mut silent).as_deref(), Some(&b""[..]));
        said
    });
    let report = io_loop.run_sync(drain).expect("the loop runs");
    assert_eq!((report.finished, report.aborted), (2, 0));
    assert_eq!(talked.join().expect("no panic"), "hello\n");
    let _ = successor.kill();
    successor.wait().expect("a process");
    assert!(IoLoop::try_current().is_some());
}
