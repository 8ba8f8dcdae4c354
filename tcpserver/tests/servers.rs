//! One server on several loops: `bind` and `start(n)` (TS5), with each way to accept.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ioloop::{IoLoop, RestartPolicy, worker_index};
use iostream::{IoStream, StreamError};
use netutil::BindOptions;
use support::{connect, current_loop, echo, read_to_end, refused, talk, with_client};
use tcpserver::{
    AcceptStrategy, ConnectionContext, ListenError, ListenOptions, Servers, ServersHandle, TcpServer,
    WhenFull,
};

const STRATEGIES: [AcceptStrategy; 3] =
    [AcceptStrategy::Shared, AcceptStrategy::ReusePort, AcceptStrategy::Dispatch];

const HOUR: Duration = Duration::from_secs(3_600);

fn loopback() -> BindOptions {
    BindOptions::new().address("127.0.0.1")
}

/// Says which loop it is on, then gives lines back.
async fn tell(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    let place = worker_index().map_or("h".to_owned(), |index| index.to_string());
    stream.write(place).await?;
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        stream.write(line?).await?;
    }
    Ok(())
}

/// `tell` on `loops` loops, and where.
fn started(strategy: AcceptStrategy, loops: usize) -> (IoLoop, ServersHandle, SocketAddr) {
    let io_loop = current_loop();
    let server = TcpServer::new(tell).accept_strategy(strategy);
    let address = server.bind_with(0, &loopback()).expect("a port")[0];
    let servers = server.start(loops).expect("threads");
    (io_loop, servers, address)
}

/// A client, and the loop that serves it.
fn visit(address: SocketAddr) -> (TcpStream, char) {
    let mut stream = connect(address);
    let mut place = [0];
    stream.read_exact(&mut place).expect("it tells");
    (stream, char::from(place[0]))
}

fn run<F: Future>(io_loop: &IoLoop, future: F) -> F::Output {
    io_loop.run_sync(future).expect("the loop runs")
}

fn end(io_loop: &IoLoop, servers: &ServersHandle) {
    run(io_loop, servers.drain(HOUR));
}

#[test]
fn ts5_clients_wait_from_bind_to_start_and_each_strategy_serves_them() {
    for strategy in STRATEGIES {
        let io_loop = current_loop();
        let server = TcpServer::new(tell).accept_strategy(strategy);
        let address = server.bind_with(0, &loopback()).expect("a port")[0];
        let early = connect(address);
        assert_eq!(server.accepted_connections(), 0);
        let servers = server.start(2).expect("threads");
        let mut early = with_client(&io_loop, move || {
            let (mut early, mut place) = (early, [0]);
            early.read_exact(&mut place).expect("it is served");
            assert!(matches!(place[0], b'0' | b'1'), "by one of the two");
            early
        });
        let mut drained = std::pin::pin!(servers.drain(HOUR));
        assert_eq!(run(&io_loop, drained.as_mut()).finished, 1, "{strategy:?}");
        assert_eq!(read_to_end(&mut early).as_deref(), Some(&b""[..]));
    }
}

#[test]
fn ts5_a_shared_listener_is_served_by_whoever_has_time() {
    let io_loop = current_loop();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let server = TcpServer::new(move |stream: IoStream, context: ConnectionContext| {
        let released = Arc::clone(&released);
        async move {
            if stream.read_bytes(1).await? == "b" {
                stream.write("!").await?;
                let _ = released.lock().expect("nobody panicked").recv(); // the loop is busy
            }
            tell(stream, context).await
        }
    });
    let address = server.bind_with(0, &loopback()).expect("a port")[0];
    let servers = server.start(2).expect("threads");
    let mut busy = connect(address);
    busy.write_all(b"b").expect("it listens");
    busy.read_exact(&mut [0]).expect("it is busy now");
    let places = BTreeMap::from_iter((0..20).map(|_| {
        let mut other = connect(address);
        other.write_all(b"o").expect("it listens");
        let mut place = [0];
        other.read_exact(&mut place).expect("the other loop serves");
        (place[0], other)
    }));
    assert_eq!(places.len(), 1, "by one loop");
    drop(release);
    let mut place = [0];
    busy.read_exact(&mut place).expect("it goes on");
    assert!(!places.contains_key(&place[0]), "that was not the busy one");
    drop((busy, places));
    end(&io_loop, &servers);
}

#[test]
fn ts5_with_a_port_of_its_own_each_loop_has_a_share_and_no_wake_is_in_vain() {
    let (io_loop, servers, address) = started(AcceptStrategy::ReusePort, 2);
    let mut shares = BTreeMap::new();
    for _ in 0..64 {
        *shares.entry(visit(address).1).or_insert(0) += 1;
    }
    assert_eq!(shares.len(), 2, "{shares:?}");
    let metrics = run(&io_loop, servers.metrics());
    let accepted: Vec<_> = metrics.loops.iter().map(|metrics| metrics.accepted).collect();
    assert_eq!(accepted, [shares[&'0'], shares[&'1']]);
    assert_eq!((metrics.total().accepted, metrics.total().wakes_in_vain), (64, 0));
    assert!((1.0..2.0).contains(&metrics.skew()), "{}", metrics.skew());
    end(&io_loop, &servers);
}

#[test]
fn ts5_a_dispatcher_gives_each_to_the_loop_with_the_fewest() {
    let (io_loop, servers, address) = started(AcceptStrategy::Dispatch, 3);
    let clients = with_client(&io_loop, move || {
        let mut clients: Vec<_> = (0..12).map(|_| visit(address)).collect();
        let on = |clients: &[(TcpStream, char)], place| clients.iter().filter(|one| one.1 == place).count();
        assert!(['0', '1', '2'].iter().all(|place| on(&clients, *place) == 4), "{clients:?}");
        // Loop 1 loses its own; whoever comes next is sent there.
        clients.retain(|(_, place)| *place != '1');
        clients
    });
    let on_one = async { while !servers.connections().await[1].is_empty() {} };
    run(&io_loop, on_one);
    let clients = with_client(&io_loop, move || {
        let mut clients = clients;
        clients.extend((0..4).map(|_| visit(address)));
        assert!(clients[8..].iter().all(|(_, place)| *place == '1'), "{clients:?}");
        clients
    });
    let metrics = run(&io_loop, servers.metrics());
    let active: Vec<_> = metrics.loops.iter().map(|metrics| metrics.active).collect();
    assert_eq!((active, metrics.skew_of_active()), (vec![4, 4, 4], 1.0));
    // Who accepts may have been woken for somebody whom it has just let in: where it is slow, the next comes while it is at that.
    let in_vain: u64 = metrics.loops.iter().map(|metrics| metrics.wakes_in_vain).sum();
    assert_eq!((metrics.acceptor.accepted, metrics.total().accepted, in_vain), (0, 16, 0));
    drop(clients);
    end(&io_loop, &servers);
}

#[test]
fn ts7_a_dispatcher_lets_newcomers_wait_or_closes_them_when_all_loops_are_full() {
    for when_full in [WhenFull::Wait, WhenFull::Close] {
        let io_loop = current_loop();
        let server = TcpServer::new(tell).accept_strategy(AcceptStrategy::Dispatch);
        let server = server.max_connections(1).when_full(when_full);
        let address = server.bind_with(0, &loopback()).expect("a port")[0];
        let servers = server.start(2).expect("threads");
        let clients = with_client(&io_loop, move || {
            let mut clients = vec![visit(address), visit(address)];
            assert_ne!(clients[0].1, clients[1].1);
            let mut third = connect(address);
            let mut place = [0];
            if when_full == WhenFull::Wait {
                drop(clients.pop());
            }
            let served = third.read(&mut place).expect("an end or a place");
            assert_eq!(served, usize::from(when_full == WhenFull::Wait));
            (clients, third)
        });
        let metrics = run(&io_loop, servers.metrics());
        let shed = if when_full == WhenFull::Wait { (0, 3) } else { (1, 2) };
        assert_eq!((metrics.acceptor.shed.max_connections, metrics.total().accepted), shed);
        drop(clients);
        end(&io_loop, &servers);
    }
}

/// Each newcomer waits until somebody has idled for long enough to leave, which is a second or so.
#[test]
fn ts7_loops_that_are_full_of_idle_connections_let_newcomers_in_however_they_come_by_them() {
    for strategy in STRATEGIES {
        let io_loop = current_loop();
        let server = TcpServer::new(tell).accept_strategy(strategy).max_connections(1).idle_makes_room();
        let address = server.bind_with(0, &loopback()).expect("a port")[0];
        let servers = server.start(2).expect("threads");
        let clients = with_client(&io_loop, move || (0..4).map(|_| visit(address)).collect::<Vec<_>>());
        let metrics = run(&io_loop, servers.metrics()).total();
        assert_eq!(metrics.accepted, 4);
        assert!((2..=3).contains(&metrics.shed.idle), "{strategy:?}: {:?}", metrics.shed);
        drop(clients);
        end(&io_loop, &servers);
    }
}

#[test]
fn ts7_a_dispatcher_that_waits_for_room_sets_no_timer_and_hears_of_it_from_the_loop_that_has_some() {
    let io_loop = current_loop();
    let server = TcpServer::new(tell).accept_strategy(AcceptStrategy::Dispatch).max_connections(2);
    let address = server.bind_with(0, &loopback()).expect("a port")[0];
    let servers = server.start(2).expect("threads");
    let timers = io_loop.counters().timers_inserted;
    let clients = with_client(&io_loop, move || (0..4).map(|_| visit(address)).collect::<Vec<_>>());
    let waits = connect(address);
    let paused = async { while servers.metrics().await.acceptor.paused == 0 {} };
    run(&io_loop, paused);
    // They stay until the timers are counted: when more leave than wait there is room and nobody queues, and it is looked, by a
    // timer, whether that lasts.
    let clients = with_client(&io_loop, move || {
        let (mut clients, mut waits) = (clients, waits);
        for _ in 0..50 {
            drop(clients.pop());
            let mut place = [0];
            waits.read_exact(&mut place).expect("it is served");
            clients.push((waits, char::from(place[0])));
            waits = connect(address);
        }
        (clients, waits)
    });
    assert_eq!(io_loop.counters().timers_inserted, timers);
    drop(clients);
    end(&io_loop, &servers);
}

#[test]
fn ts7_the_limit_of_one_way_in_holds_behind_a_dispatcher_too() {
    let io_loop = current_loop();
    let server = TcpServer::new(tell).accept_strategy(AcceptStrategy::Dispatch);
    let few =
        server.with(ListenOptions::new().max_connections(1)).bind_with(0, &loopback()).expect("a port")[0];
    let many = server.bind_with(0, &loopback()).expect("a port")[0];
    let servers = server.start(2).expect("threads");
    let clients = with_client(&io_loop, move || {
        let mut clients = vec![visit(few), visit(few)];
        assert_ne!(clients[0].1, clients[1].1, "one on each loop");
        assert_eq!(read_to_end(&mut connect(few)).as_deref(), Some(&b""[..]), "it is closed");
        clients.extend([visit(many), visit(many)]);
        clients
    });
    let metrics = run(&io_loop, servers.metrics()).total();
    assert_eq!((metrics.accepted, metrics.shed.max_connections), (4, 1));
    drop(clients);
    end(&io_loop, &servers);
}

#[test]
fn ts6_a_drain_ends_all_loops_the_idle_at_once_and_the_busy_when_they_are_done() {
    for strategy in STRATEGIES {
        let (io_loop, servers, address) = started(strategy, 2);
        let mut clients = with_client(&io_loop, move || (0..6).map(|_| visit(address).0).collect::<Vec<_>>());
        clients[0].write_all(b"half a li").expect("it is served");
        let received = async { while servers.metrics().await.total().bytes_received < 9 {} };
        run(&io_loop, received);
        let (mut busy, idle) = (clients.remove(0), clients);
        let rest = thread::spawn(move || {
            for mut idle in idle {
                assert_eq!(read_to_end(&mut idle).as_deref(), Some(&b""[..]), "closed at once");
            }
            busy.write_all(b"ne\n").expect("it is still served");
            read_to_end(&mut busy)
        });
        let report = run(&io_loop, servers.drain(HOUR));
        assert_eq!((report.finished, report.aborted), (6, 0), "{strategy:?}");
        assert_eq!(rest.join().expect("no failure").as_deref(), Some(&b"half a line\n"[..]));
        assert!(refused(address));
        run(&io_loop, servers.ended()).expect("the loops have ended well");
    }
}

#[test]
fn ts6_a_stop_closes_all_listeners_leaves_connections_alone_and_may_be_repeated() {
    for strategy in STRATEGIES {
        let (io_loop, servers, address) = started(strategy, 2);
        let mut client = with_client(&io_loop, move || visit(address).0);
        servers.stop();
        servers.stop();
        run(&io_loop, servers.metrics()); // asked after it, so answered after it
        assert!(refused(address), "{strategy:?}");
        assert_eq!(talk(&mut client, "still here\n"), "still here\n");
        servers.abort();
        let (done, report) = (servers.clone(), servers.drain(HOUR));
        assert_eq!(run(&io_loop, report).took, run(&io_loop, done.drain(HOUR)).took, "it is over");
        assert!(read_to_end(&mut client).is_none_or(|rest| rest.is_empty()));
    }
}

#[test]
fn ts5_one_loop_is_this_one() {
    let (io_loop, servers, address) = started(AcceptStrategy::Shared, 1);
    assert!(servers.loops().is_none());
    let client = with_client(&io_loop, move || {
        let (client, place) = visit(address);
        assert_eq!(place, 'h');
        client
    });
    let metrics = run(&io_loop, servers.metrics());
    assert_eq!((metrics.loops.len(), metrics.loops[0].active), (1, 1));
    assert_eq!(run(&io_loop, servers.connections())[0].len(), 1);
    let report = run(&io_loop, servers.drain(HOUR));
    assert_eq!((report.finished, report.aborted), (1, 0));
    drop(client);
    assert!(refused(address));
}

#[test]
fn ts5_a_server_is_started_once_and_takes_no_listeners_afterwards() {
    for loops in [1, 2] {
        let io_loop = current_loop();
        let server = TcpServer::new(echo);
        let servers = server.start(loops).expect("nothing is bound, which is no error");
        assert!(matches!(server.start(loops), Err(ListenError::AlreadyStarted)));
        assert!(matches!(server.bind_with(0, &loopback()), Err(ListenError::AlreadyStarted)));
        end(&io_loop, &servers);
    }
}

#[test]
fn ts5_what_was_bound_and_never_started_is_closed_by_a_stop_and_with_the_server() {
    current_loop();
    let server = TcpServer::new(echo);
    let first = server.bind_with(0, &loopback()).expect("a port")[0];
    server.stop();
    assert!(refused(first));
    let second = server.bind_with(0, &loopback()).expect("a port")[0];
    drop(connect(second));
    drop(server);
    assert!(refused(second));
}

#[test]
fn ts5_each_loop_has_a_server_of_its_own_making_with_state_that_need_not_change_threads() {
    let io_loop = current_loop();
    let servers = Servers::new(|index| {
        let visitors = Rc::new(Cell::new(10 * index));
        TcpServer::new(move |stream: IoStream, _: ConnectionContext| {
            visitors.set(visitors.get() + 1);
            let number = visitors.get();
            async move { stream.write(format!("{number}\n")).await }
        })
    });
    let servers = servers.accept_strategy(AcceptStrategy::Dispatch).name("counting");
    let address = servers.bind_with(0, &loopback()).expect("a port")[0];
    let servers = servers.start(2).expect("threads");
    let mut numbers = with_client(&io_loop, move || {
        let clients: Vec<_> = (0..4).map(|_| connect(address)).collect();
        let number = |mut client| {
            let text = String::from_utf8(read_to_end(&mut client).expect("a number")).expect("text");
            text.trim().parse::<usize>().expect("a number")
        };
        clients.into_iter().map(number).collect::<Vec<_>>()
    });
    numbers.sort_unstable();
    // The second goes to the loop that has not had the first; the others where there are fewest just then.
    let on_first = numbers.partition_point(|number| *number <= 10);
    assert!((1..=3).contains(&on_first), "{numbers:?}");
    let expected: Vec<_> = (1..=on_first).chain(11..=14 - on_first).collect();
    assert_eq!(numbers, expected);
    end(&io_loop, &servers);
}

#[test]
fn ts5_a_loop_that_panics_is_started_again_and_its_clients_wait() {
    for strategy in STRATEGIES {
        let io_loop = current_loop();
        let lives = Arc::new(AtomicUsize::new(0));
        let servers = {
            let lives = Arc::clone(&lives);
            Servers::new(move |index| {
                assert!(index > 0 || lives.fetch_add(1, Ordering::Relaxed) > 1, "twice in vain");
                TcpServer::new(tell)
            })
        };
        let policy = RestartPolicy::new().first_delay(Duration::from_millis(1));
        let servers = servers.accept_strategy(strategy).restart(policy);
        let address = servers.bind_with(0, &loopback()).expect("a port")[0];
        let servers = servers.start(2).expect("threads");
        let mut early: Vec<_> = (0..16).map(|_| connect(address)).collect();
        run(&io_loop, servers.loops().expect("threads").ready()).expect("both live");
        with_client(&io_loop, move || {
            for early in &mut early {
                early.read_exact(&mut [0]).expect("nobody was lost");
            }
        });
        let status = &servers.loops().expect("threads").workers()[0];
        assert_eq!((status.restarts, lives.load(Ordering::Relaxed)), (2, 3), "{strategy:?}");
        end(&io_loop, &servers);
    }
}

#[test]
fn ts12_what_a_loop_has_counted_outlives_it() {
    let (io_loop, servers, address) = started(AcceptStrategy::Shared, 2);
    drop((0..10).map(|_| visit(address)).collect::<Vec<_>>());
    let loops = servers.loops().expect("threads").clone();
    for index in 0..2 {
        loops.restart(index).expect("it lives");
        run(&io_loop, loops.ready()).expect("it lives again");
    }
    visit(address);
    assert_eq!(run(&io_loop, servers.metrics()).total().accepted, 11);
    end(&io_loop, &servers);
}

#[test]
fn ts5_a_loop_that_can_never_live_ends_the_others_and_is_an_error() {
    let io_loop = current_loop();
    let servers = Servers::new(|index| {
        assert_eq!(index, 0, "it never works");
        TcpServer::new(tell)
    });
    let servers = servers.restart(RestartPolicy::never());
    let address = servers.bind_with(0, &loopback()).expect("a port")[0];
    let servers = servers.start(2).expect("threads");
    let error = run(&io_loop, servers.drained_by_signal(Duration::ZERO, HOUR)).expect_err("it has failed");
    assert!(error.to_string().contains("it never works"), "{error}");
    servers.stop();
    assert!(refused(address));
}

#[cfg(unix)]
#[test]
fn ts4_several_loops_share_tcp_and_unix_listeners_each_with_its_own_options() {
    use std::os::unix::net::UnixStream;

    async fn label(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
        stream.write(format!("{:?}", context.label())).await
    }

    for strategy in STRATEGIES {
        let io_loop = current_loop();
        let path =
            std::env::temp_dir().join(format!("waterspout-servers-{}-{strategy:?}", std::process::id()));
        let options = netutil::UnixBindOptions::new();
        let listener = netutil::bind_unix_socket(&path, &options).expect("a free path");
        let servers = Servers::new(|_| TcpServer::new(label)).accept_strategy(strategy);
        let tcp = servers.bind_with(0, &loopback()).expect("a port")[0];
        servers.with(ListenOptions::new().label("unix")).bind_socket(listener).expect("not started");
        let servers = servers.start(2).expect("threads");
        let at = path.clone();
        with_client(&io_loop, move || {
            assert_eq!(read_to_end(&mut connect(tcp)).as_deref(), Some(&b"None"[..]));
            let mut answer = String::new();
            UnixStream::connect(at).expect("it listens").read_to_string(&mut answer).expect("it answers");
            assert_eq!(answer, "Some(\"unix\")");
        });
        end(&io_loop, &servers);
        std::fs::remove_file(path).expect("it was there");
    }
}

#[test]
fn ts10_all_loops_speak_tls_and_take_a_new_certificate_at_once() {
    use iostream::tls::{Pem, TlsAcceptor, TlsClientConfig, TlsServerConfig};

    let sides = [(); 2].map(|()| {
        let made = rcgen::generate_simple_self_signed(["server.test".to_owned()]).expect("a certificate");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let server = TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key)).build();
        let client = TlsClientConfig::builder().trust(Pem::text(&chain)).build();
        (server.expect("it fits"), client.expect("it is one"))
    });
    let [(old, trusts_old), (new, trusts_new)] = sides;
    let io_loop = current_loop();
    let acceptor = TlsAcceptor::new(old);
    let server = TcpServer::new(tell).tls(acceptor.clone()).accept_strategy(AcceptStrategy::Dispatch);
    let address = server.bind_with(0, &loopback()).expect("a port")[0];
    let servers = server.start(2).expect("threads");
    let places = async |config: &TlsClientConfig| {
        let mut streams = Vec::new();
        let mut places = Vec::new();
        for _ in 0..2 {
            let stream = IoStream::connect_tls(address, "server.test", config).await.expect("TLS");
            places.push(stream.read_bytes(1).await.expect("it tells"));
            streams.push(stream);
        }
        places.sort();
        places.concat()
    };
    assert_eq!(run(&io_loop, places(&trusts_old)), b"01");
    acceptor.replace(new);
    assert_eq!(run(&io_loop, places(&trusts_new)), b"01");
    assert_eq!(run(&io_loop, servers.metrics()).total().handshake_errors, 0);
    end(&io_loop, &servers);
}
