use iostream::{IoStream, StreamError};
use tcpserver::{ConnectionContext, TcpServer};

async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until_max(b"\n", 8192).await?;
        stream.write(line).await?;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    TcpServer::new(echo).listen(9999)?;
    ioloop::IoLoop::current().start()?;
    Ok(())
}
