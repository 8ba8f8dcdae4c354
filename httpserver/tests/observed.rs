//! What is told of requests that have ended: the access log, the counts, and the page that shows them.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use httpserver::{
    Admin, Exchange, Fault, HttpError, HttpMetrics, HttpOptions, HttpServer, Request, Response, StatusCode,
};
use support::{Stage, answer, plain};

const GET: &str = "GET /story?a=b HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// Options that note each record, in words.
fn noting() -> (HttpOptions, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&notes);
    let options = plain().access_log(move |record| {
        let fault = record.error.map(|error| (error.fault().as_str(), error.reason()));
        let bytes = (record.bytes_received, record.bytes_sent);
        note.lock().unwrap().push(format!("{record} {bytes:?} {fault:?}"));
    });
    (options, notes)
}

async fn by_path(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    match exchange.path() {
        "/echo" => {
            let body = exchange.read_body().await?.clone();
            exchange.send(Response::bytes(body)).await
        }
        "/streamed" => {
            let mut response = exchange.respond(StatusCode::CREATED).start().await?;
            response.write("123").await?;
            response.write(vec![b'x'; 40_000]).await?;
            ioloop::sleep(SECOND).await;
            response.finish().await
        }
        "/cut" => {
            let mut response = exchange.respond(StatusCode::OK).content_length(5).start().await?;
            response.write("123").await?;
            response.finish().await
        }
        "/fails" => Err(HttpError::handler("no luck")),
        "/panics" => panic!("asked to"),
        "/never" => std::future::pending().await,
        "/detached" => {
            exchange.detach().await?.write("bye").await?;
            Ok(())
        }
        _ => exchange.send(Response::text("hello")).await,
    }
}

#[test]
fn an_access_log_that_panics_costs_its_record_and_not_the_connection() {
    let stage = Stage::new();
    let options = plain().access_log(|_| std::panic::resume_unwind(Box::new("the disk is full")));
    let peer = stage.connect(&HttpServer::new(by_path).options(options));
    for _ in 0..3 {
        assert_eq!(answer(stage.exchange(&peer, GET)).text(), "hello");
    }
    assert_eq!(answer(stage.exchange(&peer, "bad\r\n\r\n")).status, 400);
}

/// What the log says of `request`, once all is over or a second has passed.
fn noted(request: &str) -> Vec<String> {
    let (stage, (options, notes)) = (Stage::new(), noting());
    let peer = stage.connect(&HttpServer::new(by_path).options(options));
    stage.exchange(&peer, request);
    stage.time.advance(SECOND);
    notes.lock().unwrap().clone()
}

#[test]
fn hs17_one_record_for_each_request_however_it_ends() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for (request, line) in [
        (get("/story?a=b"), "200 GET /story?a=b (192.0.2.1) 0.00ms (0, 5) None"),
        (get("/story").replace("GET", "HEAD"), "200 HEAD /story (192.0.2.1) 0.00ms (0, 0) None"),
        (post.to_owned(), "200 POST /echo (192.0.2.1) 0.00ms (5, 5) None"),
        (get("/streamed"), "201 GET /streamed (192.0.2.1) 1000.00ms (0, 40003) None"),
        (get("/cut"), "200 GET /cut (192.0.2.1) 0.00ms (0, 3) Some((\"handler\", \"bad_response\"))"),
        (get("/fails"), "500 GET /fails (192.0.2.1) 0.00ms (0, 22) Some((\"handler\", \"handler_error\"))"),
        (get("/panics"), "500 GET /panics (192.0.2.1) 0.00ms (0, 22) Some((\"handler\", \"panicked\"))"),
        (get("/detached"), "- GET /detached (192.0.2.1) 0.00ms (0, 0) None"),
        (
            "nonsense\r\n\r\n".to_owned(),
            "400 - - (192.0.2.1) 0.00ms (0, 0) Some((\"peer\", \"invalid_method\"))",
        ),
        (
            get("/a").replace("Host: a\r\n", ""),
            "400 GET /a (192.0.2.1) 0.00ms (0, 0) Some((\"peer\", \"missing_host\"))",
        ),
        (
            post.replace("3\r\n", "x\r\n"),
            "400 POST /echo (192.0.2.1) 0.00ms (0, 0) Some((\"peer\", \"invalid_chunk_size\"))",
        ),
    ] {
        assert_eq!(noted(&request), [line], "{request}");
    }
    assert_eq!(noted(&get("/a").repeat(16)).len(), 16);
    // Nothing was asked, so nothing is told.
    assert_eq!(noted("\r\n"), [] as [String; 0]);
}

#[test]
fn hs17_a_client_that_leaves_and_a_handler_that_is_late_are_told_apart() {
    let (stage, (options, notes)) = (Stage::new(), noting());
    let server = HttpServer::new(by_path).options(options);
    let get = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    let (leaves, waits) = (stage.connect(&server), stage.connect(&server));
    assert_eq!([&leaves, &waits].map(|peer| stage.exchange(peer, get)), [b"", b""]);
    stage.time.advance(SECOND);
    leaves.reset();
    stage.time.advance(59 * SECOND);
    assert_eq!(
        *notes.lock().unwrap(),
        [
            "- GET /never (192.0.2.1) 1000.00ms (0, 0) Some((\"network\", \"connection_lost\"))",
            "503 GET /never (192.0.2.1) 60000.00ms (0, 20) Some((\"handler\", \"handler_timeout\"))",
        ]
    );
}

#[test]
fn an_error_that_a_handler_returns_as_its_response_is_told_like_any_other() {
    let (stage, (options, notes)) = (Stage::new(), noting());
    let server = HttpServer::new(async |request: Request| -> Result<Response, HttpError> {
        request.form()?;
        Err(HttpError::handler("no luck"))
    });
    let server = server.options(options);
    let peer = stage.connect(&server);
    assert_eq!(answer(stage.exchange(&peer, GET)).status, 500);
    let encoded =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(answer(stage.exchange(&peer, encoded)).status, 400);
    let notes = notes.lock().unwrap();
    assert!(notes[0].ends_with("Some((\"handler\", \"handler_error\"))"), "{notes:?}");
    assert!(notes[1].ends_with("Some((\"peer\", \"invalid_multipart\"))"), "{notes:?}");
}

#[test]
fn the_fault_of_each_kind_of_error_is_the_peers_the_handlers_or_the_networks() {
    use httpserver::http1::{LocalError, RemoteError};
    for (error, fault, reason) in [
        (HttpError::from(RemoteError::BodyTimeout), Fault::Peer, "body_timeout"),
        (HttpError::from(httpserver::BodyError::NotUtf8), Fault::Peer, "not_utf8"),
        (HttpError::from(httpserver::BodyError::NotRead), Fault::Handler, "body_not_read"),
        (HttpError::from(LocalError::BodyNotAllowed), Fault::Handler, "bad_response"),
        (HttpError::handler("mine"), Fault::Handler, "handler_error"),
        (HttpError::WriteTimeout, Fault::Network, "write_timeout"),
        (HttpError::from(iostream::StreamError::AlreadyReading), Fault::Network, "connection_lost"),
    ] {
        assert_eq!((error.fault(), error.reason()), (fault, reason), "{error}");
    }
}

#[test]
fn requests_are_counted_by_method_and_status_and_errors_by_reason() {
    let (stage, metrics) = (Stage::new(), HttpMetrics::new());
    let server = HttpServer::new(by_path).options(plain().metrics(metrics.clone()));
    let never = stage.connect(&server);
    stage.exchange(&never, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    for request in [GET, GET, &GET.replace("/story", "/fails"), "nonsense\r\n\r\n"] {
        stage.ask(&server, request);
    }
    let has = |line: &str| {
        let text = metrics.to_prometheus();
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    };
    let of_get = r#"{http_request_method="GET",url_scheme="http""#;
    has(&format!("http_server_request_duration_seconds_count{of_get},http_response_status_code=\"200\"}} 2"));
    has(&format!("http_server_request_duration_seconds_count{of_get},http_response_status_code=\"500\"}} 1"));
    has(&format!("http_server_response_body_size_bytes_sum{of_get}}} {}", 5 + 5 + 22));
    has(&format!("http_server_active_requests{of_get}}} 1"));
    has(
        r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",url_scheme="http",http_response_status_code="400"} 1"#,
    );
    has(r#"http_server_errors_total{fault="peer",reason="invalid_method"} 1"#);
    has(r#"http_server_errors_total{fault="handler",reason="handler_error"} 1"#);
    never.reset();
    stage.time.run_until_stalled();
    has(&format!("http_server_active_requests{of_get}}} 0"));
    has(r#"http_server_errors_total{fault="network",reason="connection_lost"} 1"#);
}

#[test]
fn the_admin_pages_show_the_counts_and_readiness_ends_with_the_lame_duck() {
    let (stage, metrics) = (Stage::new(), HttpMetrics::new());
    let server = HttpServer::new(by_path).options(plain().metrics(metrics.clone()));
    stage.ask(&server, GET);
    let warm = std::rc::Rc::new(std::cell::Cell::new(false));
    let is_warm = std::rc::Rc::clone(&warm);
    let admin = Admin::new(metrics).watch(server.handle()).ready_if(move || is_warm.get());
    let admin = HttpServer::new(admin).options(plain());
    let get = |path: &str, more: &str| {
        answer(stage.ask(&admin, format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n")))
    };
    assert_eq!((get("/livez", "").status, get("/readyz", "").status), (200, 503));
    warm.set(true);
    assert_eq!((get("/livez", "").status, get("/readyz", "").status), (200, 200));
    let page = get("/metrics", "");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(page.text().contains("http_server_request_duration_seconds_count"), "{}", page.text());
    assert!(page.text().contains("\ntcp_server_active_connections 0\n"), "{}", page.text());
    let page = get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert_eq!(
        page.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(page.text().ends_with("# EOF\n"));
    assert_eq!(get("/other", "").status, 404);
    let post = answer(stage.ask(&admin, "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    server.lame_duck();
    assert_eq!((get("/livez", "").status, get("/readyz", "").status), (200, 503));
}
