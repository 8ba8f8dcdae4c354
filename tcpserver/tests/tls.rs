//! A listener that speaks TLS: the handshake before the handler (TS10), on virtual time, over pairs in memory.

mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::for_each_seed;
use iostream::testing::{Pair, pair};
use iostream::tls::{
    DEFAULT_HANDSHAKE_TIMEOUT, Pem, TlsAcceptor, TlsClientConfig, TlsConfigError, TlsServerConfig,
};
use iostream::{CloseReason, IoStream, StreamError};
use support::{Log, echo, virtual_loop};
use tcpserver::{
    ConnectionContext, ConnectionState, DrainPhase, HandleStream, ListenOptions, PeerAddr, ProxyProtocol,
    TcpServer,
};
use tracing::Level;

const NAME: &str = "server.test";

/// A server's configuration for `NAME`, and a client that trusts nobody else.
fn sides() -> (TlsServerConfig, TlsClientConfig) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key));
    let client = TlsClientConfig::builder().trust(Pem::text(&chain));
    (server.build().expect("it fits"), client.build().expect("it is one"))
}

/// A new connection of `server`: the client's end.
fn client_of<H: HandleStream>(server: &TcpServer<H>) -> IoStream {
    let (client, accepted) = pair();
    server.add_stream(accepted, PeerAddr::Unix(None));
    client
}

async fn speak(client: &IoStream, config: &TlsClientConfig) -> Result<(), StreamError> {
    client.start_tls_client(config, NAME).await?;
    client.write("hello\n").await?;
    assert_eq!(client.read_until(b"\n").await?, "hello\n");
    Ok(())
}

#[test]
fn ts10_the_handshake_is_done_before_the_handler_is_called_which_knows_what_came_of_it() {
    let test = virtual_loop();
    let (server, config) = sides();
    let names = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&names);
    let handler = move |stream: IoStream, context: ConnectionContext| {
        let info = context.tls_info().expect("the handshake is done");
        seen.borrow_mut().push(info.server_name().map(str::to_owned));
        echo(stream, context)
    };
    let server = TcpServer::new(handler).tls(server);
    let client = client_of(&server);
    test.run_until_stalled();
    assert_eq!(server.connections()[0].state, ConnectionState::Opening);
    assert_eq!((names.borrow().len(), server.drain_progress().active), (0, 1));
    test.run(speak(&client, &config)).expect("TLS");
    assert_eq!(*names.borrow(), [Some(NAME.to_owned())]);
    assert_eq!(server.connections()[0].state, ConnectionState::Serving);
    assert_eq!((server.metrics().bytes_received, server.metrics().bytes_sent), (6, 6));
}

#[test]
fn ts10_listeners_with_and_without_tls_stand_side_by_side() {
    let test = virtual_loop();
    let (server, config) = sides();
    let plain = TcpServer::new(echo);
    let secure = plain.with(ListenOptions::new().tls(server));
    let (plain_client, secure_client) = (client_of(&plain), client_of(&secure));
    test.run(async {
        speak(&secure_client, &config).await.expect("TLS");
        plain_client.write("hello\n").await.expect("a connection");
        assert_eq!(plain_client.read_until(b"\n").await.expect("no TLS"), "hello\n");
    });
    assert_eq!(plain.open_connections(), 2);
}

#[test]
fn ts10_ts11_a_proxy_names_its_client_before_the_handshake_however_both_are_cut() {
    let (acceptor, config) = sides();
    for_each_seed(200, |test| {
        test.make_current();
        let known = Rc::new(Cell::new(false));
        let seen = Rc::clone(&known);
        let handler = move |stream: IoStream, context: ConnectionContext| {
            let is_client = context.client_addr().to_string() == "203.0.113.9:4660";
            seen.set(is_client && context.tls_info().is_some());
            echo(stream, context)
        };
        let options = ListenOptions::new().proxy_protocol(ProxyProtocol::required()).tls(acceptor.clone());
        let server = TcpServer::new(handler).with(options);
        let client = client_of(&server);
        test.run(async {
            drop(client.write("PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\n"));
            client.flush().await.expect("a connection");
            speak(&client, &config).await.expect("TLS");
        });
        assert!(known.get());
    });
}

#[test]
fn ts10_a_peer_that_says_nothing_is_let_go_when_the_handshake_has_had_its_time() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let called = Rc::new(Cell::new(false));
    let calls = Rc::clone(&called);
    let handler = move |_: IoStream, _: ConnectionContext| {
        calls.set(true);
        pending::<()>()
    };
    let server = TcpServer::new(handler).tls(sides().0);
    let _silent = client_of(&server);
    test.advance(DEFAULT_HANDSHAKE_TIMEOUT - Duration::from_millis(1));
    assert_eq!(server.open_connections(), 1);
    test.advance(Duration::from_millis(1));
    assert_eq!((server.open_connections(), server.metrics().timed_out.handshake), (0, 1));
    assert!(!called.get() && log.at(Level::WARN).is_empty() && log.at(Level::ERROR).is_empty());
}

#[test]
fn ts10_what_is_no_tls_is_counted_and_logged_a_line_in_ten_seconds() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo).tls(sides().0);
    let throw = |count| {
        for _ in 0..count {
            drop(client_of(&server).write("GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"));
            test.run_until_stalled();
        }
    };
    throw(50);
    test.advance(Duration::from_secs(10));
    throw(2);
    assert_eq!((server.open_connections(), server.metrics().handshake_errors), (0, 52));
    let lines = log.at(Level::WARN);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("left_out=49") && lines[1].contains("does not speak TLS"), "{lines:?}");
    assert!(log.at(Level::ERROR).is_empty());
}

#[test]
fn ts10_a_peer_that_only_knocks_is_no_failure() {
    let test = virtual_loop();
    let (log, _guard) = Log::begin();
    let server = TcpServer::new(echo).tls(sides().0);
    for words in ["", "\x16\x03\x01\x00"] {
        let client = client_of(&server);
        test.run_until_stalled();
        drop(client.write(words));
        client.close();
        test.run_until_stalled();
    }
    let metrics = server.metrics();
    assert_eq!((metrics.active, metrics.accepted, metrics.handshake_errors), (0, 2, 0));
    assert!(log.at(Level::WARN).is_empty());
}

#[test]
fn ts10_handshakes_wait_for_their_turn_and_a_slow_one_gives_way_after_a_second() {
    let test = virtual_loop();
    let (server, config) = sides();
    let server = TcpServer::new(echo).tls(server).max_handshakes(2);
    let _silent: Vec<_> = (0..2).map(|_| client_of(&server)).collect();
    test.run_until_stalled();
    test.advance(Duration::from_millis(600));
    let honest: Vec<_> = (0..3).map(|_| client_of(&server)).collect();
    let done = Rc::new(Cell::new(0));
    for client in &honest {
        let (client, config, done) = (client.clone(), config.clone(), Rc::clone(&done));
        test.spawn_detached(async move {
            speak(&client, &config).await.expect("TLS");
            done.set(done.get() + 1);
        });
    }
    test.advance(Duration::from_millis(399));
    assert_eq!((done.get(), server.metrics().shed.handshakes), (0, 0), "they wait");
    test.advance(Duration::from_millis(1));
    let metrics = server.metrics();
    assert_eq!((done.get(), metrics.active), (3, 3), "two places are enough for all three");
    assert_eq!((metrics.shed.handshakes, metrics.timed_out.handshake), (2, 0));
}

#[test]
fn ts10_a_slow_handshake_has_all_its_time_while_nobody_waits() {
    let test = virtual_loop();
    let (server, config) = sides();
    let server = TcpServer::new(echo).tls(server).max_handshakes(1);
    let client = client_of(&server);
    test.advance(Duration::from_secs(9));
    test.run(speak(&client, &config)).expect("TLS");
}

#[test]
fn ts10_a_connection_is_as_old_as_its_socket_and_not_as_its_tls() {
    let test = virtual_loop();
    let (server, config) = sides();
    let age = Rc::new(Cell::new(Duration::ZERO));
    let seen = Rc::clone(&age);
    let handler = move |stream: IoStream, context: ConnectionContext| {
        seen.set(stream.now() - context.opened());
        echo(stream, context)
    };
    let server = TcpServer::new(handler).tls(server);
    let client = client_of(&server);
    test.advance(Duration::from_secs(9));
    test.run(speak(&client, &config)).expect("TLS");
    assert_eq!(age.get(), Duration::from_secs(9));
}

#[test]
fn ts10_who_waits_for_a_place_is_let_go_after_as_long_or_when_the_server_aborts() {
    let test = virtual_loop();
    let (config, _) = sides();
    let server =
        TcpServer::new(echo).tls(config.handshake_timeout(Duration::from_millis(500))).max_handshakes(1);
    let _silent: Vec<_> = (0..3).map(|_| client_of(&server)).collect();
    test.advance(Duration::from_millis(499));
    assert_eq!(server.open_connections(), 3);
    test.advance(Duration::from_millis(1));
    assert!(server.open_connections() <= 1, "one that has got the place in time");
    test.advance(Duration::from_millis(500));
    assert_eq!((server.open_connections(), server.metrics().timed_out.handshake), (0, 3));
    let _silent: Vec<_> = (0..4).map(|_| client_of(&server)).collect();
    test.run_until_stalled();
    server.abort();
    test.run_until_stalled();
    assert_eq!((server.open_connections(), server.metrics().timed_out.handshake), (0, 3));
}

#[test]
fn ts10_a_new_certificate_is_for_those_who_come_later() {
    let test = virtual_loop();
    let (old, new) = (sides(), sides());
    let acceptor = TlsAcceptor::new(old.0);
    let server = TcpServer::new(echo).tls(acceptor.clone());
    let before = client_of(&server);
    test.run(speak(&before, &old.1)).expect("the old one");
    acceptor.replace(new.0);
    test.run(async {
        speak(&client_of(&server), &new.1).await.expect("the new one");
        let refused = speak(&client_of(&server), &old.1).await;
        assert!(matches!(refused, Err(StreamError::Closed(CloseReason::Tls(_)))), "{refused:?}");
        before.write("hello\n").await.expect("it stands");
        assert_eq!(before.read_until(b"\n").await.expect("it stands"), "hello\n");
    });
}

#[test]
fn ts10_a_drain_waits_for_a_handshake_that_is_under_way_no_longer_than_its_grace() {
    let test = virtual_loop();
    let (server, _) = sides();
    let server = TcpServer::new(echo).tls(server);
    let _silent = client_of(&server);
    test.run_until_stalled();
    let report = test.run(server.drain(Duration::from_secs(3)));
    assert_eq!((report.aborted, report.took), (1, Duration::from_secs(3)));
    assert_eq!(server.drain_progress().phase, DrainPhase::Drained);
}

/// Clients that shake hands, knock or say nothing, with places for three, over wires with faults, in whatever order things are
/// ready: no place is lost, and the honest are served in the end unless their wire breaks.
#[test]
fn ts10_no_place_is_lost_in_whatever_order_handshakes_come_fail_and_end() {
    let (config, client) = sides();
    for_each_seed(20, |test| {
        test.make_current();
        let server = TcpServer::new(echo).tls(config.clone()).max_handshakes(3);
        let served = Rc::new(Cell::new(0));
        let mut silent = Vec::new();
        for n in 0..12 {
            let pair = Pair::seeded(n);
            server.add_stream(pair.right, PeerAddr::Unix(None));
            match n % 3 {
                0 => silent.push(pair.left),
                1 => pair.left.close(),
                _ => {
                    let (config, served) = (client.clone(), Rc::clone(&served));
                    IoLoop::current().spawn_detached(async move {
                        speak(&pair.left, &config).await.expect("TLS");
                        served.set(served.get() + 1);
                    });
                }
            }
        }
        test.advance(2 * DEFAULT_HANDSHAKE_TIMEOUT);
        assert_eq!((served.get(), server.open_connections()), (4, 0));
        let late = client_of(&server);
        test.run(speak(&late, &client)).expect("there is room");
    });
}

/// On real sockets: the client's side ends beneath its TLS.
#[test]
fn io53_a_line_that_is_whole_is_answered_before_the_cut_is_told_which_nobody_logs() {
    let (log, _guard) = Log::begin();
    let io_loop = support::current_loop();
    let (listener, address) = support::loopback();
    let (config, client) = sides();
    let server = TcpServer::new(echo).tls(config);
    server.add_socket(listener).expect("a listener");
    let back = io_loop.run_sync(async {
        let socket = std::net::TcpStream::connect(address).expect("somebody listens");
        let beneath = socket.try_clone().expect("a descriptor");
        let stream = IoStream::new(socket).expect("a stream");
        stream.start_tls_client(&client, NAME).await?;
        stream.write("one\ntwo\nthr").await?;
        beneath.shutdown(std::net::Shutdown::Write).expect("an open connection");
        stream.read_until_close().await
    });
    assert_eq!(back.expect("it runs").expect("an end that was said"), "one\ntwo\n");
    support::run_until(&io_loop, || server.open_connections() == 0);
    assert_eq!(server.metrics().handler_errors, 0);
    assert!(log.at(Level::ERROR).is_empty() && log.at(Level::WARN).is_empty());
}

#[test]
fn ts2_a_certificate_is_read_and_checked_before_there_is_a_server_to_give_it_to() {
    let (one, other) = ["one.test", "other.test"]
        .map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate"))
        .into();
    let (chain, key) = (one.cert.pem(), other.signing_key.serialize_pem());
    let mismatched = TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key)).build();
    assert!(matches!(mismatched, Err(TlsConfigError::KeyMismatch)), "{mismatched:?}");
    let missing = TlsServerConfig::builder().build();
    assert!(matches!(missing, Err(TlsConfigError::MissingCertificate)), "{missing:?}");
    let nowhere = TlsServerConfig::from_pem_files("/no/such/chain.pem", "/no/such/key.pem");
    assert!(matches!(nowhere, Err(TlsConfigError::Read { .. })), "{nowhere:?}");
}
