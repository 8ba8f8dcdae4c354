//! TcpServer with real sockets: listening, handlers and stopping (TS1, TS3, TS4, TS6, TS7, TS11, TS12).

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use iostream::{IoStream, StreamError, StreamOptions};
use netutil::{BindOptions, bind_sockets};
use support::{Log, connect, current_loop, loopback, read_to_end, run_until, talk, with_client};
use tcpserver::{ConnectionContext, HandleStream, ListenError, Outcome, PeerAddr, TcpServer};
use tracing::Level;

async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until_max(b"\n", 8192).await?;
        stream.write(line).await?;
    }
}

fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn ts1_a_function_serves_a_connection() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let answer = with_client(&io_loop, move || talk(&mut connect(address), "hello\n"));
    assert_eq!(answer, "hello\n");
}

#[test]
fn ts1_a_closure_serves_a_connection() {
    let io_loop = current_loop();
    let greeting = Rc::new("hello".to_owned());
    let server = TcpServer::new(move |stream: IoStream, context: ConnectionContext| {
        let greeting = Rc::clone(&greeting);
        async move {
            drop(stream.write(format!("{greeting} number {}", context.id())));
        }
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let heard = with_client(&io_loop, move || [(); 2].map(|()| read_to_end(&mut connect(address))));
    assert_eq!(heard, [Some(b"hello number 1".to_vec()), Some(b"hello number 2".to_vec())]);
}

/// Counts what its connections say.
struct Counting {
    bytes: Rc<Cell<usize>>,
}

impl HandleStream for Counting {
    fn handle_stream(
        &self,
        stream: IoStream,
        _context: ConnectionContext,
    ) -> impl Future<Output: Outcome> + 'static {
        let bytes = Rc::clone(&self.bytes);
        async move {
            let all = stream.read_until_close().await?;
            bytes.set(bytes.get() + all.len());
            Ok::<(), StreamError>(())
        }
    }
}

#[test]
fn ts1_a_type_with_state_of_its_own_serves_connections() {
    let io_loop = current_loop();
    let bytes = Rc::new(Cell::new(0));
    let server = TcpServer::new(Counting { bytes: Rc::clone(&bytes) });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    with_client(&io_loop, move || {
        for _ in 0..3 {
            connect(address).write_all(b"four").expect("it reads");
        }
    });
    run_until(&io_loop, || bytes.get() == 12);
}

#[test]
fn ts1_the_limits_of_a_stream_are_those_of_its_server() {
    let io_loop = current_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo).stream_options(StreamOptions::new().max_buffer_size(4));
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    with_client(&io_loop, move || {
        let mut client = connect(address);
        assert_eq!(talk(&mut client, "abc\n"), "abc\n");
        client.write_all(b"abcd\n").expect("it listens");
        read_to_end(&mut client);
    });
    run_until(&io_loop, || server.open_connections() == 0);
    let errors = log.at(Level::ERROR);
    assert!(errors.len() == 1 && errors[0].contains("limit of 4 bytes"), "{errors:?}");
}

#[test]
fn ts1_nagles_algorithm_is_off_for_a_connection() {
    let io_loop = current_loop();
    let seen = Rc::new(RefCell::new(None));
    let record = Rc::clone(&seen);
    let server = TcpServer::new(move |stream: IoStream, _| {
        let nodelay =
            stream.with_descriptor(|descriptor| socket2::SockRef::from(&descriptor).tcp_nodelay().ok());
        record.replace(nodelay.flatten());
        async {}
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let _client = connect(address);
    run_until(&io_loop, || seen.borrow().is_some());
    assert_eq!(*seen.borrow(), Some(true));
}

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
fn impostor() -> TcpListener {
    TcpListener::from(OwnedFd::from(File::open("/dev/null").expect("a file")))
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
        let answers = clients.into_iter().flatten().map(|mut client| read_to_end(&mut client));
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
fn ts7_a_handler_that_does_all_its_work_at_once_is_a_handler() {
    let io_loop = current_loop();
    let server = TcpServer::new(|stream: IoStream, _| {
        drop(stream.write("done"));
        std::future::ready(())
    });
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let heard = with_client(&io_loop, move || read_to_end(&mut connect(address)));
    assert_eq!(heard.as_deref(), Some(&b"done"[..]));
}

#[test]
fn ts7_handlers_of_different_connections_run_side_by_side() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let clients = with_client(&io_loop, move || {
        let mut clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.write_all(b"half ").expect("it reads");
        }
        for client in clients.iter_mut().rev() {
            client.write_all(b"whole\n").expect("it reads");
            let mut answer = [0; 11];
            client.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"half whole\n");
        }
        clients
    });
    assert_eq!(server.open_connections(), clients.len());
}

#[test]
fn ts7_sixteen_lines_that_arrive_together_are_answered_in_order_and_together() {
    use ioloop::testing::VirtualLoop;

    let test = VirtualLoop::new();
    test.make_current();
    // A handler runs over any transport; this one counts.
    let (transport, script) = iostream::testing::scripted();
    let stream = IoStream::new(transport).expect("a stream");
    let handler = |stream: IoStream, _: ConnectionContext| async move {
        loop {
            let line = stream.read_until_max(b"\n", 8192).await?;
            let sent = stream.write(line);
            if stream.pending() >= 64 * 1024 {
                sent.await?;
            }
        }
        #[expect(unreachable_code, reason = "says what the errors are")]
        Ok::<(), StreamError>(())
    };
    let served = HandleStream::handle_stream(&handler, stream, ConnectionContext::new(PeerAddr::Unix(None)));
    let lines: String = (0..16).map(|number| format!("line {number}\n")).collect();
    script.send(lines.as_bytes());
    test.spawn_detached(async move { assert_eq!(served.await.failure(), None) });
    test.run_until_stalled();
    assert_eq!(script.received(), lines.as_bytes());
    assert_eq!((script.calls().reads, script.calls().writes), (1, 1));
}

#[test]
fn ts11_the_peers_address_is_told_by_family() {
    let io_loop = current_loop();
    let peers = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&peers);
    let server = TcpServer::new(move |_, context: ConnectionContext| {
        record.borrow_mut().push(context.peer_addr().clone());
        async {}
    });
    let mut expected = Vec::new();
    let mut clients = Vec::new();
    for host in ["127.0.0.1", "::1"] {
        let Ok(listener) = TcpListener::bind((host, 0)) else {
            println!("no {host} on this machine");
            continue;
        };
        let client = connect(listener.local_addr().expect("a bound socket"));
        server.add_socket(listener).expect("a listener");
        expected.push(PeerAddr::Tcp(client.local_addr().expect("a connected socket")));
        clients.push(client);
    }
    run_until(&io_loop, || peers.borrow().len() == expected.len());
    assert_eq!(*peers.borrow(), expected);
    assert_eq!(peers.borrow()[0].ip(), Some(std::net::Ipv4Addr::LOCALHOST.into()));
    assert_eq!(
        peers.borrow()[0].to_string(),
        clients[0].local_addr().expect("a connected socket").to_string()
    );
}

#[test]
#[cfg(unix)]
fn ts11_a_unix_peer_has_no_name_or_that_of_its_socket() {
    use netutil::{UnixBindOptions, bind_unix_socket};
    use socket2::{Domain, SockAddr, Socket, Type};

    let io_loop = current_loop();
    let peers = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&peers);
    let server = TcpServer::new(move |_, context: ConnectionContext| {
        record.borrow_mut().push(context.peer_addr().clone());
        async {}
    });
    let directory = std::env::temp_dir();
    let path = directory.join(format!("tcpserver-{}", std::process::id()));
    let client_path = directory.join(format!("tcpserver-client-{}", std::process::id()));
    let listener = bind_unix_socket(&path, &UnixBindOptions::new()).expect("a free path");
    server.add_socket(listener).expect("a listener");
    let _unnamed = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    let named = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    named.bind(&SockAddr::unix(&client_path).expect("a path")).expect("a free path");
    named.connect(&SockAddr::unix(&path).expect("a path")).expect("it listens");
    for path in [&path, &client_path] {
        std::fs::remove_file(path).expect("the socket's file");
    }
    run_until(&io_loop, || peers.borrow().len() == 2);
    assert_eq!(*peers.borrow(), [PeerAddr::Unix(None), PeerAddr::Unix(Some(Box::new(client_path)))]);
    assert!(peers.borrow()[0].ip().is_none());
}

#[test]
fn ts12_the_server_counts_its_connections() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo);
    let handle = server.clone();
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let mut clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
    run_until(&io_loop, || server.open_connections() == 3);
    clients.pop();
    run_until(&io_loop, || server.open_connections() == 2);
    assert_eq!(handle.accepted_connections(), 3);
}
