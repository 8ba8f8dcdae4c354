//! HTTP over TLS on real sockets: the server does the handshake, requests know of it.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use httpserver::{HttpServer, ListenOptions, Request, Response};
use ioloop::IoLoop;
use iostream::tls::{Pem, TlsClientConfig, TlsServerConfig};
use iostream::{IoStream, StreamError};
use tcpserver::BindOptions;

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

async fn what(request: Request) -> Response {
    let version = request.tls_info().map(|info| info.version());
    Response::text(format!("{} {version:?}", request.protocol()))
}

async fn ask(stream: IoStream) -> Result<String, StreamError> {
    stream.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    stream.read_until(b"\r\n\r\n").await?;
    Ok(String::from_utf8_lossy(&stream.read_until_close().await?).into_owned())
}

/// A server's configuration, and a client that trusts it.
fn sides() -> (TlsServerConfig, TlsClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key));
    let client = TlsClientConfig::builder().trust(Pem::text(&chain));
    (server.alpn(["http/1.1"]).build().unwrap(), client.alpn(["http/1.1"]).build().unwrap())
}

#[test]
fn hs5_a_server_has_https_and_http_at_once_and_a_request_knows_which_it_is() {
    let (config, client) = sides();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();

    let loopback = BindOptions::new().address("127.0.0.1");
    let server = HttpServer::new(what).tls(config);
    let secure = server.listen_with(0, &loopback).unwrap()[0];
    let plain = server.with(ListenOptions::new()).listen_with(0, &loopback).unwrap()[0];
    let (over_tls, without) = io_loop
        .run_sync_timeout(AT_MOST, async {
            let stream = IoStream::connect_tls(secure, "localhost", &client).await?;
            let over_tls = ask(stream).await?;
            Ok::<_, StreamError>((over_tls, ask(IoStream::connect(plain).await?).await?))
        })
        .unwrap()
        .unwrap();
    assert_eq!(over_tls, "https Some(Tls13)");
    assert_eq!(without, "http None");
    assert_eq!(server.accepted_connections(), 2);
}

/// Says `words` over TLS or without, ends its side beneath that, and gives what comes back.
async fn say_and_end(
    address: SocketAddr,
    tls: Option<&TlsClientConfig>,
    words: &str,
) -> Result<String, StreamError> {
    let socket = TcpStream::connect(address).unwrap();
    let beneath = socket.try_clone().unwrap();
    let stream = IoStream::new(socket).unwrap();
    if let Some(tls) = tls {
        stream.start_tls_client(tls, "localhost").await?;
    }
    stream.write(words.to_owned()).await?;
    beneath.shutdown(Shutdown::Write).unwrap();
    Ok(String::from_utf8_lossy(&stream.read_until_close().await?).into_owned())
}

#[test]
fn io53_a_request_that_is_whole_is_answered_though_the_client_has_ended_its_side_without_a_word() {
    async fn slow_echo(request: Request) -> Response {
        if request.path() == "/slow" {
            for _ in 0..10 {
                ioloop::yield_now().await;
            }
        }
        let body = request.body().clone();
        Response::text(format!("{} {}", request.path(), body.len()))
    }
    let (config, client) = sides();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let loopback = BindOptions::new().address("127.0.0.1");
    let server = HttpServer::new(slow_echo).tls(config);
    let secure = server.listen_with(0, &loopback).unwrap()[0];
    let plain = server.with(ListenOptions::new()).listen_with(0, &loopback).unwrap()[0];
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{body}")
    };
    for (address, tls) in [(plain, None), (secure, Some(&client))] {
        let ask = |words: String| {
            io_loop.run_sync_timeout(AT_MOST, say_and_end(address, tls, &words)).unwrap().unwrap()
        };
        for path in ["/", "/slow"] {
            let back = ask(post(path, "four"));
            assert!(back.starts_with("HTTP/1.1 200 ") && back.ends_with(&format!("{path} 4")), "{back}");
        }
        let back = ask(post("/1", "four") + &post("/2", "four") + &post("/3", "cut"));
        let (one, two) = (back.find("/1 4").unwrap(), back.find("/2 4").unwrap());
        assert!(one < two && back[two..].contains("HTTP/1.1 400 ") && !back.contains("/3"), "{back}");
        assert_eq!(ask(String::new()), "", "nothing was asked");
    }
}
