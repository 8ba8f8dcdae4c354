//! The transports that the generic tests run over. One more is an implementation of [`Connect`], and a line in each of
//! `every_transport.rs` and `mixed_reads.rs`.

use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::testing::{Faults, Pair};
use iostream::{IoStream, StreamOptions};

/// Long enough for a machine that is busy; reached only by a test that fails.
const AT_MOST: Duration = Duration::from_secs(60);

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
}

pub(crate) struct Tcp;

impl Connect for Tcp {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reader = listener.accept().unwrap().0;
        let options = Rc::new(options);
        (
            IoStream::with_options(writer, Rc::clone(&options)).unwrap(),
            IoStream::with_options(reader, options).unwrap(),
        )
    }

    fn plenty(&self) -> usize {
        32 << 20 // the kernel's buffers grow, to 4 MiB and 6 MiB as Linux comes
    }
}

#[cfg(unix)]
pub(crate) struct Unix;

#[cfg(unix)]
impl Connect for Unix {
    async fn connect(&self, options: StreamOptions) -> (IoStream, IoStream) {
        let (writer, reader) = std::os::unix::net::UnixStream::pair().unwrap();
        let options = Rc::new(options);
        (
            IoStream::with_options(writer, Rc::clone(&options)).unwrap(),
            IoStream::with_options(reader, options).unwrap(),
        )
    }

    fn plenty(&self) -> usize {
        4 << 20
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
