//! A server that is full of connections which idle lets newcomers in: those leave that idle longest (TS7). On virtual time; clients connect
//! before the loop runs, so that the kernel has nothing left to do when it does.

mod support;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::{HeldBytes, IoStream, MemoryBudget};
use support::{
    Log, connect, echo_until_drained as echo, listen, loopback, read_to_end, talk_on, virtual_loop,
};
use tcpserver::{ConnectionContext, ConnectionState, ListenOptions, TcpServer, WhenFull};
use tracing::Level;

/// As long as nobody is told to leave, and then some.
const WHILE: Duration = Duration::from_secs(2);
/// The longest time from one look for who could leave to the next.
const LOOK: Duration = Duration::from_millis(100);

fn is_closed(client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("a socket");
    let read = (&mut &*client).read(&mut [0]);
    client.set_nonblocking(false).expect("a socket");
    match read {
        Ok(n) => n == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn closed(clients: &[TcpStream]) -> Vec<usize> {
    (0..clients.len()).filter(|index| is_closed(&clients[*index])).collect()
}

/// Clients that come one after the other, each a while after the one before, and have had an answer.
fn in_turn(test: &VirtualLoop, address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(connect(address));
        asks(test, clients.last_mut().expect("it has just come"));
        test.advance(WHILE);
    }
    clients
}

/// Has `client` ask for something and hear the answer.
fn asks(test: &VirtualLoop, client: &mut TcpStream) {
    talk_on(test, client, "hello\n");
}

#[test]
fn ts7_a_newcomer_takes_the_place_of_the_one_that_idles_longest() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(3);
    let address = listen(&server);
    let mut clients = in_turn(&test, address, 3);
    asks(&test, &mut clients[0]); // so that it is not the first to come that idles longest
    test.advance(Duration::from_secs(3600));
    assert!(closed(&clients).is_empty(), "nobody leaves for nobody");
    assert_eq!((server.metrics().paused, server.metrics().shed.idle), (1, 0));

    let mut late = connect(address);
    test.advance(LOOK);
    assert_eq!(closed(&clients), [1]);
    asks(&test, &mut late);
    asks(&test, &mut clients[0]);
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.active, metrics.shed.idle), (4, 3, 1));
    assert_eq!((metrics.shed.total(), metrics.handler_errors), (1, 0));
    let said = log.at(Level::WARN).iter().filter(|line| line.contains("idle longest")).count();
    assert_eq!(said, 1);

    test.advance(WHILE);
    let _another = connect(address);
    test.advance(LOOK);
    assert_eq!(closed(&clients), [1, 2]);
}

#[test]
fn ts7_who_waits_for_a_place_costs_a_look_now_and_then_and_who_does_not_wait_none() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(2);
    let address = listen(&server);
    let mut clients = in_turn(&test, address, 2);
    for client in &mut clients {
        client.write_all(b"serve me\n").expect("it is queued"); // without an end
    }
    test.run_until_stalled();
    let turns = |while_this| {
        let before = test.counters().turns;
        test.advance(while_this);
        test.counters().turns - before
    };
    assert!(turns(Duration::from_secs(60)) < 5, "nobody waits");
    let _waits = connect(address);
    test.run_until_stalled();
    assert!((10..100).contains(&turns(Duration::from_secs(1))), "ten looks a second");
    assert_eq!((server.metrics().accepted, server.metrics().shed.idle), (2, 0));
}

#[test]
fn ts7_who_is_at_work_or_has_begun_to_ask_or_has_just_asked_does_not_leave() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(4);
    let address = listen(&server);
    let mut clients = in_turn(&test, address, 4);
    clients[0].write_all(b"serve me\n").expect("it is queued"); // without an end
    clients[1].write_all(b"half a li").expect("it is queued");
    test.advance(WHILE);
    let _waits = connect(address);
    for _round in 0..20 {
        asks(&test, &mut clients[2]);
        asks(&test, &mut clients[3]);
        test.advance(LOOK);
    }
    assert_eq!((closed(&clients[1..]), server.metrics().shed.idle), (vec![], 0));
    clients[1].write_all(b"ne\n").expect("it is queued");
    for _round in 0..20 {
        asks(&test, &mut clients[3]);
        test.advance(LOOK);
    }
    assert_eq!((closed(&clients[1..]), server.metrics().shed.idle), (vec![1], 1));
}

#[test]
fn ts7_who_still_takes_what_was_sent_does_not_idle_and_who_is_looked_at_without_news_does() {
    let test = virtual_loop();
    let streams = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&streams);
    let much = move |stream: IoStream, context: ConnectionContext| {
        keep.borrow_mut().push(stream.clone());
        async move {
            while let Some(Ok(_line)) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
                drop(stream.write(vec![b'x'; 16 << 20])); // more than the kernel takes
            }
        }
    };
    let server = TcpServer::new(much).idle_makes_room().max_connections(2);
    let address = listen(&server);
    let clients = [connect(address), connect(address)];
    (&clients[0]).write_all(b"much\n").expect("it is queued");
    test.run_until_stalled();
    let _waits = connect(address);
    for _ in 0..10 {
        test.advance(Duration::from_millis(300));
        streams.borrow().iter().for_each(IoStream::wake_reader);
    }
    assert_eq!((server.metrics().shed.idle, server.accepted_connections()), (1, 3));
    assert!(is_closed(&clients[1]));
}

/// What it has asked for is with the kernel, and stays there until there is memory to read it into.
#[test]
fn ts7_who_has_asked_and_is_not_read_for_want_of_memory_does_not_idle() {
    let test = virtual_loop();
    MemoryBudget::new(1 << 20, 2 << 20).install();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(1);
    let address = listen(&server);
    let mut client = in_turn(&test, address, 1).remove(0);
    let mut all = HeldBytes::new();
    all.set(2 << 20);
    client.write_all(b"hello\n").expect("it is queued");
    test.run_until_stalled();
    let _waits = connect(address);
    test.advance(WHILE);
    assert_eq!((is_closed(&client), server.metrics().shed.idle), (false, 0));
    drop(all);
    test.advance(LOOK);
    let mut heard = [0; 6];
    client.read_exact(&mut heard).expect("it is served");
}

#[test]
fn ts7_who_has_not_asked_yet_leaves_when_it_was_there_longest_and_had_its_time() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(2);
    let address = listen(&server);
    let silent = connect(address);
    test.advance(WHILE);
    let mut asked = in_turn(&test, address, 1);
    asked.insert(0, silent);
    let newcomer = connect(address);
    test.advance(LOOK);
    assert_eq!(closed(&asked), [0]);
    assert!(!is_closed(&newcomer));
    assert_eq!(server.accepted_connections(), 3);
}

/// The request arrives after its connection was chosen, before its handler has looked.
#[test]
fn ts7_who_asks_in_the_moment_in_which_it_is_told_to_leave_is_served_and_stays() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(1);
    let address = listen(&server);
    let mut client = in_turn(&test, address, 1).remove(0);
    let _waits = connect(address);
    test.run_until_stalled();
    // In the moment in which the look is due: it comes first, and finds the connection idle.
    let mut asks_then = client.try_clone().expect("a socket");
    test.call_later(Duration::from_millis(20), move || {
        asks_then.write_all(b"and now?\n").expect("it is queued");
    });
    test.advance(Duration::from_millis(20));
    assert_eq!(server.metrics().shed.idle, 1, "it was told");
    let mut heard = [0; 9];
    client.read_exact(&mut heard).expect("it is served");
    assert_eq!(&heard, b"and now?\n");
    test.advance(Duration::from_millis(500));
    asks(&test, &mut client);
    assert_eq!(server.accepted_connections(), 1);
    test.advance(WHILE);
    assert!(is_closed(&client), "it has had its time");
    assert_eq!(server.accepted_connections(), 2);
}

#[test]
fn ts7_of_a_crowd_an_eighth_leaves_at_a_time_and_32_at_most() {
    let test = virtual_loop();
    for (most, leave) in [(40, 5), (500, 32)] {
        let server = TcpServer::new(echo).idle_makes_room().max_connections(most);
        let address = listen(&server);
        let mut clients = Vec::new();
        for _ in 0..most {
            clients.push(connect(address));
            test.run_until_stalled(); // the queue of a listener is short
        }
        test.advance(WHILE);
        let _newcomer = connect(address);
        test.advance(LOOK);
        assert_eq!((closed(&clients).len(), server.metrics().shed.idle), (leave, leave as u64));
        assert_eq!(server.open_connections(), most - leave + 1);
        test.advance(Duration::from_secs(10));
        assert_eq!(server.metrics().shed.idle, leave as u64, "there is room");
    }
}

/// Its handler takes its leave of the peer, say, which takes a while.
#[test]
fn ts7_not_all_leave_for_one_newcomer_though_those_who_were_told_to_take_their_time() {
    let test = virtual_loop();
    let slow = async |stream: IoStream, context: ConnectionContext| {
        let ended = echo(stream, context).await;
        ioloop::sleep(Duration::from_millis(1_500)).await;
        ended
    };
    for when_full in [WhenFull::Wait, WhenFull::Close] {
        let server = TcpServer::new(slow).idle_makes_room().max_connections(40).when_full(when_full);
        let address = listen(&server);
        let mut clients = Vec::new();
        for _ in 0..40 {
            clients.push(connect(address));
            test.run_until_stalled();
        }
        test.advance(WHILE);
        let newcomer = connect(address);
        test.advance(Duration::from_millis(900));
        assert_eq!(server.metrics().shed.idle, 5);
        test.advance(Duration::from_secs(10));
        assert_eq!((server.metrics().shed.total(), server.metrics().accepted), (10, 41));
        assert!(!is_closed(&newcomer));
        drop(clients);
    }
}

#[test]
fn ts7_a_server_that_closes_newcomers_lets_them_in_where_somebody_can_leave() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(2).when_full(WhenFull::Close);
    let address = listen(&server);
    let mut clients = in_turn(&test, address, 2);
    let mut late = connect(address);
    test.run_until_stalled();
    assert_eq!(closed(&clients), [0]);
    asks(&test, &mut late);
    asks(&test, &mut clients[1]);
    let refused = connect(address);
    test.run_until_stalled();
    assert!(is_closed(&refused) && !is_closed(&clients[1]) && !is_closed(&late), "all have just asked");
    let shed = server.metrics().shed;
    assert_eq!((shed.idle, shed.max_connections, server.metrics().accepted), (1, 1, 3));
}

/// Another loop, or another process, that has the same listener.
#[test]
fn ts7_nobody_leaves_for_a_newcomer_whom_somebody_else_takes() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(1);
    let (listener, address) = loopback();
    let other = listener.try_clone().expect("a descriptor");
    server.add_socket(listener).expect("a listener");
    let clients = in_turn(&test, address, 1);
    for _ in 0..3 {
        let _newcomer = connect(address);
        test.run_until_stalled(); // it is seen here too
        let _taken = other.accept().expect("it waits");
        test.advance(WHILE);
        assert_eq!((closed(&clients), server.metrics().shed.idle), (vec![], 0));
    }
}

#[test]
fn ts7_where_one_way_in_is_full_those_leave_who_came_by_it() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room();
    let many = listen(&server);
    let few = listen(&server.with(ListenOptions::new().max_connections(1)));
    let mut by_many = in_turn(&test, many, 2);
    let by_few = in_turn(&test, few, 1);
    let mut late = connect(few);
    test.advance(LOOK);
    assert_eq!((closed(&by_many), closed(&by_few)), (vec![], vec![0]));
    asks(&test, &mut late);
    asks(&test, &mut by_many[0]);
}

#[test]
fn ts6_who_was_told_to_leave_is_closing_and_a_server_that_is_full_of_idle_ones_drains_at_once() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).idle_makes_room().max_connections(3);
    let address = listen(&server);
    let clients = in_turn(&test, address, 3);
    assert!(server.connections().iter().all(|connection| connection.state == ConnectionState::Idle));
    let mut waits = connect(address);
    waits.write_all(b"hello\n").expect("it is queued");
    let drain = test.run_sync(server.drain(Duration::from_secs(60))).expect("it drains");
    assert_eq!((drain.finished, drain.aborted, drain.took), (4, 0, Duration::ZERO));
    assert_eq!((closed(&clients).len(), server.metrics().shed.idle), (3, 0));
    assert_eq!(read_to_end(&mut waits).as_deref(), Some(&b"hello\n"[..]), "who waited is served first");
}

#[test]
fn ts7_where_the_protocol_does_not_say_so_nobody_leaves_and_nobody_looks() {
    let test = virtual_loop();
    let server = TcpServer::new(echo).max_connections(2);
    let address = listen(&server);
    let clients = in_turn(&test, address, 2);
    let _waits = connect(address);
    test.run_until_stalled();
    let turns = test.counters().turns;
    test.advance(Duration::from_secs(60));
    assert!(test.counters().turns - turns < 5);
    assert_eq!((closed(&clients), server.metrics().accepted), (vec![], 2));
}
