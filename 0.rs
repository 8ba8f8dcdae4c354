use httpserver::{HttpServer, Request, Response};
use ioloop::IoLoop;

async fn hello(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = HttpServer::new(hello);
    server.listen(8888)?; // IPv4 and IPv6
    IoLoop::current().start()?;
    Ok(())
}
