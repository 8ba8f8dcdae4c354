//! TLS over any transport that goes both ways, for the generic tests.

use std::time::Duration;

use ioloop::IoLoop;
use iostream::tls::{TlsAcceptor, TlsClientConfig};
use iostream::{IoStream, StreamOptions};

use crate::support::transports::{BothWays, Connect};
use crate::wire::{Authority, NAME, VERSIONS};

/// More than TLS itself holds of what was written: 64 KiB, as records.
const HELD: usize = 80 * 1024;

pub(crate) struct Tls<C> {
    carrier: C,
    acceptor: TlsAcceptor,
    client: TlsClientConfig,
    writer_serves: bool,
}

impl<C> Tls<C> {
    /// The seed says which version of TLS is spoken, and which side is the server's: four seeds are all there is.
    pub(crate) fn seeded(carrier: C, seed: u64) -> Tls<C> {
        println!("TLS as of seed {seed}"); // shown when a test fails
        let authority = Authority::new();
        let server = authority.issue(NAME).server().versions([VERSIONS[seed as usize % 2]]).build().unwrap();
        // A slow wire has all the time it wants.
        Tls {
            carrier,
            acceptor: server.handshake_timeout(Duration::MAX).into(),
            client: authority.client().build().unwrap().handshake_timeout(Duration::MAX),
            writer_serves: seed / 2 % 2 == 1,
        }
    }

    /// All four over `carrier`.
    pub(crate) fn each(carrier: impl Fn() -> C) -> impl Iterator<Item = Tls<C>> {
        (0..4).map(move |seed| Tls::seeded(carrier(), seed))
    }
}

impl<C: BothWays> BothWays for Tls<C> {}

impl<C: BothWays> Connect for Tls<C> {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let (writer, reader) = self.carrier.connect(options).await;
        let (server, client) = if self.writer_serves { (&writer, &reader) } else { (&reader, &writer) };
        let serving = IoLoop::current().spawn({
            let (server, acceptor) = (server.clone(), self.acceptor.clone());
            async move { server.start_tls_server(&acceptor).await }
        });
        client.start_tls_client(&self.client, NAME).await.unwrap();
        serving.await.unwrap().unwrap();
        (writer, reader)
    }

    fn run<F: Future>(&self, test: F) -> F::Output {
        self.carrier.run(test)
    }

    fn plenty(&self) -> usize {
        self.carrier.plenty() + HELD
    }

    fn registrations(&self) -> usize {
        self.carrier.registrations()
    }
}
