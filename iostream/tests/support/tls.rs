//! What the TLS tests share: certificates, both sides ready made, and a wire in memory between them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use ioloop::{IoLoop, Notifier, Ready, Registration};
use iostream::tls::{Pem, TlsAcceptor, TlsClientBuilder, TlsClientConfig, TlsServerBuilder, TlsServerConfig};
use iostream::tls::{TlsError, TlsVersion};
use iostream::{CloseReason, IoStream, StreamError, Transport};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support;

/// The name that server certificates are for, unless a test wants another.
pub(crate) const NAME: &str = "server.test";

pub(crate) const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// An authority, and what it issues.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Two of one name would be taken for each other, and told apart only by their signatures.
        let name = format!("authority {:02x?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| {})
    }

    pub(crate) fn issue_with(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { chain, key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> TlsClientBuilder {
        TlsClientConfig::builder().trust(Pem::text(&self.pem))
    }
}

impl Issued {
    pub(crate) fn server(&self) -> TlsServerBuilder {
        TlsServerConfig::builder().certificate(Pem::text(&self.chain), Pem::text(&self.key))
    }
}

/// A server for `NAME` and a client that trusts it, for one version of TLS.
pub(crate) fn sides_for(version: TlsVersion) -> (TlsAcceptor, TlsClientConfig) {
    let authority = Authority::new();
    let server = authority.issue(NAME).server().versions([version]).build().unwrap();
    (TlsAcceptor::new(server), authority.client().build().unwrap())
}

pub(crate) fn sides() -> (TlsAcceptor, TlsClientConfig) {
    sides_for(TlsVersion::Tls13)
}

pub(crate) type Outcome = Result<IoStream, StreamError>;

/// Has both ends of a wire begin TLS: what came of it at the server, and at the client.
pub(crate) async fn handshake(
    wire: &Wire,
    acceptor: &TlsAcceptor,
    client: &TlsClientConfig,
    name: &str,
) -> (Outcome, Outcome) {
    let (at_server, at_client) = wire.streams();
    let serving = IoLoop::current().spawn({
        let acceptor = acceptor.clone();
        async move { at_server.start_tls_server(&acceptor).await.map(|()| at_server) }
    });
    let connecting = at_client.start_tls_client(client, name).await.map(|()| at_client);
    (serving.await.unwrap(), connecting)
}

/// Two streams that speak TLS with each other: the server's and the client's.
pub(crate) async fn connected(wire: &Wire, version: TlsVersion) -> (IoStream, IoStream) {
    let (acceptor, client) = sides_for(version);
    let (server, client) = handshake(wire, &acceptor, &client, NAME).await;
    (server.unwrap(), client.unwrap())
}

#[track_caller]
pub(crate) fn tls_error<T>(result: Result<T, StreamError>) -> TlsError {
    match result {
        Err(StreamError::Closed(CloseReason::Tls(error)) | StreamError::Tls(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("no error"),
    }
}

/// What the client makes of a server that shows this certificate, and the server of that client.
pub(crate) fn refusal(server: &TlsAcceptor, client: &TlsClientConfig, name: &str) -> (TlsError, TlsError) {
    support::run(async {
        let wire = Wire::default();
        let (server, client) = handshake(&wire, server, client, name).await;
        (tls_error(client), tls_error(server))
    })
}

pub(crate) fn alert(error: &TlsError) -> u8 {
    match error {
        TlsError::AlertReceived(alert) => alert.code(),
        other => panic!("{other:?}"),
    }
}

/// A wire in memory, edge-triggered like a socket, with two ends; it takes and gives as little at a time as a test wants.
/// The first end is the server's.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    ways: [Rc<Way>; 2],
}

/// What goes in one direction.
pub(crate) struct Way {
    bytes: RefCell<VecDeque<u8>>,
    /// Everything that ever went this way.
    pub(crate) seen: RefCell<Vec<u8>>,
    pub(crate) ended: Cell<bool>,
    /// The most bytes that are under way; more would block.
    pub(crate) capacity: Cell<usize>,
    pub(crate) largest_read: Cell<usize>,
    pub(crate) largest_write: Cell<usize>,
    pub(crate) writes: Cell<usize>,
    pub(crate) reads: Cell<usize>,
    reader: RefCell<Option<Notifier>>,
    writer: RefCell<Option<Notifier>>,
}

impl Default for Way {
    fn default() -> Way {
        Way {
            bytes: RefCell::default(),
            seen: RefCell::default(),
            ended: Cell::new(false),
            capacity: Cell::new(256 * 1024),
            largest_read: Cell::new(usize::MAX),
            largest_write: Cell::new(usize::MAX),
            writes: Cell::new(0),
            reads: Cell::new(0),
            reader: RefCell::default(),
            writer: RefCell::default(),
        }
    }
}

impl Wire {
    /// A wire whose ends read and write at most `piece` bytes at a time, with room for `capacity`.
    pub(crate) fn cut(piece: usize, capacity: usize) -> Wire {
        let wire = Wire::default();
        for way in &wire.ways {
            way.largest_read.set(piece);
            way.largest_write.set(piece);
            way.capacity.set(capacity);
        }
        wire
    }

    pub(crate) fn to_server(&self) -> &Way {
        &self.ways[0]
    }

    pub(crate) fn to_client(&self) -> &Way {
        &self.ways[1]
    }

    pub(crate) fn server_end(&self) -> Box<WireEnd> {
        Box::new(WireEnd { incoming: Rc::clone(&self.ways[0]), outgoing: Rc::clone(&self.ways[1]) })
    }

    pub(crate) fn client_end(&self) -> Box<WireEnd> {
        Box::new(WireEnd { incoming: Rc::clone(&self.ways[1]), outgoing: Rc::clone(&self.ways[0]) })
    }

    pub(crate) fn streams(&self) -> (IoStream, IoStream) {
        (IoStream::new(self.server_end()).unwrap(), IoStream::new(self.client_end()).unwrap())
    }
}

impl Way {
    fn notify(notifier: &RefCell<Option<Notifier>>, ready: Ready) {
        if let Some(notifier) = &*notifier.borrow() {
            notifier.set_ready(ready);
        }
    }

    /// Sends what nobody has written.
    pub(crate) fn inject(&self, data: &[u8]) {
        self.bytes.borrow_mut().extend(data);
        Way::notify(&self.reader, Ready::READABLE);
    }

    pub(crate) fn end(&self) {
        self.ended.set(true);
        Way::notify(&self.reader, Ready::READABLE | Ready::READ_CLOSED);
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        self.capacity.set(capacity);
        Way::notify(&self.writer, Ready::WRITABLE);
    }

    fn room(&self) -> usize {
        self.capacity.get().saturating_sub(self.bytes.borrow().len())
    }
}

/// One end of a wire. Dropping it ends its side, as closing a socket does.
pub(crate) struct WireEnd {
    incoming: Rc<Way>,
    outgoing: Rc<Way>,
}

impl Transport for WireEnd {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        *self.incoming.reader.borrow_mut() = Some(registration.notifier());
        *self.outgoing.writer.borrow_mut() = Some(registration.notifier());
        let mut ready = Ready::EMPTY;
        if !self.incoming.bytes.borrow().is_empty() {
            ready |= Ready::READABLE;
        }
        if self.incoming.ended.get() {
            ready |= Ready::READABLE | Ready::READ_CLOSED;
        }
        if self.outgoing.room() > 0 {
            ready |= Ready::WRITABLE;
        }
        registration.set_ready(ready);
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let way = &self.incoming;
        way.reads.set(way.reads.get() + 1);
        let mut bytes = way.bytes.borrow_mut();
        if bytes.is_empty() {
            return if way.ended.get() { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let was_full = bytes.len() >= way.capacity.get();
        let n = bytes.len().min(buffer.len()).min(way.largest_read.get());
        for (to, byte) in buffer.iter_mut().zip(bytes.drain(..n)) {
            *to = byte;
        }
        drop(bytes);
        if was_full {
            Way::notify(&way.writer, Ready::WRITABLE);
        }
        Ok(n)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let way = &self.outgoing;
        way.writes.set(way.writes.get() + 1);
        if way.ended.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = data.len().min(way.room()).min(way.largest_write.get());
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        way.bytes.borrow_mut().extend(&data[..n]);
        way.seen.borrow_mut().extend_from_slice(&data[..n]);
        Way::notify(&way.reader, Ready::READABLE);
        Ok(n)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.outgoing.end();
        Ok(())
    }

    fn short_read_means_drained(&self) -> bool {
        self.incoming.largest_read.get() == usize::MAX
    }
}

impl Drop for WireEnd {
    fn drop(&mut self) {
        self.outgoing.end();
    }
}
