//! Who is let in, and what is counted and told of whom (TS7, TS12). Clients connect before the loop runs, which is on
//! virtual time, so that the kernel has nothing left to do when it does.

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use iostream::{IoStream, StreamError};
use support::{Log, connect, echo, listen, loopback, read_to_end, refused, virtual_loop};
use tcpserver::{ConnectionContext, ConnectionState, ListenOptions, PeerAddr, TcpServer, WhenFull};
use tracing::Level;

fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    std::iter::repeat_with(|| connect(address)).take(count).collect()
}

fn is_closed(client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("a socket");
    let read = (&mut &*client).read(&mut [0]);
    client.set_nonblocking(false).expect("a socket");
    match read {
        Ok(n) => n == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[test]
fn ts7_a_full_server_leaves_newcomers_waiting_and_serves_the_next_when_one_has_left() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(3);
    let address = listen(&server);
    let mut clients = clients(address, 5);
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().paused), (3, 1));
    assert!(!clients.iter().any(is_closed));
    let timers = test.counters().timers_inserted;
    for (leaves, accepted) in [(0, 4), (1, 5)] {
        clients[leaves].shutdown(Shutdown::Both).expect("a connection");
        test.run_until_stalled();
        assert_eq!((server.open_connections(), server.accepted_connections()), (3, accepted));
    }
    assert_eq!(test.counters().timers_inserted, timers, "nobody looks now and then");
    clients.drain(..).for_each(drop);
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().shed.total()), (0, 0));
    assert_eq!(server.metrics().paused, 3, "each time that it became full");
}

#[test]
fn ts7_a_full_server_closes_newcomers_if_so_wished() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(3).when_full(WhenFull::Close);
    let address = listen(&server);
    let clients = clients(address, 5);
    test.run_until_stalled();
    assert_eq!(clients.iter().map(is_closed).collect::<Vec<_>>(), [false, false, false, true, true]);
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.active, metrics.paused), (3, 3, 0));
    assert_eq!((metrics.shed.max_connections, metrics.shed.total()), (2, 2));
    clients[0].shutdown(Shutdown::Both).expect("a connection");
    test.run_until_stalled();
    let late = connect(address);
    test.run_until_stalled();
    assert!(!is_closed(&late));
    assert_eq!((server.accepted_connections(), server.metrics().shed.total()), (4, 2));
}

#[test]
fn ts7_the_limit_is_one_for_all_listeners_of_a_server_and_each_gets_on_when_there_is_room() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(1);
    let addresses = [listen(&server), listen(&server)];
    let first = connect(addresses[0]);
    test.run_until_stalled();
    let others = addresses.map(connect);
    test.run_until_stalled();
    assert_eq!(server.accepted_connections(), 1);
    drop(first);
    test.run_until_stalled();
    assert_eq!((server.accepted_connections(), server.open_connections()), (2, 1));
    for (served, client) in others.into_iter().enumerate() {
        assert_eq!(server.accepted_connections(), 2 + served as u64);
        drop(client);
        test.run_until_stalled();
    }
    assert_eq!((server.accepted_connections(), server.open_connections()), (3, 0));
    assert_eq!(server.metrics().paused, 3, "the listener that looks in vain is no news");
}

#[test]
fn ts7_a_limit_that_is_raised_lets_those_in_who_wait_and_one_of_none_lets_nobody_in() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(0);
    let _clients = clients(listen(&server), 5);
    for most in [0, 2, 4] {
        let server = server.clone().max_connections(most);
        test.run_until_stalled();
        assert_eq!(server.open_connections(), most);
    }
    let server = server.when_full(WhenFull::Close);
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().shed.max_connections), (4, 1));
}

#[test]
fn ts7_a_full_server_can_be_stopped_and_listen_again() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(1);
    let address = listen(&server);
    let waiting = clients(address, 2);
    test.run_until_stalled();
    let tasks = test.counters().tasks;
    server.stop();
    test.run_until_stalled();
    assert_eq!(test.counters().tasks, tasks - 1, "nothing waits for room any more");
    assert!(refused(address) && is_closed(&waiting[1]) && !is_closed(&waiting[0]));

    let _next = connect(listen(&server));
    test.run_until_stalled();
    assert_eq!(server.accepted_connections(), 1);
    drop(waiting);
    test.run_until_stalled();
    assert_eq!((server.accepted_connections(), server.open_connections()), (2, 1));
}

#[test]
fn ts7_a_server_that_is_full_now_and_then_logs_two_lines_in_two_seconds_at_most() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let logged = || (log.at(Level::WARN).len(), log.at(Level::INFO).len());
    let server = TcpServer::new(echo).max_connections(1);
    let address = listen(&server);
    for round in 1..=100 {
        let client = connect(address);
        test.run_until_stalled();
        drop(client);
        test.advance(Duration::from_millis(50));
        assert_eq!((server.metrics().paused, server.open_connections()), (round, 0));
    }
    assert_eq!(logged(), (1, 0), "it was never calm for long");
    test.advance(Duration::from_secs(2));
    assert_eq!(logged(), (1, 1));
    let client = connect(address);
    test.run_until_stalled();
    assert_eq!(logged(), (2, 1));
    test.advance(Duration::from_secs(3600));
    assert_eq!(logged(), (2, 1), "it is full all the time");
    drop(client);
    test.run_until_stalled();
    let _next = connect(address);
    test.advance(Duration::from_secs(3600));
    assert_eq!(logged(), (2, 1), "all but a moment of it");
}

#[test]
fn ts7_a_full_server_that_closes_newcomers_says_that_it_has_room_when_it_has() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let logged = || (log.at(Level::WARN).len(), log.at(Level::INFO).len());
    let server = TcpServer::new(echo).max_connections(2).when_full(WhenFull::Close);
    let address = listen(&server);
    let first = clients(address, 3);
    test.advance(Duration::from_secs(3600));
    let refused = connect(address);
    test.advance(Duration::from_secs(3600));
    assert!(is_closed(&refused));
    assert_eq!(logged(), (1, 0));
    drop(first);
    test.run_until_stalled();
    drop(connect(address));
    test.run_until_stalled();
    assert_eq!((logged(), server.accepted_connections()), ((1, 1), 3));
}

#[test]
#[cfg(target_os = "linux")] // where all of 127/8 is this host
fn ts7_a_client_has_so_many_connections_at_a_time_and_others_are_not_concerned() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections_per_ip(2);
    let address = listen(&server);
    let from = |host: &str| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(host.parse().expect("an address"), 0).into()).expect("a free port");
        socket.connect(&address.into()).expect("it listens");
        TcpStream::from(socket)
    };
    let mut greedy: Vec<_> = (0..4).map(|_| from("127.0.0.2")).collect();
    let modest = from("127.0.0.3");
    test.run_until_stalled();
    assert_eq!(greedy.iter().map(is_closed).collect::<Vec<_>>(), [false, false, true, true]);
    assert!(!is_closed(&modest));
    assert_eq!((server.metrics().accepted, server.metrics().shed.per_ip), (3, 2));
    assert_eq!(server.metrics().shed.total(), 2);
    drop(greedy.remove(0));
    test.run_until_stalled();
    let again = from("127.0.0.2");
    test.run_until_stalled();
    assert!(!is_closed(&again));
    assert_eq!((server.open_connections(), server.metrics().shed.per_ip), (3, 2));
}

#[test]
fn ts7_connections_that_were_there_before_a_limit_per_address_do_not_count_for_it_when_they_leave() {
    let test = virtual_loop();
    let server = TcpServer::new(echo);
    let address = listen(&server);
    let before = clients(address, 3);
    test.run_until_stalled();
    let server = server.max_connections_per_ip(2);
    let counted = clients(address, 2);
    test.run_until_stalled();
    drop(before);
    test.run_until_stalled();
    let one_too_many = connect(address);
    test.run_until_stalled();
    assert!(is_closed(&one_too_many) && !counted.iter().any(is_closed));
    assert_eq!(server.metrics().shed.per_ip, 1);
}

#[derive(Debug, thiserror::Error)]
#[error("no answer from behind")]
struct NoAnswer(#[source] ioloop::TimedOut);

/// Ends as the first line says.
async fn as_told(stream: IoStream, _: ConnectionContext) -> Result<(), Box<dyn std::error::Error>> {
    let line = stream.read_until(b"\n").await?;
    match &*line {
        b"panic\n" => panic!("as told"),
        b"fail\n" => return Err("as told".into()),
        b"time out\n" => ioloop::timeout(Duration::from_secs(1), pending()).await?,
        b"time out behind\n" => {
            ioloop::timeout(Duration::from_secs(1), pending()).await.map_err(NoAnswer)?;
        }
        b"time out below\n" => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        b"linger\n" => stream.write_soon(),
        _ => stream.write(line).await?,
    }
    Ok(())
}

trait WriteSoon {
    fn write_soon(&self);
}

impl WriteSoon for IoStream {
    /// More than the kernel takes of a peer that does not read.
    fn write_soon(&self) {
        drop(self.write(vec![b'x'; 64 * 1024 * 1024]));
    }
}

#[test]
fn ts12_each_way_to_end_is_counted_in_its_place_and_nothing_stays_open() {
    let test = virtual_loop();
    let server = TcpServer::new(as_told);
    let address = listen(&server);
    let words = [
        "hello\n",
        "panic\n",
        "fail\n",
        "time out\n",
        "time out behind\n",
        "time out below\n",
        "linger\n",
        "no line",
    ];
    let clients = words.map(|word| {
        let mut client = connect(address);
        client.write_all(word.as_bytes()).expect("it is queued");
        if !word.ends_with('\n') {
            client.shutdown(Shutdown::Write).expect("a connection");
        }
        client
    });
    test.run_until_stalled();
    assert_eq!((server.metrics().accepted, server.metrics().active), (8, 3));
    test.advance(Duration::from_secs(1));
    assert_eq!(server.metrics().active, 1);
    test.advance(Duration::from_secs(5));
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.active), (8, 0));
    assert_eq!(
        (metrics.handler_panics, metrics.handler_errors),
        (1, 1),
        "and the peer that left is no error"
    );
    assert_eq!((metrics.timed_out.handler, metrics.timed_out.closing), (3, 1));
    assert_eq!((metrics.shed.total(), metrics.paused, metrics.accept_failures), (0, 0, 0));
    assert_eq!(metrics.bytes_received, words.map(str::len).iter().sum::<usize>() as u64);
    let [mut answered, .., mut lingered, _] = clients;
    let received = read_to_end(&mut answered).expect("an answer").len() + drain(&mut lingered);
    assert!(
        metrics.bytes_sent >= received as u64,
        "who took nothing was reset, and lost what the kernel had"
    );
    assert!(server.connections().is_empty());
}

#[test]
fn ts12_where_no_time_is_given_for_the_end_none_runs_out() {
    let test = virtual_loop();
    let server = TcpServer::new(as_told).linger(Duration::ZERO);
    let mut client = connect(listen(&server));
    client.write_all(b"hello\nand what nobody reads").expect("it is queued");
    client.shutdown(Shutdown::Write).expect("a connection");
    test.run_until_stalled();
    assert_eq!((server.metrics().active, server.metrics().timed_out.closing), (0, 0));
    assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"hello\n"[..]));
}

/// How much comes until the end, orderly or not.
fn drain(client: &mut TcpStream) -> usize {
    let mut all = Vec::new();
    let _end = client.read_to_end(&mut all);
    all.len()
}

#[test]
fn ts12_a_loop_that_closes_leaves_no_connection_counted_as_open_and_all_bytes_counted() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(2).max_connections_per_ip(5);
    let address = listen(&server);
    let mut clients = clients(address, 3);
    clients[0].write_all(b"hello\n").expect("it is queued");
    test.run_until_stalled();
    let before = server.metrics();
    assert_eq!((before.active, before.bytes_received, before.bytes_sent), (2, 6, 6));
    test.close();
    let after = server.metrics();
    assert_eq!((after.accepted, after.active), (2, 0));
    assert_eq!((after.bytes_received, after.bytes_sent), (6, 6), "those of who has left");
    assert!(
        server.connections().is_empty() && clients.iter().all(|client| refused(address) || is_closed(client))
    );
}

#[test]
fn ts12_the_table_tells_who_is_there_since_when_what_for_and_how_much_was_said() {
    let test = virtual_loop();
    let server = TcpServer::new(async |stream: IoStream, _| -> Result<(), StreamError> {
        let line = stream.read_until(b"\n").await?;
        if line != "stay\n" {
            stream.write_soon(); // and the connection lingers
        } else {
            stream.write(line).await?;
            stream.read_until(b"\n").await?;
        }
        Ok(())
    })
    .linger(Duration::from_secs(60));
    let address = listen(&server);
    let mut clients = Vec::new();
    for line in ["stay\n", "leave\n", "stay"] {
        let mut client = connect(address);
        client.write_all(line.as_bytes()).expect("it is queued");
        clients.push(client);
        test.run_until_stalled();
        test.advance(Duration::from_secs(10));
    }
    let peers = clients.iter().map(|client| PeerAddr::Tcp(client.local_addr().expect("a socket")));
    let expected = peers.zip([30, 20, 10]).zip([5, 6, 4]).enumerate();
    let table = server.connections();
    assert_eq!(table.len(), 3);
    for (shown, (index, ((peer, age), received))) in table.iter().zip(expected) {
        assert_eq!((shown.id, &shown.peer), (index as u64 + 1, &peer));
        assert_eq!((shown.age, shown.bytes_received), (Duration::from_secs(age), received));
    }
    use ConnectionState::{Closing, Serving};
    assert_eq!(table.iter().map(|shown| shown.state).collect::<Vec<_>>(), [Serving, Closing, Serving]);
    assert_eq!((table[0].bytes_sent, table[2].bytes_sent), (5, 0));
    let sums = table
        .iter()
        .fold((0, 0), |(received, sent), shown| (received + shown.bytes_received, sent + shown.bytes_sent));
    assert_eq!((server.metrics().bytes_received, server.metrics().bytes_sent), sums);
}

#[test]
fn ts12_a_handler_sees_itself_in_the_metrics_and_in_the_table() {
    let test = virtual_loop();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    let server = TcpServer::new(move |_: IoStream, context: ConnectionContext| {
        let server = context.server();
        let ids = server.connections().iter().map(|shown| shown.id).collect::<Vec<_>>();
        record.borrow_mut().push((context.id(), server.metrics().active, ids));
        pending::<()>()
    });
    let _clients = clients(listen(&server), 2);
    test.run_until_stalled();
    assert_eq!(*seen.borrow(), [(1, 2, vec![1, 2]), (2, 2, vec![1, 2])]);
}

#[test]
fn ts7_a_listener_with_a_limit_of_its_own_waits_alone_and_leaves_room_for_the_others() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(3);
    let narrow = listen(&server.with(ListenOptions::new().max_connections(1)));
    let wide = listen(&server);
    let mut narrow = clients(narrow, 3);
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().paused), (1, 1), "one that is full");
    let _wide = clients(wide, 3);
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().paused), (3, 2), "the server's limit holds too");
    drop(narrow.remove(0));
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.accepted_connections()), (3, 4));
}

#[test]
fn ts7_a_listener_with_a_limit_of_its_own_closes_newcomers_if_so_wished() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).when_full(WhenFull::Close);
    let address = listen(&server.with(ListenOptions::new().max_connections(2)));
    let clients = clients(address, 5);
    test.run_until_stalled();
    assert_eq!(clients.iter().filter(|client| is_closed(client)).count(), 3);
    assert_eq!((server.open_connections(), server.metrics().shed.max_connections), (2, 3));
}

/// Two loops at one listener, as the kernel sees it: each has a descriptor of its own, and both are told.
#[test]
fn ts5_a_wake_for_somebody_whom_another_has_accepted_is_counted_as_in_vain() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let servers = [TcpServer::new(echo), TcpServer::new(echo)];
    for server in &servers {
        server.add_socket(listener.try_clone().expect("a descriptor")).expect("a listener");
    }
    test.run_until_stalled();
    let _clients: Vec<_> = (0..10)
        .map(|_| {
            let client = connect(address);
            test.run_until_stalled();
            client
        })
        .collect();
    let total = servers[0].metrics() + servers[1].metrics();
    assert_eq!((total.accepted, total.wakes_in_vain), (10, 10));
}
