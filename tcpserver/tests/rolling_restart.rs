//! Servers that take turns at one port, and servers on many loops: nobody is failed by a restart (TS4, TS5, TS6).

mod support;

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ioloop::{IoLoop, Loops, Worker};
use iostream::{IoStream, StreamError};
use support::{connect, loopback, read_to_end, refused};
use tcpserver::{ConnectionContext, DrainReport, TcpServer};

const HOUR: Duration = Duration::from_secs(3_600);

/// Answers each line with its own number, and with a word when the client is to leave. After `drain` it leaves the port
/// to others, tells its clients to go, and drains when they have.
async fn serve(
    number: usize,
    report: Rc<RefCell<Option<DrainReport>>>,
    stream: IoStream,
    context: ConnectionContext,
) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        if line? == "drain\n" {
            let server = context.server().clone();
            server.stop();
            server.lame_duck();
            while server.open_connections() > 1 {
                ioloop::yield_now().await;
            }
            let io_loop = stream.io_loop();
            io_loop.clone().spawn_detached(async move {
                report.replace(Some(server.drain(HOUR).await));
                io_loop.stop();
            });
            return Ok(());
        }
        let word = if context.is_leaving() { " leave" } else { "" };
        stream.write(format!("{number}{word}\n")).await?;
    }
    Ok(())
}

/// A server with a loop and a thread of its own, at a listener that it shares and at one for orders.
struct Generation {
    thread: JoinHandle<DrainReport>,
    orders: SocketAddr,
}

impl Generation {
    fn start(number: usize, shared: &TcpListener) -> Generation {
        let shared = shared.try_clone().expect("a descriptor");
        let (private, orders) = loopback();
        let thread = thread::spawn(move || {
            let io_loop = support::current_loop();
            let report = Rc::default();
            let tell = Rc::clone(&report);
            let server =
                TcpServer::new(move |stream, context| serve(number, Rc::clone(&tell), stream, context));
            server.add_sockets([shared, private]).expect("listeners");
            io_loop.start().expect("the loop runs");
            report.take().expect("it has drained")
        });
        let generation = Generation { thread, orders };
        support::talk(&mut connect(orders), &format!("{number}\n")); // it serves
        generation
    }

    fn end(self) -> DrainReport {
        let mut order = connect(self.orders);
        order.write_all(b"drain\n").expect("it listens");
        assert_eq!(read_to_end(&mut order).as_deref(), Some(&b""[..]));
        self.thread.join().expect("it has ended")
    }
}

/// Asks until told otherwise, over the same connection as long as it may; gives who has answered. Any answer that is
/// missing is an error.
fn ask_on(address: SocketAddr, enough: &AtomicBool, heard: &mpsc::Sender<usize>) -> io::Result<()> {
    while !enough.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(address)?;
        let mut answers = BufReader::new(client.try_clone()?);
        while !enough.load(Ordering::Relaxed) {
            client.write_all(b"who?\n")?;
            let mut answer = String::new();
            if answers.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut words = answer.split_whitespace();
            let number =
                words.next().and_then(|number| number.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            let _ = heard.send(number);
            if words.next() == Some("leave") {
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn ts6_rolling_restarts_over_a_shared_listener_fail_no_request() {
    const GENERATIONS: usize = 60;
    let (listener, address) = loopback();
    let mut serving = Generation::start(0, &listener);
    let enough = Arc::new(AtomicBool::new(false));
    let (hear, heard) = mpsc::channel();
    let clients = [(); 4].map(|()| {
        let (enough, hear) = (Arc::clone(&enough), hear.clone());
        thread::spawn(move || ask_on(address, &enough, &hear))
    });
    drop(hear); // so that clients that have all failed end the wait
    for number in 1..GENERATIONS {
        assert!(heard.iter().any(|by| by == number - 1), "nobody was served by {}", number - 1);
        let next = Generation::start(number, &listener);
        let report = std::mem::replace(&mut serving, next).end();
        assert_eq!(report.aborted, 0);
    }
    assert!(heard.iter().any(|by| by == GENERATIONS - 1));
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic").expect("no request failed");
    }
    serving.end();
}

/// What a worker of many serves: its number.
async fn number(worker: Worker, stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        drop(line?);
        stream.write(format!("{}\n", worker.index())).await?;
    }
    Ok(())
}

#[test]
fn ts5_ts6_workers_share_a_port_and_each_drains_when_all_are_stopped() {
    const WORKERS: usize = 3;
    let (listener, address) = loopback();
    let listener = Arc::new(std::sync::Mutex::new(Some(listener)));
    let kept = Arc::clone(&listener);
    let loops = Loops::new(WORKERS).spawn(move |worker: Worker| {
        let mine = kept.lock().expect("no panic").as_ref().expect("not dropped yet").try_clone();
        async move {
            let me = worker.clone();
            let server = TcpServer::new(move |stream, context| number(me.clone(), stream, context));
            server.add_socket(mine?)?;
            let stopping = worker.stopping();
            worker.ready();
            stopping.await;
            let report = server.drain(HOUR).await;
            assert_eq!((report.aborted, server.open_connections()), (0, 0));
            Ok::<(), tcpserver::ListenError>(())
        }
    });
    let loops = loops.expect("threads");
    loops.wait_ready(HOUR).expect("they listen");
    listener.lock().expect("no panic").take();

    let mut seen = [false; WORKERS];
    let mut clients = Vec::new();
    while seen.contains(&false) {
        // Those who hold on leave the others' loops as little to do as theirs: whoever wakes up first accepts.
        let mut client = connect(address);
        let answer = support::talk(&mut client, "?\n");
        seen[answer.trim().parse::<usize>().expect("a number")] = true;
        clients.push(client);
    }
    loops.stop();
    assert!(clients.iter_mut().all(|client| read_to_end(client).as_deref() == Some(b"")));
    loops.join().expect("all have drained");
    assert!(refused(address));
    assert!(IoLoop::try_current().is_none(), "this thread has no loop");
}
