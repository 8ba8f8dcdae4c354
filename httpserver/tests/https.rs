//! HTTP over TLS on real sockets: the server does the handshake, requests know of it.

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

#[test]
fn hs5_a_server_has_https_and_http_at_once_and_a_request_knows_which_it_is() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let config =
        TlsServerConfig::builder().certificate(Pem::text(&chain), Pem::text(&key)).alpn(["http/1.1"]);
    let client = TlsClientConfig::builder().trust(Pem::text(&chain)).alpn(["http/1.1"]).build().unwrap();
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();

    let loopback = BindOptions::new().address("127.0.0.1");
    let server = HttpServer::new(what).tls(config.build().unwrap());
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
