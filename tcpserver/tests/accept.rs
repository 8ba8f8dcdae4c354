//! add_accept_handler with real sockets: NU3.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::panic_any;
use std::rc::Rc;

use netutil::{BindOptions, bind_sockets};
use support::{Log, connect, current_loop, loopback, run_until, virtual_loop, with_client};
use tcpserver::{ACCEPTS_PER_TURN, AcceptHandle, Connection, Listener, PeerAddr, add_accept_handler};
use tracing::Level;

/// A loop on virtual time. The clients of these tests connect before it runs, so the kernel has nothing left to do;
/// and where a handler would wait for ever, the loop says that it is stalled.
type Callback = Box<dyn FnMut(Connection, PeerAddr)>;

/// A callback and the ports of whom it was given, in order.
fn recorder() -> (Callback, Rc<RefCell<Vec<u16>>>) {
    let ports = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&ports);
    let callback = move |_, peer: PeerAddr| record.borrow_mut().push(port(&peer));
    (Box::new(callback), ports)
}

fn port(peer: &PeerAddr) -> u16 {
    peer.as_tcp().expect("a TCP peer").port()
}

fn ports(clients: &[TcpStream]) -> Vec<u16> {
    clients.iter().map(|client| client.local_addr().expect("a connected socket").port()).collect()
}

#[test]
fn nu3_1_every_connection_is_handed_over_once_in_the_order_of_arrival() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let (callback, accepted) = recorder();
    let mut clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    test.run_until_stalled();
    assert_eq!(*accepted.borrow(), ports(&clients), "those that queued before");
    clients.extend((0..5).map(|_| connect(address)));
    test.run_until_stalled();
    assert_eq!(*accepted.borrow(), ports(&clients), "and those that came later");
}

#[test]
fn nu3_1_a_connection_that_the_callback_drops_is_closed() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let mut client = connect(address);
    let _handle = add_accept_handler(listener, |_, _| {}).expect("a listener");
    test.run_until_stalled();
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn nu3_1_a_sleeping_loop_wakes_up_for_a_connection() {
    let io_loop = current_loop();
    let (listener, address) = loopback();
    let _handle = add_accept_handler(listener, |connection, _| {
        let stream = connection.into_stream(Rc::default()).expect("a stream");
        drop(stream.write("hello"));
        // Out of the callback, so that the loop sends it at the end of the turn.
        stream.io_loop().spawn_detached(async move { stream.closed().await });
    })
    .expect("a listener");
    let heard = with_client(&io_loop, move || {
        let mut heard = [0; 5];
        connect(address).read_exact(&mut heard).expect("a greeting");
        heard
    });
    assert_eq!(&heard, b"hello");
}

#[test]
#[cfg(unix)]
fn nu3_1_a_unix_listener_is_served_too() {
    use std::os::unix::net::{UnixListener, UnixStream};

    let test = virtual_loop();
    let path = std::env::temp_dir().join(format!("tcpserver-accept-{}", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a free path");
    let _client = UnixStream::connect(&path).expect("it listens");
    std::fs::remove_file(&path).expect("the socket's file");
    let peers = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&peers);
    let _handle =
        add_accept_handler(listener, move |_, peer| record.borrow_mut().push(peer)).expect("a listener");
    test.run_until_stalled();
    assert_eq!(*peers.borrow(), [PeerAddr::Unix(None)]);
}

/// The regression test of the edge-trigger trap: nothing is reported about connections that are still queued when a
/// turn's share is used up. Without the task waking itself the second 128 never come.
#[test]
fn nu3_2_three_hundred_queued_connections_come_in_turns_of_128_128_and_44() {
    let test = virtual_loop();
    let options = BindOptions::new().address("127.0.0.1").backlog(300);
    let listener = bind_sockets(0, &options).expect("a port").remove(0);
    let address = listener.local_addr().expect("a bound socket");
    let clients: Vec<_> = (0..300).map(|_| connect(address)).collect();

    let turns = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&turns);
    let io_loop = ioloop::IoLoop::current();
    let callback = move |_, _| record.borrow_mut().push(io_loop.counters().turns);
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    test.run_until_stalled();

    let turns = turns.borrow();
    let shares: Vec<_> =
        turns.chunk_by(|a, b| a == b).map(|share| (share[0] - turns[0], share.len())).collect();
    assert_eq!(shares, [(0, 128), (1, 128), (2, 44)]);
    drop(clients);
}

#[test]
fn nu3_2_after_a_share_that_emptied_the_queue_later_connections_still_come() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    let mut clients: Vec<_> = (0..ACCEPTS_PER_TURN).map(|_| connect(address)).collect();
    test.run_until_stalled();
    assert_eq!(accepted.borrow().len(), ACCEPTS_PER_TURN);
    clients.push(connect(address));
    test.run_until_stalled();
    assert_eq!(*accepted.borrow(), ports(&clients));
}

#[test]
fn nu3_2_accept_and_callback_alternate_so_that_a_sibling_gets_its_share() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let sibling = listener.try_clone().expect("a descriptor");
    let clients: Vec<_> = (0..6).map(|_| connect(address)).collect();
    let ours = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&ours);
    let theirs = Rc::new(RefCell::new(Vec::new()));
    let record_theirs = Rc::clone(&theirs);
    let _handle = add_accept_handler(listener, move |_, peer| {
        record.borrow_mut().push(port(&peer));
        if let Ok((_, peer)) = sibling.accept() {
            record_theirs.borrow_mut().push(peer.port());
        }
    })
    .expect("a listener");
    test.run_until_stalled();
    let ports = ports(&clients);
    assert_eq!(*ours.borrow(), [ports[0], ports[2], ports[4]]);
    assert_eq!(*theirs.borrow(), [ports[1], ports[3], ports[5]]);
}

#[test]
fn nu3_2_callbacks_run_between_the_shares_of_a_full_queue() {
    let test = virtual_loop();
    let options = BindOptions::new().address("127.0.0.1").backlog(200);
    let listener = bind_sockets(0, &options).expect("a port").remove(0);
    let address = listener.local_addr().expect("a bound socket");
    let clients: Vec<_> = (0..200).map(|_| connect(address)).collect();
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    let seen = Rc::new(Cell::new(0));
    let (look, count) = (Rc::clone(&accepted), Rc::clone(&seen));
    test.add_callback(move || count.set(look.borrow().len()));
    test.run_until_stalled();
    assert_eq!(seen.get(), ACCEPTS_PER_TURN, "it was queued behind the first share, not behind all");
    assert_eq!(accepted.borrow().len(), clients.len());
}

#[test]
fn nu3_3_a_connection_that_was_reset_while_it_queued_costs_the_next_one_nothing() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let gone = connect(address);
    socket2::SockRef::from(&gone).set_linger(Some(std::time::Duration::ZERO)).expect("a socket option");
    drop(gone);
    let client = connect(address);
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    test.run_until_stalled();
    // Systems differ in whether they hand over the first; all must hand over the second.
    assert_eq!(accepted.borrow().last(), Some(&ports(&[client])[0]));
}

/// A panic whose payload panics once more when it is dropped.
struct Vicious;

impl Drop for Vicious {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("and again");
        }
    }
}

#[test]
fn nu3_5_a_callback_that_panics_is_logged_and_costs_its_own_connection() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let (listener, address) = loopback();
    let mut clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&kept);
    let mut calls = 0;
    let _handle = add_accept_handler(listener, move |connection, _| {
        calls += 1;
        match calls {
            1 => panic!("the first is unlucky"),
            2 => panic_any(Vicious),
            _ => keep.borrow_mut().push(connection),
        }
    })
    .expect("a listener");
    test.run_until_stalled();

    assert_eq!(clients[0].read(&mut [0]).expect("a clean end"), 0);
    assert_eq!(clients[1].read(&mut [0]).expect("a clean end"), 0);
    assert_eq!(kept.borrow().len(), 1);
    let _later = connect(address);
    test.run_until_stalled();
    assert_eq!(kept.borrow().len(), 2, "the listener serves on");
    let errors = log.at(Level::ERROR);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("the first is unlucky"), "{errors:?}");
}

#[test]
fn nu3_6_removing_from_inside_the_callback_stops_at_once_with_more_queued() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let (listener, address) = loopback();
    let clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    let handle: Rc<RefCell<Option<AcceptHandle>>> = Rc::default();
    let own = Rc::clone(&handle);
    let listener_back = Rc::new(RefCell::new(None));
    let back = Rc::clone(&listener_back);
    let (mut record, accepted) = recorder();
    let callback = move |connection, peer| {
        record(connection, peer);
        let handle = own.borrow().clone().expect("the handle is there before the loop runs");
        back.replace(handle.remove());
        assert!(handle.remove().is_none(), "only once");
    };
    *handle.borrow_mut() = Some(add_accept_handler(listener, callback).expect("a listener"));
    let tasks = test.counters().tasks;
    test.run_until_stalled();

    assert_eq!(*accepted.borrow(), ports(&clients)[..1]);
    assert_eq!(log.at(Level::ERROR), [""; 0]);
    assert_eq!(test.counters().tasks, tasks - 1, "nothing is left of it in the loop");
    handle.take();
    assert_eq!(test.counters().sources, 0);
    // NU3.7: the others still queue at the listener.
    let listener = listener_back.take().expect("the listener came back");
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("it can be added again");
    test.run_until_stalled();
    assert_eq!(*accepted.borrow(), ports(&clients)[1..]);
}

#[test]
fn nu3_6_a_handler_that_was_removed_before_its_first_turn_accepts_nothing() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let _client = connect(address);
    let (callback, accepted) = recorder();
    let handle = add_accept_handler(listener, callback).expect("a listener");
    let _listener = handle.remove().expect("the listener");
    test.run_until_stalled();
    assert!(accepted.borrow().is_empty());
    assert_eq!(Rc::strong_count(&accepted), 1, "the callback is dropped with its task");
}

#[test]
fn nu3_7_removing_leaves_the_listener_open_and_dropping_it_closes_it() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let handle = add_accept_handler(listener, |_, _| {}).expect("a listener");
    test.run_until_stalled();
    let listener: Listener = handle.remove().expect("the listener");
    assert_eq!(listener.local_addr(), Some(address));
    drop(connect(address));
    drop(listener);
    assert_eq!(TcpStream::connect(address).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nu3_7_a_listener_can_go_on_at_another_loop() {
    let (listener, address) = loopback();
    let first = virtual_loop();
    let handle = add_accept_handler(listener, |_, _| {}).expect("a listener");
    first.run_until_stalled();
    let listener = handle.remove().expect("the listener");
    let second = virtual_loop();
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("it can be added again");
    let client = connect(address);
    first.run_until_stalled();
    second.run_until_stalled();
    assert_eq!(*accepted.borrow(), ports(&[client]));
}

#[test]
fn dropping_the_handle_changes_nothing() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    let (callback, accepted) = recorder();
    drop(add_accept_handler(listener, callback).expect("a listener"));
    let _client = connect(address);
    test.run_until_stalled();
    assert_eq!(accepted.borrow().len(), 1);
}

#[test]
fn a_loop_that_closes_closes_the_listener() {
    let io_loop = current_loop();
    let (listener, address) = loopback();
    let (callback, accepted) = recorder();
    let handle = add_accept_handler(listener, callback).expect("a listener");
    let _client = connect(address);
    run_until(&io_loop, || accepted.borrow().len() == 1);
    io_loop.close();
    assert_eq!(TcpStream::connect(address).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    assert!(handle.remove().is_none());
    assert!(add_accept_handler(loopback().0, |_, _| {}).is_err(), "and takes no other");
}

#[test]
fn a_blocking_listener_from_elsewhere_does_not_block_the_loop() {
    let test = virtual_loop();
    let (listener, address) = loopback();
    listener.set_nonblocking(false).expect("a socket");
    let (callback, accepted) = recorder();
    let _handle = add_accept_handler(listener, callback).expect("a listener");
    test.run_until_stalled();
    let mut client = connect(address);
    client.write_all(b"unread").expect("it listens");
    test.run_until_stalled();
    assert_eq!(accepted.borrow().len(), 1);
}
