//! TLS over the kernel's sockets: both sides ours, and against rustls in a blocking thread.
#![cfg(unix)]

mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ioloop::IoLoop;
use iostream::tls::{Pem, TlsAcceptor, TlsClientConfig, TlsError};
use iostream::{IoStream, leased_blocks};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::noise;
use wire::{Authority, NAME, VERSIONS, alert, sides, sides_for, tls_error};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

#[track_caller]
fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Both ends over TCP: the server's, and the client's.
async fn connected(acceptor: &TlsAcceptor, client: &TlsClientConfig) -> (IoStream, IoStream) {
    let (listener, address) = listener();
    let connecting = IoLoop::current().spawn({
        let client = client.clone();
        async move { IoStream::connect_tls(address, NAME, &client).await }
    });
    // The kernel has the connection before anybody accepts it, so this blocks for a moment at most.
    ioloop::yield_now().await;
    let server = IoStream::accept_tls(listener.accept().unwrap().0, acceptor).await.unwrap();
    (server, connecting.await.unwrap().unwrap())
}

/// Sends so much each way at once that neither side's kernel holds it.
async fn exchange(server: &IoStream, client: &IoStream) {
    let (there, back) = (noise(8_000_000), noise(5_000_000));
    let tasks: Vec<_> = [(client, &there), (server, &back)]
        .into_iter()
        .map(|(stream, data)| {
            let (stream, data) = (stream.clone(), data.clone());
            IoLoop::current().spawn(async move {
                stream.write(data).await.unwrap();
                stream.shutdown_write().await.unwrap();
            })
        })
        .collect();
    let reading = IoLoop::current().spawn({
        let server = server.clone();
        async move { server.read_until_close().await }
    });
    assert!(client.read_until_close().await.unwrap() == back);
    assert!(reading.await.unwrap().unwrap() == there);
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn io30_megabytes_cross_both_ways_over_tcp() {
    for version in VERSIONS {
        let (acceptor, client) = sides_for(version);
        run(async {
            let (server, client) = connected(&acceptor, &client).await;
            exchange(&server, &client).await;
            assert_eq!(leased_blocks(), 0);
        });
    }
}

#[test]
fn io30_they_do_over_a_unix_socket_too() {
    let (acceptor, config) = sides();
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = IoStream::new(theirs).unwrap();
        let serving = IoLoop::current().spawn(async move { IoStream::accept_tls(ours, &acceptor).await });
        client.start_tls_client(&config, NAME).await.unwrap();
        let server = serving.await.unwrap().unwrap();
        exchange(&server, &client).await;
    });
}

#[test]
fn io45_connecting_is_done_when_the_name_has_been_checked() {
    let authority = Authority::new();
    let acceptor: TlsAcceptor = authority.issue("another.test").server().build().unwrap().into();
    let client = authority.client().build().unwrap();
    run(async {
        let (listener, address) = listener();
        let connecting =
            IoLoop::current().spawn(async move { IoStream::connect_tls(address, NAME, &client).await });
        ioloop::yield_now().await;
        let server = IoStream::accept_tls(listener.accept().unwrap().0, &acceptor).await;
        assert!(matches!(tls_error(server), TlsError::AlertReceived(_)));
        assert_eq!(tls_error(connecting.await.unwrap()), TlsError::WrongName);
    });
}

/// A TLS 1.3 server says so when the client's handshake is done, and closes.
#[test]
fn io33_a_client_whose_write_meets_the_end_first_learns_why_the_server_has_turned_it_away() {
    let authority = Authority::new();
    let server = authority.issue(NAME).server().require_client_certificates(Pem::text(&authority.pem));
    let acceptor: TlsAcceptor = server.build().unwrap().into();
    let client = authority.client().build().unwrap();
    run(async {
        let (listener, address) = listener();
        let connecting =
            IoLoop::current().spawn(async move { IoStream::connect_tls(address, NAME, &client).await });
        ioloop::yield_now().await;
        let server = IoStream::accept_tls(listener.accept().unwrap().0, &acceptor).await;
        assert_eq!(tls_error(server), TlsError::NoCertificate);
        let client = connecting.await.unwrap().unwrap();
        let refused = loop {
            if let Err(error) = client.write("request").await {
                break Err::<(), _>(error);
            }
        };
        assert_eq!(alert(&tls_error(refused)), 116, "certificate_required");
    });
}

#[test]
fn what_is_asked_of_a_socket_is_answered_by_the_one_beneath() {
    let (acceptor, client) = sides();
    run(async {
        let (server, client) = connected(&acceptor, &client).await;
        assert_eq!(server.peer_addr(), client.local_addr());
        assert_eq!(client.peer_addr(), server.local_addr());
        assert!(server.peer_addr().is_some());
        server.set_nodelay(true).unwrap();
        assert!(server.with_descriptor(|_| ()).is_some());
    });
}

/// A connection of rustls' own, blocking.
fn blocking_client(
    authority: &Authority,
) -> impl FnOnce(TcpStream) -> StreamOwned<ClientConnection, TcpStream> + use<> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    move |socket| {
        let name = ServerName::try_from(NAME).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }
}

#[test]
fn io53_a_peer_sees_a_clean_end_and_we_see_a_cut() {
    let authority = Authority::new();
    let acceptor: TlsAcceptor = authority.issue(NAME).server().build().unwrap().into();
    let begin = blocking_client(&authority);
    run(async {
        let (listener, address) = listener();
        let peer = thread::spawn(move || {
            let mut tls = begin(TcpStream::connect(address).unwrap());
            tls.write_all(b"half a mess").unwrap();
            tls.sock.shutdown(Shutdown::Write).unwrap(); // no close_notify
            let mut answer = Vec::new();
            tls.read_to_end(&mut answer).unwrap(); // which fails without ours
            answer
        });
        let stream = IoStream::accept_tls(listener.accept().unwrap().0, &acceptor).await.unwrap();
        assert_eq!(stream.read_bytes(4).await.unwrap(), "half");
        stream.write("answer").await.unwrap();
        stream.shutdown_write().await.unwrap();
        assert_eq!(tls_error(stream.read_until_close().await), TlsError::Truncated);
        assert_eq!(peer.join().unwrap(), b"answer");
    });
}

#[test]
fn io53_a_client_that_never_reads_does_not_reset_what_it_has_sent() {
    let (acceptor, client) = sides(); // TLS 1.3, so that the server sends tickets, which nobody reads
    run(async {
        let (server, client) = connected(&acceptor, &client).await;
        let data = noise(3_000_000);
        let sending = IoLoop::current().spawn({
            let data = data.clone();
            async move {
                client.write(data).await.unwrap();
                client.shutdown_write().await.unwrap();
            }
        });
        while !sending.is_finished() {
            // As slowly as can be, so that the last of it is still under way when the client's socket closes.
            server.fill().await.unwrap();
        }
        assert!(server.read_until_close().await.unwrap() == data);
    });
}

#[test]
fn io38_the_close_callback_hears_of_a_tls_peer_that_goes() {
    let (acceptor, client) = sides();
    run(async {
        let (server, client) = connected(&acceptor, &client).await;
        let heard = Rc::new(Cell::new(false));
        server.set_close_callback(Some(Box::new({
            let (server, heard) = (server.clone(), Rc::clone(&heard));
            move || {
                heard.set(true);
                server.close();
            }
        })));
        drop(client);
        server.closed().await; // perhaps by a reset already, as the client has left tickets unread
        support::turns(2).await;
        assert!(heard.get() && server.is_closed());
    });
}
