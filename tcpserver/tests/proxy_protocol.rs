//! Listeners whose connections begin with a PROXY protocol header. Transports are scripted, time is virtual.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::testing::{Script, scripted};
use iostream::{IoStream, StreamError, StreamOptions};
use support::{Log, connect, loopback, run_until, talk};
use tcpserver::{
    ConnectionContext, HandleStream, ListenOptions, Metrics, PeerAddr, ProxyProtocol, TcpServer,
};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

/// From 203.0.113.9:4660 to 198.51.100.7:443, with the name of the host that was asked for.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x1a\xcb\x00\x71\x09\xc6\x33\x64\x07\x12\x34\x01\xbb\x02\x00\x0bexample.net";
const TEXT: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\n";

/// What a handler has been told, and what its client said.
type Heard = Rc<RefCell<Vec<String>>>;

struct Stage {
    test: VirtualLoop,
    heard: Heard,
}

impl Stage {
    fn new() -> Stage {
        let test = VirtualLoop::new();
        test.make_current();
        Stage { test, heard: Rc::default() }
    }

    fn server(&self, policy: ProxyProtocol) -> TcpServer<impl HandleStream> {
        let heard = Rc::clone(&self.heard);
        let handler = move |stream, context| listen_to(stream, context, Rc::clone(&heard));
        TcpServer::new(handler).with(ListenOptions::new().proxy_protocol(policy))
    }

    /// A connection from `ip`, which has been accepted.
    fn connect(&self, server: &TcpServer<impl HandleStream>, ip: &str) -> Script {
        let (transport, script) = scripted();
        let peer = PeerAddr::Tcp(format!("{ip}:9").parse().expect("an address"));
        server.add_stream(IoStream::new(transport).expect("a stream"), peer);
        self.test.run_until_stalled();
        script
    }

    /// What came to the handler of one connection from `ip` that says `input` and no more.
    fn heard_from(&self, policy: ProxyProtocol, ip: &str, input: &[u8]) -> Option<String> {
        let script = self.connect(&self.server(policy), ip);
        script.send(input);
        script.finish();
        self.test.run_until_stalled();
        self.heard.borrow_mut().pop()
    }
}

async fn listen_to(stream: IoStream, context: ConnectionContext, heard: Heard) -> Result<(), StreamError> {
    let authority = context.proxy_header().and_then(|header| header.authority()).unwrap_or("-");
    let who = format!("{} for {} {authority}", context.peer_addr(), context.client_addr());
    let said = stream.read_until_close().await?;
    heard.borrow_mut().push(format!("{who}: {}", String::from_utf8_lossy(&said)));
    Ok(())
}

/// What is counted of headers that were no good: all, those that were late, clients that were too many.
fn counted(metrics: &Metrics) -> (u64, u64, u64) {
    (metrics.proxy_failures, metrics.timed_out.proxy_header, metrics.shed.per_ip)
}

#[test]
fn ts11_the_handler_is_told_who_the_client_is_and_hears_what_follows_the_header() {
    let stage = Stage::new();
    let heard = |input: &[u8]| stage.heard_from(ProxyProtocol::required(), "192.0.2.1", input);
    for (header, authority) in [(TEXT, "-"), (BINARY, "example.net")] {
        let expected = format!("192.0.2.1:9 for 203.0.113.9:4660 {authority}: hello");
        assert_eq!(heard(&[header, b"hello"].concat()), Some(expected));
    }
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for nobody in [&b"PROXY UNKNOWN\r\n"[..], local] {
        assert_eq!(heard(nobody).as_deref(), Some("192.0.2.1:9 for 192.0.2.1:9 -: "));
    }
}

#[test]
fn a_header_may_come_in_any_two_pieces_and_byte_by_byte() {
    let stage = Stage::new();
    for (header, authority) in [(TEXT, "-"), (BINARY, "example.net")] {
        let expected = format!("192.0.2.1:9 for 203.0.113.9:4660 {authority}: x");
        let all = [header, b"x"].concat();
        for cut in 1..all.len() {
            let script = stage.connect(&stage.server(ProxyProtocol::required()), "192.0.2.1");
            for piece in [&all[..cut], &all[cut..]] {
                script.send(piece);
                stage.test.run_until_stalled();
            }
            script.finish();
            stage.test.run_until_stalled();
            assert_eq!(stage.heard.borrow_mut().pop().as_deref(), Some(&*expected), "cut at {cut}");
        }
        let script = stage.connect(&stage.server(ProxyProtocol::required()), "192.0.2.1");
        script.send_in_segments(&all, 1);
        script.finish();
        stage.test.run_until_stalled();
        assert_eq!(stage.heard.borrow_mut().pop(), Some(expected));
    }
}

#[test]
fn without_a_policy_a_header_is_what_the_client_says() {
    let stage = Stage::new();
    let heard = Rc::clone(&stage.heard);
    let server = TcpServer::new(move |stream, context| listen_to(stream, context, Rc::clone(&heard)));
    let script = stage.connect(&server, "192.0.2.1");
    script.send("PROXY UNKNOWN\r\n");
    script.finish();
    stage.test.run_until_stalled();
    assert_eq!(*stage.heard.borrow(), ["192.0.2.1:9 for 192.0.2.1:9 -: PROXY UNKNOWN\r\n"]);
}

#[test]
fn where_a_header_is_required_who_sends_none_is_closed_counted_and_logged_now_and_then() {
    let stage = Stage::new();
    let (log, _guard) = Log::begin();
    let server = stage.server(ProxyProtocol::required());
    for _ in 0..10 {
        let script = stage.connect(&server, "192.0.2.1");
        script.send("GET / HTTP/1.1\r\n");
        stage.test.run_until_stalled();
    }
    let metrics = server.metrics();
    assert_eq!((counted(&metrics), metrics.accepted, metrics.active), ((10, 0, 0), 10, 0));
    assert!(stage.heard.borrow().is_empty());
    stage.test.advance(10 * SECOND);
    stage.connect(&server, "192.0.2.1").send("PROXY TCP5 \r\n");
    stage.test.run_until_stalled();
    let lines = log.at(Level::WARN);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("error=no PROXY protocol header peer=192.0.2.1:9"), "{lines:?}");
    assert!(lines[1].contains("malformed") && lines[1].contains("left_out=9"), "{lines:?}");
}

#[test]
fn a_header_that_is_late_costs_the_connection_whatever_trickles_in() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::required().timeout(3 * SECOND));
    let scripts = ["", "PROXY TCP4 203.0.113.9"].map(|begun| {
        let script = stage.connect(&server, "192.0.2.1");
        script.send(begun);
        script
    });
    for _ in 0..2 {
        stage.test.advance(SECOND);
        scripts[1].send(" ");
        stage.test.run_until_stalled();
    }
    assert_eq!(server.open_connections(), 2);
    stage.test.advance(SECOND);
    assert_eq!((server.open_connections(), counted(&server.metrics())), (0, (2, 2, 0)));
    assert!(stage.heard.borrow().is_empty());
}

#[test]
fn by_default_a_header_has_five_seconds_and_4096_bytes() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::required());
    let _silent = stage.connect(&server, "192.0.2.1");
    stage.test.advance(5 * SECOND - Duration::from_millis(1));
    assert_eq!(server.open_connections(), 1);
    stage.test.advance(Duration::from_millis(1));
    assert_eq!(server.open_connections(), 0);

    let with_length = |length: u16| [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length.to_be_bytes()[..]].concat();
    let script = stage.connect(&server, "192.0.2.1");
    script.send(with_length(4080));
    stage.test.run_until_stalled();
    assert_eq!(server.open_connections(), 1);
    stage.connect(&server, "192.0.2.1").send(with_length(4081));
    stage.test.run_until_stalled();
    assert_eq!((server.open_connections(), counted(&server.metrics())), (1, (2, 1, 0)));
}

#[test]
fn a_header_beyond_the_limit_of_the_stream_is_refused() {
    let stage = Stage::new();
    let (log, _guard) = Log::begin();
    let options = ListenOptions::new()
        .stream_options(StreamOptions::new().max_buffer_size(64).read_chunk_size(64))
        .proxy_protocol(ProxyProtocol::required());
    let server = TcpServer::new(|_: IoStream, _: ConnectionContext| async {}).with(options);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let mut client = connect(address);
    std::io::Write::write_all(
        &mut client,
        &[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x02\x00", &[0; 512][..]].concat(),
    )
    .expect("a connection");
    run_until(&stage.test, || server.metrics().proxy_failures == 1);
    assert!(log.at(Level::WARN)[0].contains("longer than 64 bytes"), "{:?}", log.at(Level::WARN));
}

#[test]
fn who_goes_away_within_a_header_is_counted_and_who_says_nothing_is_not() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::required());
    for begun in ["", "PROXY TCP4", ""] {
        let script = stage.connect(&server, "192.0.2.1");
        script.send(begun);
        script.finish();
        stage.test.run_until_stalled();
    }
    assert_eq!((server.open_connections(), counted(&server.metrics())), (0, (1, 0, 0)));
}

#[test]
fn only_trusted_networks_may_send_a_header_where_those_are_named() {
    let stage = Stage::new();
    let policy = || ProxyProtocol::required_from(["10.0.0.0/8"]).expect("a network");
    let input = [TEXT, b"hello"].concat();
    let server = stage.server(policy());
    stage.connect(&server, "192.0.2.1").send(&input);
    stage.test.run_until_stalled();
    assert_eq!(counted(&server.metrics()), (1, 0, 0));
    assert!(stage.heard.borrow().is_empty());
    for trusted in ["10.1.2.3", "[::ffff:10.1.2.3]"] {
        let heard = stage.heard_from(policy(), trusted, &input);
        assert_eq!(heard, Some(format!("{trusted}:9 for 203.0.113.9:4660 -: hello")));
    }
    assert!(ProxyProtocol::required_from(["10.0.0.0/8", "10.1.2.3/8"]).is_err());
}

#[test]
fn where_a_header_is_optional_trusted_peers_may_send_one_and_what_others_send_is_theirs() {
    let stage = Stage::new();
    let policy = || ProxyProtocol::optional_from(["10.0.0.0/8"]).expect("a network");
    for (ip, input, expected) in [
        ("10.1.2.3", "hello", "10.1.2.3:9 for 10.1.2.3:9 -: hello"),
        ("10.1.2.3", "PROX", "10.1.2.3:9 for 10.1.2.3:9 -: PROX"),
        ("10.1.2.3", "", "10.1.2.3:9 for 10.1.2.3:9 -: "),
        ("10.1.2.3", "PROXY UNKNOWN\r\nhi", "10.1.2.3:9 for 10.1.2.3:9 -: hi"),
        ("192.0.2.1", "PROXY UNKNOWN\r\nhi", "192.0.2.1:9 for 192.0.2.1:9 -: PROXY UNKNOWN\r\nhi"),
    ] {
        let heard = stage.heard_from(policy(), ip, input.as_bytes());
        // Who has said nothing and gone is not worth a handler.
        let expected = (!input.is_empty()).then(|| expected.to_owned());
        assert_eq!(heard, expected, "{ip} says {input:?}");
    }
    let heard = stage.heard_from(policy(), "10.1.2.3", &[TEXT, b"hi"].concat());
    assert_eq!(heard.as_deref(), Some("10.1.2.3:9 for 203.0.113.9:4660 -: hi"));
    // A bad header is no header that may be missing.
    assert_eq!(stage.heard_from(policy(), "10.1.2.3", b"PROXY TCP4 x\r\n"), None);
}

#[test]
fn where_a_header_is_optional_a_trusted_peer_that_waits_is_served_without_one_in_time() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::optional_from(["10.0.0.0/8"]).expect("a network"));
    let patient = stage.connect(&server, "10.1.2.3");
    stage.test.advance(5 * SECOND);
    patient.send("PROXY UNKNOWN\r\n");
    patient.finish();
    stage.test.run_until_stalled();
    assert_eq!(*stage.heard.borrow(), ["10.1.2.3:9 for 10.1.2.3:9 -: PROXY UNKNOWN\r\n"]);
    assert_eq!(counted(&server.metrics()), (0, 0, 0));
}

#[test]
fn peers_on_unix_sockets_are_trusted_where_that_is_said() {
    let stage = Stage::new();
    let policy = || ProxyProtocol::required_from([]).expect("no network is one");
    for (policy, heard) in [(policy(), 0), (policy().unix_sockets(), 1), (ProxyProtocol::required(), 1)] {
        let server = stage.server(policy);
        let (transport, script) = scripted();
        server.add_stream(IoStream::new(transport).expect("a stream"), PeerAddr::Unix(None));
        script.send(TEXT);
        script.finish();
        stage.test.run_until_stalled();
        assert_eq!(stage.heard.take().len(), heard);
    }
}

#[test]
fn ts7_behind_a_proxy_clients_are_counted_by_their_own_addresses() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::required()).max_connections_per_ip(2);
    let client = |last: u8| {
        let script = stage.connect(&server, "10.0.0.1");
        script.send(format!("PROXY TCP4 203.0.113.{last} 198.51.100.7 4660 443\r\n"));
        stage.test.run_until_stalled();
        script
    };
    let open: Vec<_> = [1, 1, 2, 1].map(client).into();
    assert_eq!((server.open_connections(), counted(&server.metrics())), (3, (0, 0, 1)));
    let clients: Vec<_> = server.connections().iter().map(|info| info.client.to_string()).collect();
    assert_eq!(clients, ["203.0.113.1:4660", "203.0.113.1:4660", "203.0.113.2:4660"]);
    open[0].finish();
    stage.test.run_until_stalled();
    let _again = client(1);
    assert_eq!((server.open_connections(), counted(&server.metrics())), (3, (0, 0, 1)));

    // The proxy itself may come as often as it likes.
    for _ in 0..5 {
        stage.connect(&server, "10.0.0.1").send("PROXY UNKNOWN\r\n");
        stage.test.run_until_stalled();
    }
    assert_eq!((server.open_connections(), counted(&server.metrics())), (8, (0, 0, 1)));
}

#[test]
fn a_server_that_aborts_closes_those_whose_header_it_waits_for_and_blames_nobody() {
    let stage = Stage::new();
    let server = stage.server(ProxyProtocol::required());
    let _silent = stage.connect(&server, "192.0.2.1");
    server.abort();
    stage.test.run_until_stalled();
    assert_eq!((server.open_connections(), counted(&server.metrics())), (0, (0, 0, 0)));
}

#[test]
fn ts11_the_context_knows_both_ends_of_the_socket() {
    let test = VirtualLoop::new();
    test.make_current();
    let tell = |stream: IoStream, context: ConnectionContext| async move {
        let local = context.local_addr().expect("it is open");
        let line = stream.read_until_max(b"\n", 100).await?;
        assert_eq!(line.len(), local.to_string().len() + 1);
        stream.write(format!("{local}\n")).await
    };
    let server = TcpServer::new(tell).with(ListenOptions::new().proxy_protocol(ProxyProtocol::required()));
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let expected = format!("{address}\n");
    let client = {
        let line = format!("{}\n", "?".repeat(expected.len() - 1));
        std::thread::spawn(move || {
            let mut client = connect(address);
            std::io::Write::write_all(&mut client, TEXT).expect("a connection");
            talk(&mut client, &line)
        })
    };
    run_until(&test, || client.is_finished());
    assert_eq!(client.join().expect("no panic"), expected);
}
