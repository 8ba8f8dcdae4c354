//! What several of the tests need: a loop with a client beside it, and a log that can be read.

#![allow(dead_code, reason = "each test file uses a part")]

#[path = "../../../ioloop/tests/support/overdue.rs"]
mod overdue;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, Remote};
use iostream::{IoStream, StreamError};
pub(crate) use overdue::{AT_MOST, watch_this_test};
use tcpserver::{ConnectionContext, HandleStream, TcpServer};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, span};

/// A loop that is this thread's current one, in a test that fails if it hangs.
pub(crate) fn current_loop() -> IoLoop {
    watch_this_test();
    let io_loop = IoLoop::new().expect("a poller");
    io_loop.make_current();
    io_loop
}

/// The same on virtual time.
pub(crate) fn virtual_loop() -> VirtualLoop {
    let test = VirtualLoop::new();
    test.make_current();
    test
}

/// A loopback listener and its address.
pub(crate) fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// A listener of `server`, and where it is.
pub(crate) fn listen<H: HandleStream>(server: &TcpServer<H>) -> SocketAddr {
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    address
}

/// A client; its reads fail if nothing ever comes.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("somebody listens");
    client.set_read_timeout(Some(AT_MOST)).expect("a time");
    client
}

/// Runs the loop while `client` runs in a thread, and gives what the client made; a client that fails ends both.
pub(crate) fn with_client<T: Send + 'static>(
    io_loop: &IoLoop,
    client: impl FnOnce() -> T + Send + 'static,
) -> T {
    struct Stop(Remote);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let stop = Stop(io_loop.remote());
    let thread = thread::spawn(move || {
        let _stop = stop;
        client()
    });
    io_loop.start().expect("the loop runs");
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs the loop, turn by turn, until `done`.
pub(crate) fn run_until(io_loop: &IoLoop, done: impl Fn() -> bool) {
    let until_done = async {
        while !done() {
            ioloop::yield_now().await;
        }
    };
    io_loop.run_sync(until_done).expect("the loop runs");
}

/// Writes `line` and reads as many bytes back.
pub(crate) fn talk(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(line.as_bytes()).expect("the server reads");
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    String::from_utf8(answer).expect("text came back")
}

/// The same with a server on a loop that this thread runs, on virtual time.
pub(crate) fn talk_on(test: &ioloop::testing::VirtualLoop, stream: &mut TcpStream, line: &str) {
    stream.write_all(line.as_bytes()).expect("it is queued");
    test.run_until_stalled();
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, line.as_bytes());
}

/// A line echo, for tests of what is around a handler.
pub(crate) async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until_max(b"\n", 8192).await?;
        stream.write(line).await?;
    }
}

/// Gives lines back; never ends one that begins with `s`.
pub(crate) async fn echo_until_drained(
    stream: IoStream,
    context: ConnectionContext,
) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
        let line = line?;
        let is_endless = line.starts_with(b"s");
        stream.write(line).await?;
        if is_endless {
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

/// Whether nobody listens at `address`.
pub(crate) fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Everything up to the end; `None` in place of an end if there was a reset.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Some(all),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("the connection failed: {error}"),
    }
}

/// A log of this thread's events, one line each: level, message, fields.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Log {
    /// Begins to keep what this thread logs.
    pub(crate) fn begin() -> (Log, DefaultGuard) {
        // While there is but one subscriber in the process, a thread that has none would switch lines off for all.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(Log::default()));
        let log = Log::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// The lines at `level`.
    pub(crate) fn at(&self, level: Level) -> Vec<String> {
        let lines = self.lines.lock().expect("nobody panicked while logging");
        lines.iter().filter(|(at, _)| *at == level).map(|(_, line)| line.clone()).collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.lines.lock().expect("nobody panicked while logging").push((*event.metadata().level(), line.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
