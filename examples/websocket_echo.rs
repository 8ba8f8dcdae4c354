//! A WebSocket beside ordinary pages: the handshake is HTTP and done here, the frames of RFC 6455 are left to a crate.
//! Every message comes back.
//!
//! Run it:        cargo run --release --features websocket --example websocket_echo [-- --port N]
//! In a browser:  http://127.0.0.1:9001/

use std::error::Error;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use futures_lite::StreamExt;
use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, HttpServer, Response};
use iostream::{AsyncIo, IoStream};

const PAGE: &str = "<!doctype html><title>echo</title><input onchange='s.send(value)'><pre id=out></pre>
<script>s = new WebSocket('ws://' + location.host + '/echo'); s.onmessage = m => out.append(m.data + '\\n')</script>
";

/// The largest message that is taken; the codec's own limit is 64 MiB.
const LARGEST_MESSAGE: usize = 64 * 1024;

async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    match exchange.path() {
        "/" => exchange.send(Response::html(PAGE)).await,
        "/echo" => match accept_key(exchange) {
            Some(key) => {
                let response =
                    exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "websocket");
                // What the client has sent behind its request is the first that the stream gives.
                let stream = response.header("Sec-WebSocket-Accept", key).switch().await?;
                echo(stream).await.map_err(HttpError::handler)
            }
            None => {
                let refused =
                    Response::text("WebSockets of version 13\n").status(StatusCode::UPGRADE_REQUIRED);
                let refused = refused.header("Upgrade", "websocket")?;
                exchange.send(refused.header("Sec-WebSocket-Version", "13")?).await
            }
        },
        _ => exchange.send(Response::text("not found\n").status(StatusCode::NOT_FOUND)).await,
    }
}

/// What proves that the request was understood (RFC 6455 §4.2.2); nothing if it is no handshake. A page of another site may
/// ask too: who has cookies to protect compares `Origin`.
fn accept_key(exchange: &Exchange<'_>) -> Option<String> {
    let field = |name| exchange.headers().text(name);
    let is_offered = field("upgrade")?.split(',').any(|offer| offer.trim().eq_ignore_ascii_case("websocket"));
    let is_right = *exchange.method() == Method::GET && field("sec-websocket-version") == Some("13");
    let key = field("sec-websocket-key").filter(|key| is_offered && is_right && key.len() == 24)?;
    Some(derive_accept_key(key.as_bytes()))
}

async fn echo(stream: IoStream) -> Result<(), Box<dyn Error>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(AsyncIo::new(stream), Role::Server, Some(config)).await;
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = examples::Flags::parse("websocket_echo [--port N]", &["--port"]);
    examples::log_to_stderr();

    let server = HttpServer::new(route);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(9001))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
