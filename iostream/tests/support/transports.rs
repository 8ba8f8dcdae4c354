//! The transports that the generic tests run over. One more is an implementation of [`Connect`], and of [`BothWays`] if it
//! is that, and a line in each of `every_transport.rs` and `mixed_reads.rs`. TLS, over any of these, is in `tls_over.rs`.

use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::testing::{Faults, Pair};
use iostream::{IntoTransport, IoStream, StreamOptions};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(180);

/// How to come by two streams that are connected.
pub(crate) trait Connect {
    /// One that writes and one that reads. Most tests need no other direction.
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream);

    /// Runs a test on a loop that suits the transport; it fails if it is never done.
    fn run<F: Future>(&self, test: F) -> F::Output {
        IoLoop::new().unwrap().run_sync_timeout(AT_MOST, test).unwrap()
    }

    /// More bytes than find room between a writer and a reader who does not read.
    fn plenty(&self) -> usize;

    /// The most sources that both streams register in their lives.
    fn registrations(&self) -> usize {
        2
    }
}

/// Bytes go both ways, and either may end before the other. The tests that need this ask for it.
pub(crate) trait BothWays: Connect {}

fn streams<W: IntoTransport, R: IntoTransport>(
    writer: W,
    reader: R,
    options: StreamOptions,
) -> (IoStream, IoStream) {
    let options = Rc::new(options);
    let writer = IoStream::with_options(writer, Rc::clone(&options)).unwrap();
    (writer, IoStream::with_options(reader, options).unwrap())
}

pub(crate) struct Tcp;

impl BothWays for Tcp {}

impl Connect for Tcp {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        streams(writer, listener.accept().unwrap().0, options)
    }

    fn plenty(&self) -> usize {
        32 << 20 // the kernel's buffers grow, to 4 MiB and 6 MiB as Linux comes
    }
}

#[cfg(unix)]
pub(crate) struct Unix;

#[cfg(unix)]
impl BothWays for Unix {}

#[cfg(unix)]
impl Connect for Unix {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let (writer, reader) = std::os::unix::net::UnixStream::pair().unwrap();
        streams(writer, reader, options)
    }

    fn plenty(&self) -> usize {
        4 << 20
    }
}

/// One pipe: a stream that only writes and one that only reads.
#[cfg(unix)]
pub(crate) struct Pipe;

#[cfg(unix)]
impl Connect for Pipe {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let (reader, writer) = std::io::pipe().unwrap();
        streams(writer, reader, options)
    }

    fn plenty(&self) -> usize {
        4 << 20
    }
}

/// A pipe for each direction, as between a program and its child.
#[cfg(unix)]
pub(crate) struct Pipes;

#[cfg(unix)]
impl BothWays for Pipes {}

#[cfg(unix)]
impl Connect for Pipes {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let (there, back) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        streams((back.0, there.1), (there.0, back.1), options)
    }

    fn plenty(&self) -> usize {
        4 << 20
    }

    fn registrations(&self) -> usize {
        4
    }
}

/// A pair in memory, on virtual time.
pub(crate) struct Memory(pub(crate) Faults);

impl Memory {
    pub(crate) fn seeded(seed: u64) -> Memory {
        println!("Memory::seeded({seed})"); // shown when a test fails
        Memory(Faults::seeded(seed))
    }
}

impl BothWays for Memory {}

impl Connect for Memory {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let pair = Pair::with_options(self.0.clone(), options);
        (pair.left, pair.right)
    }

    fn run<F: Future>(&self, test: F) -> F::Output {
        VirtualLoop::new().run(test)
    }

    fn plenty(&self) -> usize {
        70_000
    }
}
