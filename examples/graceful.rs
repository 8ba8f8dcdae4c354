//! A shutdown that no client notices: after SIGTERM the server first tells clients and load balancers to go elsewhere while it still takes
//! their requests, then stops accepting, and finishes the requests under way.
//!
//! Run it:            cargo run --release --example graceful [-- --port N] [--lame-duck S] [--grace S]
//! In another shell:  curl -i http://127.0.0.1:8888/slow/5000 & sleep 1; kill -TERM PID     # the answer comes, with `Connection: close`

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use httpserver::{HttpServer, IntoResponse, Request, Response};
use ioloop::IoLoop;

/// `/slow/MS` takes so many milliseconds, everything else none.
async fn answer(request: Request) -> Response {
    let pause = request.path().strip_prefix("/slow/").unwrap_or("0");
    let Ok(pause) = pause.parse() else { return StatusCode::BAD_REQUEST.into_response() };
    ioloop::sleep(Duration::from_millis(pause)).await;
    Response::text("done\n")
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "graceful [--port N] [--lame-duck S] [--grace S]";
    let flags = examples::Flags::parse(usage, &["--port", "--lame-duck", "--grace"]);
    examples::log_to_stderr();
    // As long as a balancer takes to notice that `/readyz` fails, and as long as the slowest request may take.
    let lame_duck = flags.seconds("--lame-duck").unwrap_or(Duration::from_secs(1));
    let grace = flags.seconds("--grace").unwrap_or(Duration::from_secs(30));

    let server = HttpServer::new(answer);
    examples::announce(&server.listen(flags.value("--port").unwrap_or(8888))?)?;
    // A second signal ends it at once.
    let report = IoLoop::current().run_sync(server.drained_by_signal(lame_duck, grace))??;
    examples::say(format_args!("{report:?}"));
    Ok(())
}
