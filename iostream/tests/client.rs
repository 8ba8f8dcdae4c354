//! `TcpClient` over the kernel's sockets: Tornado's tcpclient_test, and the resolver beside the loop.
#![cfg(unix)]

mod support;

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ioloop::{IoLoop, JobError, LaneMetrics, LaneOptions};
use iostream::{ConnectError, ConnectStep, ExecutorResolver, IoStream, StreamOptions, TcpClient};
use netutil::{BlockingResolver, Family, OverrideResolver, ResolveError, Resolver};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

#[track_caller]
fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

/// A host with these addresses, whatever is asked.
#[derive(Clone)]
struct Host(Vec<SocketAddr>);

impl Resolver for Host {
    fn resolve(&self, host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        let asked = |address: &SocketAddr| match family {
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
            _ => true,
        };
        let found: Vec<_> = self.0.iter().copied().filter(asked).collect();
        if found.is_empty() { Err(ResolveError::no_address(host, port, family)) } else { Ok(found) }
    }
}

/// A resolver that says when it is asked, and answers when it is told to.
struct Slow {
    asked: Mutex<Sender<String>>,
    go: Mutex<Receiver<()>>,
}

impl Slow {
    fn new() -> (Arc<Slow>, Receiver<String>, Sender<()>) {
        let ((asked, hear), (go, wait)) = (mpsc::channel(), mpsc::channel());
        (Arc::new(Slow { asked: asked.into(), go: wait.into() }), hear, go)
    }
}

impl Resolver for Slow {
    fn resolve(&self, host: &str, port: u16, _: Family) -> Result<Vec<SocketAddr>, ResolveError> {
        self.asked.lock().unwrap().send(host.to_owned()).unwrap();
        let _ = self.go.lock().unwrap().recv(); // or the test is over
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

fn listener(ip: &str) -> TcpListener {
    TcpListener::bind((ip, 0)).unwrap()
}

/// An address of the machine on which nobody listens.
fn refusing(ip: &str) -> SocketAddr {
    listener(ip).local_addr().unwrap()
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

fn dns() -> LaneMetrics {
    IoLoop::current().lane("dns", LaneOptions::new()).metrics()
}

/// Connects, and shows that it is `server` who was reached.
async fn assert_reaches(client: &TcpClient, host: &str, server: &TcpListener) {
    let address = server.local_addr().unwrap();
    let stream = client.connect(host, address.port()).await.unwrap();
    assert_eq!(stream.peer_addr(), Some(address));
    let (_accepted, peer) = server.accept().unwrap();
    assert_eq!(stream.local_addr(), Some(peer));
}

#[test]
fn tc2_test_connect_ipv4_to_a_literal_and_to_a_name_with_and_without_a_family() {
    run(async {
        let server = listener("127.0.0.1");
        for family in [Family::Unspecified, Family::Ipv4] {
            let client = TcpClient::new().family(family);
            for host in ["127.0.0.1", "localhost"] {
                assert_reaches(&client, host, &server).await;
            }
        }
    });
}

#[test]
fn tc2_test_connect_ipv6_to_a_literal_and_to_a_name_with_two_families() {
    if !has_ipv6() {
        return;
    }
    run(async {
        let server = listener("::1");
        assert_reaches(&TcpClient::new(), "::1", &server).await;
        assert_reaches(&TcpClient::new().family(Family::Ipv6), "::1", &server).await;
        let address = server.local_addr().unwrap();
        let dual = Host(vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()), address]);
        for family in [Family::Unspecified, Family::Ipv6] {
            assert_reaches(&TcpClient::new().resolver(dual.clone()).family(family), "dual", &server).await;
        }
    });
}

#[test]
fn tc4_a_refusal_by_one_family_leads_to_the_other_at_once() {
    if !has_ipv6() {
        return;
    }
    run(async {
        let server = listener("127.0.0.1");
        let address = server.local_addr().unwrap();
        let client = TcpClient::new().resolver(Host(vec![refusing("::1"), address]));
        assert_reaches(&client.attempt_delay(Duration::from_secs(2)), "dual", &server).await;
    });
}

#[test]
fn tc6_test_refused_ipv4_names_address_step_and_cause() {
    let address = refusing("127.0.0.1");
    let error = run(IoStream::connect_host("127.0.0.1", address.port())).unwrap_err();
    let ConnectError::AllFailed { earlier, last, .. } = &error else { panic!("{error}") };
    assert!(earlier.is_empty());
    assert_eq!((last.address, last.step), (address, ConnectStep::Connect));
    assert_eq!(last.error.kind(), ErrorKind::ConnectionRefused);
    assert!(last.error.raw_os_error().is_some(), "the system's own error");
    let error = io::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.get_ref().unwrap().is::<ConnectError>());
}

#[test]
fn io43_a_name_that_cannot_be_resolved_says_so_as_an_io_error_too() {
    run(async {
        let error = IoStream::connect_host("", 80).await.unwrap_err();
        assert!(matches!(error, ConnectError::Resolve(ResolveError::InvalidHost { .. })), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
        let other_family = TcpClient::new().family(Family::Ipv6).connect("127.0.0.1", 80).await;
        assert!(matches!(other_family, Err(ConnectError::Resolve(ResolveError::NoAddress { .. }))));
    });
}

#[test]
fn tc2_the_streams_have_the_options_of_the_client() {
    run(async {
        let server = listener("127.0.0.1");
        let client = TcpClient::new().stream_options(StreamOptions::new().max_buffer_size(10));
        let stream = client.connect("127.0.0.1", server.local_addr().unwrap().port()).await.unwrap();
        assert!(stream.read_bytes(11).await.is_err());
        let mut invalid = StreamOptions::new();
        invalid.max_buffer_size = 0;
        let refused = TcpClient::new().stream_options(invalid).connect("127.0.0.1", 1).await;
        assert!(matches!(refused, Err(ConnectError::InvalidOption(_))));
    });
}

#[test]
fn tc7_test_source_ip_success() {
    run(async {
        let server = listener("0.0.0.0");
        let port = server.local_addr().unwrap().port();
        // On Linux all of 127/8 is the machine's own; elsewhere only this one.
        let source = if cfg!(target_os = "linux") { "127.0.0.2" } else { "127.0.0.1" };
        let client = TcpClient::new().source_ip(source.parse().unwrap());
        let stream = client.connect("127.0.0.1", port).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), source);
        let (_accepted, peer) = server.accept().unwrap();
        assert_eq!(peer.ip().to_string(), source);
        let flags = stream.with_descriptor(|socket| rustix::fs::fcntl_getfl(socket).unwrap()).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK), "whoever made the socket");
    });
}

#[test]
fn tc7_test_source_ip_fail_is_told_from_a_failed_connect() {
    run(async {
        let server = listener("127.0.0.1");
        let client = TcpClient::new().source_ip("203.0.113.1".parse().unwrap()); // of nobody: RFC 5737
        let error = client.connect("127.0.0.1", server.local_addr().unwrap().port()).await.unwrap_err();
        let ConnectError::AllFailed { last, .. } = &error else { panic!("{error}") };
        assert_eq!((last.step, last.error.kind()), (ConnectStep::Bind, ErrorKind::AddrNotAvailable));
    });
}

#[test]
fn tc7_test_source_port_fail_when_somebody_listens_there() {
    run(async {
        let server = listener("127.0.0.1");
        let taken = listener("0.0.0.0");
        let client = TcpClient::new().source_port(taken.local_addr().unwrap().port());
        let error = client.connect("127.0.0.1", server.local_addr().unwrap().port()).await.unwrap_err();
        let ConnectError::AllFailed { last, .. } = &error else { panic!("{error}") };
        assert_eq!((last.step, last.error.kind()), (ConnectStep::Bind, ErrorKind::AddrInUse));
    });
}

#[test]
fn tc7_a_source_port_alone_leaves_the_address_to_the_kernel_and_serves_again_at_once() {
    run(async {
        let server = listener("127.0.0.1");
        let port = server.local_addr().unwrap().port();
        // Two of a kind at once, to two servers: the port is no obstacle to a race.
        let other = listener("127.0.0.1");
        let client = TcpClient::new().source_port(refusing("127.0.0.1").port());
        let first = client.connect("127.0.0.1", port).await.unwrap();
        let second = client.connect("127.0.0.1", other.local_addr().unwrap().port()).await.unwrap();
        assert_eq!(first.local_addr(), second.local_addr());
        assert_eq!(first.local_addr(), Some(server.accept().unwrap().1));
        drop(first); // ends the connection from this side, which lingers
        assert!(client.connect("127.0.0.1", port).await.is_ok() || !cfg!(target_os = "linux"));
    });
}

#[test]
fn tc7_a_source_address_decides_the_family() {
    run(async {
        let server = listener("127.0.0.1");
        let dual = Host(vec![refusing("127.0.0.1"), server.local_addr().unwrap()]);
        let from = |ip: IpAddr| TcpClient::new().resolver(dual.clone()).source_ip(ip);
        let error = from("::1".parse().unwrap()).connect("dual", 80).await.unwrap_err();
        assert!(matches!(error, ConnectError::Resolve(ResolveError::NoAddress { family: Family::Ipv6, .. })));
        let error = from("::1".parse().unwrap()).family(Family::Ipv4).connect("dual", 80).await.unwrap_err();
        assert!(matches!(error, ConnectError::InvalidOption(_)));
        assert!(from(Ipv4Addr::LOCALHOST.into()).connect("dual", 80).await.is_ok(), "the second address");
    });
}

#[test]
fn tc3_test_connect_timeout_a_resolver_that_never_answers() {
    let (slow, asked, _go) = Slow::new();
    run(async {
        let client = TcpClient::new().resolver(slow).timeout(Duration::from_millis(1));
        let error = client.connect("silent", 80).await.unwrap_err();
        let ConnectError::TimedOut { host, step, failed, pending, .. } = &error else { panic!("{error}") };
        assert_eq!((host.as_str(), *step), ("silent", ConnectStep::Resolve));
        assert!(failed.is_empty() && pending.is_empty());
        assert_eq!(io::Error::from(error).kind(), ErrorKind::TimedOut);
    });
    drop(asked);
}

#[test]
fn tc1_a_resolver_that_was_passed_stays_the_callers_and_another_goes_with_the_client() {
    let kept: Arc<dyn Resolver> = Arc::new(Host(vec![]));
    let client = TcpClient::new().resolver(Arc::clone(&kept));
    let clone = client.clone();
    drop(client);
    assert_eq!(Arc::strong_count(&kept), 2, "the clone has it too");
    drop(clone);
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn nu5_2_a_literal_needs_no_thread_and_a_name_has_one_in_a_lane_of_its_own() {
    run(async {
        let resolver = ExecutorResolver::new();
        for literal in ["127.0.0.1", "::1"] {
            let found = resolver.resolve(literal, 80, Family::Unspecified).await.unwrap();
            assert_eq!(found, [SocketAddr::new(literal.parse().unwrap(), 80)]);
        }
        assert_eq!(dns(), LaneMetrics::default());
        assert!(resolver.resolve("localhost", 80, Family::Unspecified).await.is_ok());
        assert_eq!(dns().completed, 1);
    });
}

#[test]
fn nu5_2_a_resolver_of_ones_own_is_asked_for_literals_too() {
    run(async {
        let elsewhere = OverrideResolver::new(BlockingResolver, [("192.0.2.1", "127.0.0.1")]);
        let resolver = ExecutorResolver::with(elsewhere);
        let found = resolver.resolve("192.0.2.1", 80, Family::Unspecified).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
    });
}

#[test]
fn nu5_2_the_loop_goes_on_while_a_name_is_looked_up() {
    let (slow, asked, go) = Slow::new();
    let server = listener("127.0.0.1");
    let port = server.local_addr().unwrap().port();
    run(async {
        let connecting = IoLoop::current()
            .spawn(async move { TcpClient::new().resolver(slow).connect("slow", port).await.is_ok() });
        while asked.try_recv().is_err() {
            ioloop::yield_now().await; // turns pass
        }
        go.send(()).unwrap();
        assert!(connecting.await.unwrap());
    });
}

#[test]
fn nu5_4_ten_threads_look_up_at_a_time_and_the_first_use_decides() {
    let (slow, _asked, go) = Slow::new();
    run(async {
        let client = TcpClient::new().resolver(slow);
        let ask = |client: TcpClient| async move { drop(client.connect("slow", 1).await) };
        let tasks: Vec<_> = (0..12).map(|_| IoLoop::current().spawn(ask(client.clone()))).collect();
        ioloop::yield_now().await;
        assert_eq!((dns().threads, dns().queued + dns().running), (10, 12));
        drop(go);
        for task in tasks {
            task.await.unwrap();
        }
    });
    run(async {
        let lane = IoLoop::current().lane("dns", LaneOptions::new().threads(1).queue(0));
        let (slow, _asked, go) = Slow::new();
        let holds = lane.run(move || drop(slow.resolve("first", 80, Family::Unspecified)));
        let second = ExecutorResolver::new().resolve("localhost", 80, Family::Unspecified).await.unwrap_err();
        assert_eq!(second.kind(), ErrorKind::ResourceBusy);
        let ResolveError::LookUp { source, .. } = &second else { panic!("{second}") };
        assert_eq!(source.get_ref().unwrap().downcast_ref(), Some(&JobError::QueueFull));
        go.send(()).unwrap();
        holds.await.unwrap();
    });
}

#[test]
fn nu5_7_a_question_that_nobody_waits_for_any_more_is_not_asked() {
    let (slow, asked, go) = Slow::new();
    run(async {
        let lane = IoLoop::current().lane("dns", LaneOptions::new().threads(1));
        let client = TcpClient::new().resolver(slow);
        let connect = |host| {
            let client = client.clone();
            IoLoop::current().spawn(async move { client.connect(host, 80).await.is_ok() })
        };
        let (first, second) = (connect("first"), connect("second"));
        while dns().running == 0 {
            ioloop::yield_now().await;
        }
        first.abort(); // its look-up goes on
        second.abort();
        drop(go);
        lane.run(|| ()).await.unwrap(); // behind both
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["first"]);
        assert_eq!(lane.metrics().cancelled, 1);
    });
}

#[test]
fn tc5_an_attempt_that_is_given_up_closes_its_socket() {
    run(async {
        let server = listener("127.0.0.1");
        let port = server.local_addr().unwrap().port();
        for client in [TcpClient::new(), TcpClient::new().source_ip(Ipv4Addr::LOCALHOST.into())] {
            assert!(support::poll_once(client.connect("127.0.0.1", port)).await.is_none(), "it is under way");
            assert_eq!(server.accept().unwrap().0.read(&mut [0]).unwrap(), 0, "and has ended");
        }
    });
}

#[test]
fn tc5_a_loop_that_goes_while_a_client_connects_closes_its_socket() {
    let server = listener("127.0.0.1");
    let port = server.local_addr().unwrap().port();
    let io_loop = IoLoop::new().unwrap();
    io_loop.spawn_detached(async move { drop(TcpClient::new().connect("127.0.0.1", port).await) });
    io_loop.run_sync(async {}).unwrap(); // the task has begun to connect
    let mut accepted = server.accept().unwrap().0;
    assert_eq!(io_loop.counters().tasks, 1, "it is under way");
    drop(io_loop);
    accepted.set_read_timeout(Some(AT_MOST)).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
}

#[test]
fn nu5_1_a_resolver_that_finds_nothing_and_says_nothing_is_an_error() {
    struct Empty;
    impl Resolver for Empty {
        fn resolve(&self, _: &str, _: u16, _: Family) -> Result<Vec<SocketAddr>, ResolveError> {
            Ok(vec![])
        }
    }
    run(async {
        let result = ExecutorResolver::with(Empty).resolve("host", 80, Family::Unspecified).await;
        assert!(matches!(result, Err(ResolveError::NoAddress { port: 80, .. })), "{result:?}");
    });
}

#[test]
fn nu5_1_a_resolver_that_panics_costs_its_question() {
    struct Panics;
    impl Resolver for Panics {
        fn resolve(&self, _: &str, _: u16, _: Family) -> Result<Vec<SocketAddr>, ResolveError> {
            panic!("no idea");
        }
    }
    run(async {
        let error = TcpClient::new().resolver(Panics).connect("host", 80).await.unwrap_err();
        assert!(error.to_string().contains("no idea"), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::Other);
    });
}
