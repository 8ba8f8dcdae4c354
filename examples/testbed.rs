//! The server that benchmarks and fault tests drive: a few routes that each load one thing.
//!
//! Run it:          cargo run --release --example testbed -- [--port N] [--loops N] [--grace S] [--max-connections N]
//!                      [--header-timeout S] [--idle-timeout S] [--body-timeout S] [--write-timeout S] [--handler-timeout S]
//!                      [--max-body BYTES] [--memory BYTES]: what the streams of a loop may hold together
//!                  with --features tls also [--cert FILE --key FILE], PEM both
//!                  with --features gzip also [--max-inflation TIMES]: bodies are decompressed, to so many times their size
//! In another shell: curl -s http://127.0.0.1:8888/plaintext
//!
//! GET /plaintext   GET /json   POST /echo   GET /bytes/N   GET /chunked/N   GET /pieces/N   POST /count   POST /form
//! GET /sleep/MS    GET /counters    GET /panic  POST /die (with --loops: one of them)
//!
//! It ends in good order on SIGTERM and Ctrl-C, within --grace, and counts SIGHUP, SIGUSR1 and SIGUSR2.

#[path = "testbed/routes.rs"]
mod routes;
#[path = "testbed/watch.rs"]
mod watch;

use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use httpserver::{Handler, HttpOptions, HttpServer, Streaming};
use ioloop::{IoLoop, Loops, SignalKind, Worker, signal};
use iostream::MemoryBudget;
#[cfg(feature = "tls")]
use iostream::tls::TlsServerConfig;

use routes::route;

const USAGE: &str = "testbed [--port N] [--loops N] [--grace S] [--max-connections N] [--header-timeout S] \
                     [--idle-timeout S] [--body-timeout S] [--write-timeout S] [--handler-timeout S] [--max-body BYTES] \
                     [--memory BYTES] \
                     [--cert FILE --key FILE] [--max-inflation TIMES]";
const FLAGS: &[&str] = &[
    "--port",
    "--loops",
    "--grace",
    "--max-connections",
    "--header-timeout",
    "--idle-timeout",
    "--body-timeout",
    "--write-timeout",
    "--handler-timeout",
    "--max-body",
    "--memory",
    #[cfg(feature = "tls")]
    "--cert",
    #[cfg(feature = "tls")]
    "--key",
    #[cfg(feature = "gzip")]
    "--max-inflation",
];

/// What each loop's server is given.
#[derive(Clone)]
struct Settings {
    http: HttpOptions,
    most: Option<usize>,
    memory: Option<usize>,
    #[cfg(feature = "tls")]
    tls: Option<TlsServerConfig>,
}

fn settings(flags: &examples::Flags) -> Result<Settings, Box<dyn Error>> {
    Ok(Settings {
        http: options(flags),
        most: flags.value("--max-connections"),
        memory: flags.value("--memory"),
        #[cfg(feature = "tls")]
        tls: match (flags.value::<String>("--cert"), flags.value::<String>("--key")) {
            (Some(cert), Some(key)) => Some(TlsServerConfig::from_pem_files(cert, key)?),
            _ => None,
        },
    })
}

fn options(flags: &examples::Flags) -> HttpOptions {
    let mut options = HttpOptions::new();
    options.header_timeout = flags.seconds("--header-timeout").unwrap_or(options.header_timeout);
    options.idle_connection_timeout = flags.seconds("--idle-timeout").or(options.idle_connection_timeout);
    options.body_timeout = flags.seconds("--body-timeout").unwrap_or(options.body_timeout);
    options.write_timeout = flags.seconds("--write-timeout").unwrap_or(options.write_timeout);
    options.handler_timeout = flags.seconds("--handler-timeout").or(options.handler_timeout);
    options.limits.body_bytes = flags.value("--max-body").unwrap_or(options.limits.body_bytes);
    #[cfg(feature = "gzip")]
    if let Some(times) = flags.value("--max-inflation") {
        options = options.decompress_request().max_inflation(times);
    }
    options
}

/// A server for the loop of this thread, which listens already.
fn server(
    settings: Settings,
    listeners: Vec<TcpListener>,
) -> Result<HttpServer<impl Handler<Streaming>, Streaming>, Box<dyn Error>> {
    if let Some(hard) = settings.memory {
        MemoryBudget::new(hard / 2, hard).install();
    }
    let mut server = HttpServer::new(route).options(settings.http);
    if let Some(most) = settings.most {
        server = server.max_connections(most);
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = settings.tls {
        server = server.tls(tls);
    }
    watch::watch(server.handle());
    server.add_sockets(listeners)?;
    Ok(server)
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse(USAGE, FLAGS);
    examples::log_to_stderr();
    let settings = settings(&flags)?;
    let grace = flags.seconds("--grace").unwrap_or(Duration::from_secs(30));
    let listeners = netutil::bind_sockets(flags.value("--port").unwrap_or(8888), &Default::default())?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let io_loop = IoLoop::current();
    watch::count_signals(&io_loop)?;

    let Some(loops) = flags.value("--loops") else {
        let server = server(settings, listeners)?;
        examples::announce(&addresses)?;
        server.run_until_signal(grace)?;
        return Ok(());
    };

    let loops = Loops::new(loops).name("http").spawn(move |worker: Worker| {
        let shared = listeners.iter().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>();
        let settings = settings.clone();
        async move {
            let server = server(settings, shared.map_err(|error| error.to_string())?);
            let server = server.map_err(|error| error.to_string())?;
            let (mut stopping, mut dying) = (pin!(worker.stopping()), pin!(watch::until_dying()));
            worker.ready();
            poll_fn(|cx| match dying.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => stopping.as_mut().poll(cx),
            })
            .await;
            server.drain(grace).await;
            Ok::<(), String>(())
        }
    })?;
    loops.wait_ready(Duration::from_secs(10))?;
    examples::announce(&addresses)?;
    let mut terminate = signal(SignalKind::Terminate)?;
    let stop = loops.clone();
    io_loop.spawn_detached(async move {
        terminate.recv().await;
        stop.stop();
    });
    io_loop.run_sync(loops.ended())??;
    Ok(())
}
