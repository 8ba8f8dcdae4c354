//! Somebody else's codec on one of our streams: a WebSocket server (RFC 6455) by async-tungstenite, through
//! the traits of `futures-io`, without a runtime beneath it. Every message comes back.
//!
//! Run it:     cargo run --release --features websocket --example tungstenite_ws [-- --port N]
//! In a browser's console:
//!             s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data); s.onopen = () => s.send("hello")

use std::error::Error;
use std::time::Duration;

use async_tungstenite::accept_async_with_config;
use async_tungstenite::tungstenite::Error as WebSocketError;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures_lite::StreamExt;
use ioloop::IoLoop;
use iostream::{AsyncIo, IoStream};
use tcpserver::TcpServer;

/// A client has this long to ask for a WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The largest message that is taken; the codec's own limit is 64 MiB.
const LARGEST_MESSAGE: usize = 64 * 1024;

async fn echo(stream: IoStream) -> Result<(), Box<dyn Error>> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let handshake = accept_async_with_config(AsyncIo::new(stream), Some(limits));
    let mut socket = ioloop::timeout(HANDSHAKE, handshake).await??;
    while let Some(message) = socket.next().await {
        match message {
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message).await?,
            Ok(_) => {} // the codec answers pings, and closes when it is asked to
            Err(WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("tungstenite_ws [--port N]", &["--port"]);
    examples::log_to_stderr();
    let io_loop = IoLoop::current();

    let server = TcpServer::new(|stream, _context| echo(stream));
    let addresses = server.listen(flags.value("--port").unwrap_or(9001))?;

    examples::announce(&addresses)?;
    examples::stop_on_signals(&io_loop)?;
    io_loop.start()?;
    Ok(())
}
