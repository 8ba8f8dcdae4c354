//! Real clients over real sockets: a client library that shares no code with us, and the standard library's sockets.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode};
use support::{AT_MOST, Running, Seeded, answer, plain, unhurried};

const LARGE: u64 = 20_000_000;

async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    match exchange.path() {
        "/echo" => {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            while let Some(chunk) = exchange.body().chunk().await? {
                response.write(chunk).await?;
            }
            response.finish().await
        }
        // For clients that read nothing before they have sent everything.
        "/whole" => {
            let body = exchange.body().bytes().await?;
            exchange.send(Response::bytes(body)).await
        }
        "/large" => exchange.send(Response::bytes(vec![b'x'; LARGE as usize])).await,
        "/panic" => panic!("asked to"),
        "/half" => {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            response.write("half").await?;
            response.flush().await?;
            Err(HttpError::handler("no more"))
        }
        "/missing" => exchange.send(Response::text("no").status(StatusCode::NOT_FOUND)).await,
        _ => exchange.send(Response::text(format!("You requested {}\n", exchange.uri()))).await,
    }
}

fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(AT_MOST)) // only ever met by a bug
        .proxy(None);
    config.build().into()
}

fn start() -> Running {
    Running::start(|| HttpServer::new(route).options(unhurried(plain().max_body_size(2 * LARGE))))
}

fn body(mut response: ureq::http::Response<ureq::Body>) -> Vec<u8> {
    response.body_mut().with_config().limit(2 * LARGE).read_to_vec().unwrap()
}

fn noise(bytes: u64) -> Vec<u8> {
    let mut random = Seeded(42);
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

#[test]
fn a_response_that_ends_with_the_connection_does_not_look_whole_when_it_is_cut() {
    let running = start();
    let mut socket = TcpStream::connect(running.address()).unwrap();
    socket.write_all(b"GET /half HTTP/1.0\r\n\r\n").unwrap();
    let mut received = Vec::new();
    let end = socket.read_to_end(&mut received).map_err(|error| error.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "{}", received.escape_ascii());
    assert!(received.ends_with(b"\r\n\r\nhalf"), "{}", received.escape_ascii());
}

#[test]
fn get_head_and_post_over_ipv4_and_ipv6() {
    let running = start();
    let client = client();
    let port = running.address().port();
    let mut hosts = vec![format!("127.0.0.1:{port}")];
    if TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).is_ok() {
        hosts.push(format!("[::1]:{port}"));
    } else {
        assert!(
            running.addresses.iter().all(SocketAddr::is_ipv4),
            "we listen on IPv6 but do not answer there"
        );
    }
    for host in hosts {
        let got = client.get(format!("http://{host}/story?x=%C3%A9")).call().unwrap();
        assert_eq!(got.status(), 200);
        assert!(got.headers().contains_key("date"));
        assert_eq!(body(got), b"You requested /story?x=%C3%A9\n");
        let head = client.head(format!("http://{host}/story")).call().unwrap();
        assert_eq!(head.headers()["content-length"], "21");
        assert_eq!(body(client.post(format!("http://{host}/echo")).send("hello").unwrap()), b"hello");
        let missing = client.get(format!("http://{host}/missing")).call().unwrap();
        assert_eq!(missing.status(), 404);
    }
}

#[test]
fn a_client_that_keeps_its_connection_alive_uses_one_for_all_requests() {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let running = Running::start(move || {
        HttpServer::new(move |request: Request| {
            let peer = request.peer_addr().as_tcp().map_or(0, |peer| u64::from(peer.port()));
            seen.fetch_max(peer, Ordering::Relaxed);
            async move { peer.to_string() }
        })
    });
    let client = client();
    let url = format!("http://{}/", running.address());
    let ports: Vec<_> = (0..50).map(|_| body(client.get(&url).call().unwrap())).collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "the client's port changed");
    assert_eq!(count.load(Ordering::Relaxed).to_string().into_bytes(), ports[0]);
}

#[test]
fn large_bodies_both_ways() {
    let running = start();
    let (client, noise) = (client(), noise(LARGE));
    let url = |path: &str| format!("http://{}{path}", running.address());
    assert_eq!(body(client.get(url("/large")).call().unwrap()).len() as u64, LARGE);
    let sized = body(client.post(url("/whole")).send(&noise[..]).unwrap());
    assert!(sized == noise, "with Content-Length");
    let chunked = client.post(url("/whole")).send(ureq::SendBody::from_reader(&mut &noise[..])).unwrap();
    assert!(body(chunked) == noise, "in chunks");
}

#[test]
fn a_large_body_streams_through_while_it_is_still_being_sent() {
    let running = start();
    let mut socket = TcpStream::connect(running.address()).unwrap();
    socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
    let mut sending = socket.try_clone().unwrap();
    let sent = noise(LARGE);
    let body = sent.clone();
    let sender = std::thread::spawn(move || {
        let head =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n");
        sending.write_all(head.as_bytes()).unwrap();
        sending.write_all(&body).unwrap();
    });
    let mut back = Vec::new();
    socket.read_to_end(&mut back).unwrap();
    sender.join().unwrap();
    assert!(answer(back).body == sent);
}

#[test]
fn an_upload_that_expects_100_continue_gets_through() {
    let running = start();
    let request =
        client().post(format!("http://{}/echo", running.address())).header("Expect", "100-continue");
    assert_eq!(body(request.send("hello").unwrap()), b"hello");
}

#[test]
fn a_panic_is_a_500_and_the_next_request_is_served() {
    let running = start();
    let client = client();
    let url = |path: &str| format!("http://{}{path}", running.address());
    for _ in 0..3 {
        assert_eq!(client.get(url("/panic")).call().unwrap().status(), 500);
        assert_eq!(client.get(url("/after")).call().unwrap().status(), 200);
    }
}

#[test]
fn many_clients_at_once() {
    let running = start();
    let address = running.address();
    let clients: Vec<_> = (0..16)
        .map(|number| {
            std::thread::spawn(move || {
                let client = client();
                for round in 0..50 {
                    let sent = format!("client {number}, round {round}");
                    let got = body(client.post(format!("http://{address}/echo")).send(&sent).unwrap());
                    assert_eq!(got, sent.as_bytes());
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_peer_that_sends_on_behind_a_refusal_still_reads_it() {
    let running = start();
    let mut socket = TcpStream::connect(running.address()).unwrap();
    socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 3 * LARGE);
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&vec![b'x'; 1_000_000]).unwrap(); // without lingering, a reset would overtake the answer
    let mut back = Vec::new();
    socket.read_to_end(&mut back).unwrap();
    assert_eq!(answer(back).status, 413);
}

#[test]
fn a_peer_that_sends_on_behind_its_last_request_reads_the_whole_response() {
    let running = start();
    for request in
        ["GET /large HTTP/1.0\r\n\r\n", "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(running.address()).unwrap();
        socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
        socket.write_all(request.as_bytes()).unwrap();
        let mut back = vec![0; 1000]; // the response is on its way, and more than buffers hold is to come
        socket.read_exact(&mut back).unwrap();
        socket.write_all(&vec![b'x'; 100_000]).unwrap();
        socket.read_to_end(&mut back).unwrap(); // a reset would cut it
        assert_eq!(answer(back).body.len() as u64, LARGE);
    }
}

#[test]
fn a_unix_socket_serves_and_refuses_like_any_other() {
    let path = std::env::temp_dir().join(format!("httpserver-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let _running = Running::start_with(move || {
        let handler = async |request: Request| {
            assert_eq!(request.remote_ip(), None, "hu22");
            Response::text(format!("You requested {}\n", request.uri()))
        };
        let server = HttpServer::new(handler).options(plain());
        server.add_socket(listener).unwrap();
        (server, Vec::new())
    });
    let ask = |request: &str| {
        let mut socket = UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
        socket.write_all(request.as_bytes()).unwrap();
        let mut back = Vec::new();
        socket.read_to_end(&mut back).unwrap();
        answer(back)
    };
    let good = ask("GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(good.text(), "You requested /hello\n", "test_unix_socket");
    assert_eq!(ask("garbage\r\n\r\n").status, 400, "test_unix_socket_bad_request");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn hs13_stop_closes_the_listeners_and_lets_live_connections_go_on() {
    let running = Running::start_with(|| {
        let slot: std::rc::Rc<std::cell::OnceCell<Box<dyn Fn()>>> = std::rc::Rc::default();
        let stop = std::rc::Rc::clone(&slot);
        let server = HttpServer::new(move |_: Request| {
            stop.get().expect("it was set")();
            async { "stopped" }
        })
        .options(plain());
        let addresses = server.listen(0).unwrap();
        let server_too = server.clone();
        let _ = slot.set(Box::new(move || server_too.stop()));
        (server, addresses)
    });
    let mut socket = TcpStream::connect(running.address()).unwrap();
    socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
    for _ in 0..2 {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut back = [0; 1_000];
        let n = socket.read(&mut back).unwrap();
        assert_eq!(answer(&back[..n]).text(), "stopped", "hs13: live connections go on");
        assert!(TcpStream::connect(running.address()).is_err(), "hs13: nobody listens any more");
    }
}
