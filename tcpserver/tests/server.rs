//! TcpServer with real sockets: handlers, and what they are told (TS1, TS7, TS11, TS12).

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;

use iostream::{IoStream, StreamError, StreamOptions};
use support::{Log, connect, current_loop, echo, loopback, read_to_end, run_until, talk, with_client};
use tcpserver::{ConnectionContext, HandleStream, Outcome, PeerAddr, TcpServer};
use tracing::Level;

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
#[cfg(unix)]
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

#[cfg(target_os = "linux")]
#[test]
fn ts11_a_unix_peer_is_known_by_process_user_and_group_and_a_tcp_peer_by_the_address_it_has_reached() {
    use std::os::unix::net::UnixStream;

    use rustix::process::{getegid, geteuid, getpid};
    use tcpserver::{BindOptions, UnixBindOptions};

    let io_loop = current_loop();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let known = Rc::clone(&seen);
    let server = TcpServer::new(move |_: IoStream, context: ConnectionContext| {
        known.borrow_mut().push((context.peer_credentials(), context.local_addr()));
        async {}
    });
    let path = std::env::temp_dir().join(format!("waterspout-credentials-{}", std::process::id()));
    server.listen_unix(&path, &UnixBindOptions::new()).expect("a free path");
    let address = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).expect("a port")[0];
    let at = path.clone();
    with_client(&io_loop, move || {
        let mut rest = Vec::new();
        UnixStream::connect(at).expect("it listens").read_to_end(&mut rest).expect("an end");
        connect(address).read_to_end(&mut rest).expect("an end");
    });
    let seen = seen.borrow();
    let (peer, local) = seen[0];
    let peer = peer.expect("it is known");
    assert_eq!(peer.process, Some(getpid().as_raw_nonzero().get() as u32));
    assert_eq!((peer.user, peer.group), (geteuid().as_raw(), getegid().as_raw()));
    assert_eq!((local, seen[1]), (None, (None, Some(address))));
    std::fs::remove_file(path).expect("its file stays");
}
