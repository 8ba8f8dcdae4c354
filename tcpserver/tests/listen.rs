//! TcpServer with real sockets: beginning to listen, and stopping (TS3, TS4, TS6).

mod support;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;

use iostream::{IoStream, StreamOptions};
use netutil::{BindOptions, bind_sockets};
use support::{
    Log, connect, current_loop, echo, loopback, read_to_end, refused, run_until, talk, with_client,
};
use tcpserver::{ConnectionContext, ListenError, ListenOptions, TcpServer};
use tracing::Level;

#[test]
fn ts3_listen_serves_every_address_on_one_port_that_the_kernel_chose() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let addresses = server.listen(0).expect("a port");
    assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{addresses:?}");
    let answers = with_client(&io_loop, move || {
        let port = addresses[0].port();
        let hosts = addresses.iter().map(|address| if address.is_ipv4() { "127.0.0.1" } else { "::1" });
        let answer = |host| talk(&mut TcpStream::connect((host, port)).expect("it listens"), "hello\n");
        hosts.map(answer).collect::<Vec<_>>()
    });
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer == "hello\n"), "{answers:?}");
}

#[test]
fn ts3_a_server_may_listen_several_times_and_with_options() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let options = BindOptions::new().address("127.0.0.1");
    let first = server.listen_with(0, &options).expect("a port");
    let second = server.listen_with(0, &options).expect("another");
    assert_eq!((first.len(), second.len()), (1, 1));
    with_client(&io_loop, move || {
        for address in [first[0], second[0]] {
            assert_eq!(talk(&mut connect(address), "hello\n"), "hello\n");
        }
    });
}

#[test]
fn ts3_a_port_that_is_taken_is_an_error_and_changes_nothing() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let options = BindOptions::new().address("127.0.0.1");
    let (taken, address) = loopback();
    let error = server.listen_with(address.port(), &options).expect_err("taken");
    assert!(matches!(error, ListenError::Bind(_)), "{error}");
    assert_eq!(io_loop.counters().sources, 0);
    drop(taken);
    server.listen_with(address.port(), &options).expect("free now");
}

#[test]
fn ts4_listeners_that_were_bound_before_are_served_at_once() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let listeners = bind_sockets(0, &BindOptions::new().address("127.0.0.1")).expect("a port");
    let address = listeners[0].local_addr().expect("a bound socket");
    let mut early = connect(address);
    server.add_sockets(listeners).expect("listeners");
    let answer = with_client(&io_loop, move || talk(&mut early, "hello\n"));
    assert_eq!(answer, "hello\n");
}

/// A listener that no loop takes: a descriptor of another kind.
#[cfg(target_os = "linux")]
fn impostor() -> TcpListener {
    let file = std::fs::File::open("/dev/null").expect("a file");
    TcpListener::from(std::os::fd::OwnedFd::from(file))
}

#[test]
#[cfg(target_os = "linux")]
fn ts4_when_one_listener_is_refused_none_is_served_and_all_are_closed() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let (before, address_before) = loopback();
    server.add_socket(before).expect("a listener");
    let (first, first_address) = loopback();
    let (last, last_address) = loopback();
    let error = server.add_sockets([first, impostor(), last]).expect_err("one of them is a file");
    assert!(matches!(error, ListenError::Register(_)), "{error}");
    assert!(refused(first_address) && refused(last_address));
    let answer = with_client(&io_loop, move || talk(&mut connect(address_before), "hello\n"));
    assert_eq!(answer, "hello\n", "what was served before is served on");
    run_until(&io_loop, || server.open_connections() == 0);
    assert_eq!(io_loop.counters().sources, 1, "and nothing else is left");
}

#[test]
fn ts4_a_listener_that_was_made_before_or_removed_elsewhere_can_be_added() {
    let io_loop = current_loop();
    let (listener, address) = loopback();
    let handle = tcpserver::add_accept_handler(listener, |_, _| {}).expect("a listener");
    let server = TcpServer::new(echo);
    server.add_socket(handle.remove().expect("the listener")).expect("it can be added again");
    let answer = with_client(&io_loop, move || talk(&mut connect(address), "hello\n"));
    assert_eq!(answer, "hello\n");
}

#[test]
fn ts6_stop_closes_the_listeners_and_leaves_live_connections_alone() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let mut client = with_client(&io_loop, move || {
        let mut client = connect(address);
        assert_eq!(talk(&mut client, "before\n"), "before\n");
        client
    });
    server.stop();
    assert!(refused(address));
    let answer = with_client(&io_loop, move || talk(&mut client, "after\n"));
    assert_eq!(answer, "after\n");
}

#[test]
fn ts6_stop_twice_is_harmless_and_the_server_may_listen_again_and_stop_again() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    server.stop();
    let (listener, first) = loopback();
    server.add_socket(listener).expect("a listener");
    server.stop();
    server.stop();
    assert!(refused(first));
    let (listener, second) = loopback();
    server.add_socket(listener).expect("a listener");
    let answer = with_client(&io_loop, move || talk(&mut connect(second), "hello\n"));
    assert_eq!(answer, "hello\n");
    server.stop();
    assert!(refused(second), "in Tornado it would listen on");
}

#[test]
fn ts6_a_handler_may_stop_its_server_while_more_connections_queue() {
    let io_loop = current_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(async |stream: IoStream, context: ConnectionContext| {
        context.server().stop();
        stream.write("stopped").await
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let answers = with_client(&io_loop, move || {
        // Some are served, some find nobody, and some are thrown out of the queue.
        let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address)).collect();
        let answers = clients.into_iter().flatten().map(|mut client| {
            // Whose connection was lost between the kernel's two ends as the listener closed hears of it only when it sends.
            let _done_or_gone = client.shutdown(Shutdown::Write);
            read_to_end(&mut client)
        });
        answers.filter(|answer| answer.as_deref() == Some(b"stopped")).count()
    });
    assert!(answers >= 1);
    assert!(refused(address));
    run_until(&io_loop, || server.open_connections() == 0);
    assert_eq!(server.accepted_connections(), answers as u64, "whoever was accepted was served");
    assert_eq!(log.at(Level::ERROR), [""; 0]);
}

#[test]
fn ts6_a_loop_that_closes_closes_listeners_and_connections_though_the_server_lives() {
    let io_loop = current_loop();
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&kept);
    let server = TcpServer::new(move |stream: IoStream, _| {
        keep.borrow_mut().push(stream.clone());
        async move { stream.closed().await }
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let mut client = connect(address);
    run_until(&io_loop, || kept.borrow().len() == 1);
    io_loop.close();
    assert!(refused(address));
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    assert_eq!(server.open_connections(), 0);
    assert!(kept.borrow()[0].is_closed());
}

#[test]
fn ts3_listeners_of_one_server_have_each_their_own_options_and_are_counted_together() {
    let io_loop = current_loop();
    let (log, _guard) = Log::begin();
    let labels = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&labels);
    let server = TcpServer::new(move |stream: IoStream, context: ConnectionContext| {
        seen.borrow_mut().push(context.label().map(str::to_owned));
        async move {
            stream.read_bytes(5).await?;
            Err::<(), _>(std::io::Error::other("enough"))
        }
    });
    let (plain, at_plain) = loopback();
    let (narrow, at_narrow) = loopback();
    server.add_socket(plain).expect("a listener");
    let limits = StreamOptions::new().max_buffer_size(4);
    let other = server.with(ListenOptions::new().label("narrow").stream_options(limits));
    other.add_socket(narrow).expect("a listener");
    with_client(&io_loop, move || {
        for address in [at_plain, at_narrow] {
            let mut stream = connect(address);
            stream.write_all(b"hello").expect("the server listens");
            read_to_end(&mut stream);
        }
    });
    assert_eq!(*labels.borrow(), [None, Some("narrow".to_owned())]);
    assert_eq!(server.accepted_connections(), 2, "one server");
    let lines = log.at(Level::ERROR);
    assert!(lines[0].contains("enough") && !lines[0].contains("label"), "{lines:?}");
    assert!(lines[1].contains("label=\"narrow\"") && !lines[1].contains("enough"), "{lines:?}");
    server.stop();
    assert!(refused(at_plain) && refused(at_narrow), "stopped as one");
}
