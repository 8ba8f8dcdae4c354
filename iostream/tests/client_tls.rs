//! A client that connects by name and speaks TLS: the name is checked, and one deadline covers everything.

mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::tls::{TlsAcceptor, TlsClientConfig, TlsError};
use iostream::{CloseReason, ConnectError, ConnectStep, IoStream, StreamError, TcpClient};
use netutil::{BlockingResolver, OverrideResolver};
use wire::{NAME, sides};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

fn run<F: Future>(test: F) -> F::Output {
    IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
}

/// A listener, and a client for which three names lead there.
fn scene(tls: TlsClientConfig) -> (TcpListener, u16, TcpClient) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let names = [NAME, "other.test", "a name"].map(|name| (name, "127.0.0.1"));
    let names = OverrideResolver::new(BlockingResolver, names);
    (listener, address.port(), TcpClient::new().resolver(names).tls(tls))
}

/// The client's end, and what became of the server's.
async fn connect(
    (listener, port, client): (TcpListener, u16, TcpClient),
    acceptor: TlsAcceptor,
    host: &'static str,
) -> (Result<IoStream, ConnectError>, Result<IoStream, StreamError>) {
    let connecting = IoLoop::current().spawn(async move { client.connect(host, port).await });
    let socket = IoLoop::current().run_in_executor(move || listener.accept().unwrap().0).await.unwrap();
    let server = IoStream::accept_tls(socket, &acceptor).await;
    (connecting.await.unwrap(), server)
}

#[test]
fn tc8_the_handshake_is_for_the_name_that_was_looked_up() {
    run(async {
        let (acceptor, tls) = sides();
        let (client, server) = connect(scene(tls), acceptor, NAME).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.tls_info().unwrap().server_name(), Some(NAME));
        client.write("hello\n").await.unwrap();
        assert_eq!(&server.read_until(b"\n").await.unwrap()[..], b"hello\n");
    });
}

#[test]
fn tc8_a_certificate_for_another_name_ends_the_connection() {
    run(async {
        let (acceptor, tls) = sides();
        let (client, server) = connect(scene(tls), acceptor, "other.test").await;
        let error = client.unwrap_err();
        let ConnectError::Tls { error: StreamError::Closed(CloseReason::Tls(cause)), host, .. } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((cause, host.as_str()), (&TlsError::WrongName, "other.test"));
        let kind = error.kind();
        assert_eq!(io::Error::from(error).kind(), kind);
        drop(server);
    });
}

#[test]
fn tc8_a_name_that_no_certificate_can_be_for_opens_nothing() {
    run(async {
        let (listener, port, client) = scene(sides().1);
        let error = client.connect("a name", port).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Tls { error: StreamError::Tls(TlsError::InvalidServerName), .. }),
            "{error}"
        );
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn tc3_the_deadline_covers_the_handshake_and_the_socket_is_closed() {
    // On virtual time: all that happens before the deadline is done by then, however slow the machine is.
    VirtualLoop::new().run(async {
        let (listener, port, client) = scene(sides().1);
        let error = client.timeout(Duration::from_millis(200)).connect(NAME, port).await.unwrap_err();
        let ConnectError::TimedOut { step: ConnectStep::Handshake, pending, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(pending, &[SocketAddr::from(([127, 0, 0, 1], port))]);
        let mut socket = listener.accept().unwrap().0;
        let mut hello = Vec::new();
        socket.read_to_end(&mut hello).unwrap();
        assert!(!hello.is_empty(), "it began, and it ended");
    });
}
