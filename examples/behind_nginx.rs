//! Behind a proxy: the client's address and scheme, taken from the header fields of trusted proxies only.
//!
//! Run it:            cargo run --release --example behind_nginx [-- --port N] [--proxy NETWORK] [--forwarded yes]
//! And nginx:         nginx -p . -c examples/behind_nginx.conf
//! In another shell:  curl http://127.0.0.1:8080/story     # the client's address, not nginx's
//!
//! `--forwarded yes` reads `Forwarded` (RFC 7239) instead of `X-Forwarded-For` and `X-Forwarded-Proto`. Only one kind is read, because
//! a proxy that writes one of them passes on whatever its client has put into the other.

use std::error::Error;
use std::time::Duration;

use httpserver::{HttpOptions, HttpServer, ProxyHeaders, Request, TrustedProxies};

async fn who(request: Request) -> String {
    let client = request.remote_ip().map_or("nobody".to_owned(), |ip| ip.to_string());
    format!("{client} asked for {} by {}\n", request.full_url(), request.peer_addr())
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "behind_nginx [--port N] [--proxy NETWORK] [--forwarded yes]";
    let flags = examples::Flags::parse(usage, &["--port", "--proxy", "--forwarded"]);
    examples::log_to_stderr();

    let network = flags.value("--proxy").unwrap_or("127.0.0.0/8".to_owned());
    let fields = match flags.value::<String>("--forwarded") {
        Some(_) => ProxyHeaders::Forwarded,
        None => ProxyHeaders::XForwarded,
    };
    let proxies = TrustedProxies::networks([network.as_str()])?.headers(fields);
    // Longer than nginx keeps a connection without a request (`keepalive_timeout` in the upstream, 60 s): then it is nginx that closes,
    // and no request meets a connection that is just being closed.
    let options = HttpOptions::new().xheaders(proxies).idle_connection_timeout(Duration::from_secs(75));

    let server = HttpServer::new(who).options(options);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    server.run_until_signal(Duration::from_secs(10))?;
    Ok(())
}
