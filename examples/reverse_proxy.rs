//! A reverse proxy. Both bodies are streamed at the pace of their reader, and the upstream may answer before it has received the whole
//! request. Each request has an upstream connection of its own; the client side of HTTP is in `reverse_proxy/upstream.rs`.
//!
//! Run an upstream:   cargo run --release --example testbed
//! Run it:            cargo run --release --example reverse_proxy -- [--port N] [--upstream HOST] [--upstream-port N] [--timeout S]
//! In another shell:  curl http://127.0.0.1:8000/json
//!                    curl -X POST -T large.iso http://127.0.0.1:8000/echo | wc -c

#[path = "reverse_proxy/upstream.rs"]
mod upstream;

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http::{Method, StatusCode};
use httpserver::{Exchange, HttpError, HttpServer, Response};
use upstream::{Connection, Failed, Upstream, passed_on};

async fn proxy(exchange: &Exchange<'_>, upstream: &Upstream) -> Result<(), HttpError> {
    if *exchange.method() == Method::CONNECT {
        return exchange.send(Response::new(StatusCode::NOT_IMPLEMENTED)).await;
    }
    match pass(exchange, upstream).await {
        // Once part of the response is out, this fails in its turn, and the connection ends short of the rest.
        Err(Failed::Upstream(status, why)) => {
            exchange.send(Response::text(format!("the upstream {why}\n")).status(status)).await
        }
        Err(Failed::Exchange(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Sends the request and waits for the response at the same time.
async fn pass(exchange: &Exchange<'_>, upstream: &Upstream) -> Result<(), Failed> {
    let connection = upstream.connect().await?;
    let answered = Cell::new(false);
    let mut sending = pin!(async {
        send(exchange, &connection, upstream).await?;
        ioloop::sleep(upstream.patience).await;
        if answered.get() { Ok(()) } else { Err(Failed::slow()) }
    });
    let mut receiving = pin!(receive(exchange, &connection, &answered));
    let mut has_sent = false;
    poll_fn(|cx| {
        has_sent = has_sent || sending.as_mut().poll(cx)?.is_ready();
        receiving.as_mut().poll(cx)
    })
    .await
}

async fn send(exchange: &Exchange<'_>, to: &Connection, upstream: &Upstream) -> Result<(), Failed> {
    let client = exchange.remote_ip().map_or("unknown".to_owned(), |ip| ip.to_string());
    let mut fields = passed_on(exchange.headers());
    let mut set = |name, value: &str| fields.insert(name, value).map_err(HttpError::from);
    set("Host", exchange.host().unwrap_or(&upstream.host))?;
    set("X-Forwarded-For", &client)?;
    set("X-Forwarded-Proto", exchange.protocol().as_str())?;
    fields.add("Via", "1.1 waterspout").map_err(HttpError::from)?;
    let query = exchange.query().map_or(String::new(), |query| format!("?{query}"));
    let is_chunked = exchange.headers().contains("transfer-encoding");
    to.begin(exchange.method(), &format!("{}{query}", exchange.path()), &fields, is_chunked)?;
    while let Some(piece) = exchange.body().chunk().await? {
        to.write(piece).await?;
    }
    to.finish().await
}

async fn receive(exchange: &Exchange<'_>, from: &Connection, answered: &Cell<bool>) -> Result<(), Failed> {
    let answer = from.answer(exchange.method()).await?;
    answered.set(true);
    let mut response = exchange.respond(answer.status);
    for (name, value) in &passed_on(&answer.headers) {
        response = response.header(name, value);
    }
    let (mut response, mut body) = (response.start().await?, answer.body);
    while let Some(piece) = from.read(&mut body).await? {
        response.write(piece).await?;
    }
    Ok(response.finish().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "reverse_proxy [--port N] [--upstream HOST] [--upstream-port N] [--timeout S]";
    let flags = examples::Flags::parse(usage, &["--port", "--upstream", "--upstream-port", "--timeout"]);
    examples::log_to_stderr();
    let upstream = Upstream {
        host: flags.value("--upstream").unwrap_or("localhost".to_owned()),
        port: flags.value("--upstream-port").unwrap_or(8888),
        patience: flags.seconds("--timeout").unwrap_or(Duration::from_secs(30)),
    };
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| proxy(exchange, &upstream).await);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8000))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
