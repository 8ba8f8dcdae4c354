//! A line echo on tokio-util's `Framed` with `LinesCodec`, which decodes each line into a `String`.

#![forbid(unsafe_code)]

use std::error::Error;

use benches::peer;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn main() -> Result<(), Box<dyn Error>> {
    let port = peer::Options::from_arguments()?.port;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(peer::listen(port)?)?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(stream: TcpStream) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new());
    while let Some(line) = lines.next().await {
        lines.send(line?).await?;
    }
    Ok(())
}
