//! The load generator over TLS, against rustls on a thread for each connection.

#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use benches::load::{Load, LoadError, Until, Wanted};
use benches::scenario::Traffic;
use benches::tls::Certificate;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn server() -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::create(folder.path()).unwrap();
    let chain = CertificateDer::pem_file_iter(&certificate.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(session, stream.unwrap());
            thread::spawn(|| answer(stream));
        }
    });
    address
}

/// An answer for every blank line, until the client goes away; the last one when it is asked to close.
fn answer(stream: StreamOwned<ServerConnection, TcpStream>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut close) = (String::new(), false);
    while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
        close |= line == "Connection: close\r\n";
        if line == "\r\n" {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
            if close {
                let tls = stream.get_mut();
                tls.conn.send_close_notify();
                return tls.flush().unwrap();
            }
        }
        line.clear();
    }
}

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[test]
fn requests_are_counted_over_kept_connections() {
    for depth in [1, 16] {
        let wanted = Wanted::http(&Traffic::Get("/plaintext", 5).request(false), depth).over_tls();
        let mut load = Load::open(server(), 3, wanted, never()).unwrap();
        let measured = load.run(Until::Requests(96)).unwrap();
        assert_eq!((measured.answers, measured.refused, measured.errors), (96, 0, 0));
        assert_eq!(measured.body_bytes, 96 * 5);
    }
}

#[test]
fn a_connection_and_its_handshake_are_made_for_each_request() {
    let wanted = Wanted::http_then_close(&Traffic::Get("/plaintext", 5).request(true)).over_tls();
    let mut load = Load::open(server(), 2, wanted, never()).unwrap();
    let measured = load.run(Until::Requests(10)).unwrap();
    assert_eq!((measured.answers, measured.errors), (10, 0));
}

#[test]
fn where_no_tls_is_spoken_there_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let wanted = Wanted::http(b"GET / HTTP/1.1\r\n\r\n", 1).over_tls();
    let result = Load::open(address, 1, wanted, never());
    assert!(matches!(result, Err(LoadError::NoAnswer)), "{result:?}");
}
