//! What operators want: counts for Prometheus, probes for Kubernetes, and a line for each request, on a port that the public does not
//! reach.
//!
//! Run it:            cargo run --release --example admin_metrics [-- --port N] [--admin-port N]
//! In another shell:  curl http://127.0.0.1:8888/story
//!                    curl http://127.0.0.1:9090/metrics      # and /livez, /readyz
//!                    kill -TERM PID; curl -i http://127.0.0.1:9090/readyz    # 503 for two seconds, so that nobody new is sent here

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use httpserver::{
    Admin, BindOptions, HttpMetrics, HttpOptions, HttpServer, IntoResponse, Request, Response, log_request,
};
use ioloop::IoLoop;

async fn hello(request: Request) -> Response {
    match request.path() {
        "/fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        path => Response::text(format!("You requested {path}\n")),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags =
        examples::Flags::parse("admin_metrics [--port N] [--admin-port N]", &["--port", "--admin-port"]);
    examples::log_to_stderr();

    let metrics = HttpMetrics::new();
    // As Tornado: successes at level `info`, the faults of clients at `warn`, ours at `error`.
    let options = HttpOptions::new().metrics(metrics.clone()).access_log(log_request);
    let server = HttpServer::new(hello).options(options);
    let addresses = server.listen(flags.value("--port").unwrap_or(8888))?;

    // With a limit of its own it answers also when the public has all the connections that the limit on descriptors allows.
    let admin = HttpServer::new(Admin::new(metrics).watch(server.handle())).max_connections(16);
    let private = BindOptions::new().address("127.0.0.1");
    let admin_addresses = admin.listen_with(flags.value("--admin-port").unwrap_or(9090), &private)?;

    examples::announce(&addresses)?;
    examples::announce(&admin_addresses)?;
    let (lame_duck, grace) = (Duration::from_secs(2), Duration::from_secs(10));
    IoLoop::current().run_sync(server.drained_by_signal(lame_duck, grace))??;
    Ok(())
}
