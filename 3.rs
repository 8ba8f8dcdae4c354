use httpserver::{Exchange, HttpServer};
use ioloop::IoLoop;

fn handle_request(request: &mut Exchange<'_>) {
    let message = format!("You requested {}\n", request.uri());
    request.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", message.len(), message));
    request.finish();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let http_server = HttpServer::new(handle_request);
    http_server.listen(8888)?;
    IoLoop::current().start()?;
    Ok(())
}
