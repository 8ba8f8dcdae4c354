//! A line echo on smol's parts: async-io's reactor, async-executor's local executor, futures-lite's `BufReader`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::TcpStream;

use async_executor::LocalExecutor;
use async_io::Async;
use benches::peer;
use futures_lite::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = Async::new(peer::listen(peer::Options::from_arguments()?.port)?)?;
    peer::announce(listener.get_ref().local_addr()?)?;
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        loop {
            let (stream, _) = listener.accept().await?;
            executor.spawn(echo(stream)).detach();
        }
    }))
}

async fn echo(stream: Async<TcpStream>) -> io::Result<()> {
    let mut read = BufReader::new(&stream);
    let mut write = &stream;
    let mut line = Vec::new();
    while read.read_until(b'\n', &mut line).await? > 0 {
        write.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}
