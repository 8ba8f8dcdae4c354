#!/usr/bin/env bash
# The three handler shapes, as functions and as closures, compile and answer in a crate outside the workspace that depends on
# httpserver by path alone; and so do the programs of README.md compile.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

mkdir "$outside/src"
cp Cargo.lock "$outside/" # the same versions, so nothing is fetched that the workspace has not
cat > "$outside/Cargo.toml" <<TOML
[package]
name = "outside"
version = "0.0.0"
edition = "2024"

[dependencies]
httpserver = { path = "$root/httpserver" }
ioloop = { path = "$root/ioloop" }
iostream = { path = "$root/iostream" }
tcpserver = { path = "$root/tcpserver" }
TOML
cat > "$outside/src/main.rs" <<'RUST'
use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode};
use std::io::{Read, Write};

fn classic(request: &mut Exchange) {
    let message = format!("You requested {}\n", request.uri());
    request.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", message.len(), message));
    request.finish();
}

async fn whole(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

async fn streaming(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut response = exchange.respond(StatusCode::OK).start().await?;
    response.write(format!("You requested {}\n", exchange.uri())).await?;
    while let Some(chunk) = exchange.body().chunk().await? {
        response.write(chunk).await?;
    }
    response.finish().await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tell, told) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        let io_loop = ioloop::IoLoop::new().unwrap();
        io_loop.make_current();
        let greeting = String::from("You requested");
        let words = greeting.clone();
        let ports = [
            HttpServer::new(classic).listen(0),
            HttpServer::new(whole).listen(0),
            HttpServer::new(streaming).listen(0),
            HttpServer::new(|request: &mut Exchange| classic(request)).listen(0),
            HttpServer::new(async move |request: Request| format!("{greeting} {}\n", request.uri())).listen(0),
            HttpServer::new(async move |exchange: &mut Exchange<'_>| {
                let text = format!("{words} {}\n", exchange.uri());
                exchange.respond(StatusCode::OK).send(text).await
            })
            .listen(0),
        ]
        .map(|listening| listening.unwrap()[0].port());
        tell.send((ports, io_loop.remote())).unwrap();
        io_loop.start().unwrap();
    });
    let (ports, remote) = told.recv()?;
    for port in ports {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port))?;
        socket.write_all(b"GET /story HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut back = String::new();
        socket.read_to_string(&mut back)?;
        assert!(back.starts_with("HTTP/1.1 200 OK\r\n") && back.contains("You requested /story\n"), "{back}");
    }
    remote.stop();
    serving.join().unwrap();
    println!("{} shapes answer from outside the workspace", ports.len());
    Ok(())
}
RUST

# Each block of Rust in README.md is a program.
mkdir "$outside/src/bin"
awk -v out="$outside/src/bin/readme_" '/^```rust$/ { program = out (++n) ".rs"; next } /^```$/ { program = "" } program { print > program }' README.md
programs=$(ls "$outside/src/bin" | wc -l)
[ "$programs" -ge 4 ] || { echo "README.md has lost its programs" >&2; exit 1; }

cd "$outside"
target=${CARGO_TARGET_DIR:-$root/target}
CARGO_TARGET_DIR="$target/outside" cargo run --quiet --bin outside
CARGO_TARGET_DIR="$target/outside" cargo check --quiet --bins
echo "$programs programs of README.md compile"
