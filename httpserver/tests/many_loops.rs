//! HTTP on several loops: `bind` and `start(n)`.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use httpserver::{
    AcceptStrategy, Admin, BindOptions, HttpMetrics, HttpOptions, HttpServer, Request, Response, Servers,
    ServersHandle,
};
use ioloop::{IoLoop, worker_index};

const HOUR: Duration = Duration::from_secs(3_600);

async fn place(_request: Request) -> Response {
    Response::text(format!("{:?}", worker_index()))
}

/// A request, and all that comes until the end.
fn ask(address: SocketAddr) -> String {
    ask_for(address, "/")
}

fn ask_for(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks so often, and drains. The answers.
fn answers(io_loop: &IoLoop, servers: &ServersHandle, address: SocketAddr, count: usize) -> Vec<String> {
    let stop = io_loop.remote();
    let client = thread::spawn(move || {
        let answers = (0..count).map(|_| ask(address)).collect();
        stop.stop();
        answers
    });
    io_loop.start().unwrap();
    let answers = client.join().unwrap();
    let report = io_loop.run_sync(servers.drain(HOUR)).unwrap();
    assert_eq!(report.aborted, 0);
    answers
}

fn loopback() -> BindOptions {
    BindOptions::new().address("127.0.0.1")
}

#[test]
fn hs1_bind_and_start_serve_on_as_many_loops_with_the_same_options() {
    for (loops, place_of_all) in [(1, "None"), (2, "Some(")] {
        let io_loop = IoLoop::new().unwrap();
        io_loop.make_current();
        let options = HttpOptions::new().server_name("many").unwrap();
        let server = HttpServer::new(place).options(options).accept_strategy(AcceptStrategy::Dispatch);
        let address = server.bind_with(0, &loopback()).unwrap()[0];
        let servers = server.start(loops).unwrap();
        let answers = answers(&io_loop, &servers, address, 6);
        for answer in &answers {
            assert!(answer.to_ascii_lowercase().contains("\r\nserver: many\r\n"), "{answer}");
            assert!(answer.contains(place_of_all), "{answer}");
        }
        if loops == 2 {
            let on_first = answers.iter().filter(|answer| answer.ends_with("Some(0)")).count();
            assert!((1..=5).contains(&on_first), "on both: {answers:?}");
        }
    }
}

#[test]
fn hs1_a_handler_that_cannot_change_threads_is_made_on_each_loop() {
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let servers = Servers::new(|index| {
        let count = Rc::new(Cell::new(100 * index));
        HttpServer::new(move |_: Request| {
            count.set(count.get() + 1);
            let text = count.get().to_string();
            async move { Response::text(text) }
        })
    });
    let servers = servers.accept_strategy(AcceptStrategy::Dispatch);
    let address = servers.bind_with(0, &loopback()).unwrap()[0];
    let servers = servers.start(2).unwrap();
    let answers = answers(&io_loop, &servers, address, 4);
    let mut counts: Vec<usize> =
        answers.iter().map(|answer| answer.rsplit("\r\n").next().unwrap().parse().unwrap()).collect();
    counts.sort_unstable();
    // The second goes to the loop that has not had the first; the others where there are fewest just then.
    let on_first = counts.partition_point(|count| *count <= 100);
    assert!((1..=3).contains(&on_first), "{counts:?}");
    let expected: Vec<_> = (1..=on_first).chain(101..=104 - on_first).collect();
    assert_eq!(counts, expected);
}

#[test]
fn the_admin_pages_add_up_what_the_loops_have_counted_and_end_readiness_with_them() {
    let io_loop = IoLoop::new().unwrap();
    io_loop.make_current();
    let metrics = HttpMetrics::new();
    let server = HttpServer::new(place).options(HttpOptions::new().metrics(metrics.clone()));
    let server = server.accept_strategy(AcceptStrategy::Dispatch);
    let address = server.bind_with(0, &loopback()).unwrap()[0];
    let servers = server.start(2).unwrap();
    let admin = HttpServer::new(Admin::new(metrics).watch_all(&servers));
    let admin = admin.listen_with(0, &loopback()).unwrap()[0];
    let (stop, watched) = (io_loop.remote(), servers.clone());
    let client = thread::spawn(move || {
        let places: Vec<_> = (0..6).map(|_| ask(address)).collect();
        let pages = ["/readyz", "/metrics"].map(|path| ask_for(admin, path));
        watched.lame_duck();
        let late = ask_for(admin, "/readyz");
        stop.stop();
        (places, pages, late)
    });
    io_loop.start().unwrap();
    let (places, [ready, page], late) = client.join().unwrap();
    assert!(
        places.iter().any(|it| it.ends_with("Some(0)")) && places.iter().any(|it| it.ends_with("Some(1)"))
    );
    assert!(ready.starts_with("HTTP/1.1 200 ") && late.starts_with("HTTP/1.1 503 "), "{ready}\n{late}");
    let labels = "{http_request_method=\"GET\",url_scheme=\"http\",http_response_status_code=\"200\"}";
    assert!(page.contains(&format!("\nhttp_server_request_duration_seconds_count{labels} 6\n")), "{page}");
    assert!(page.contains("\ntcp_server_connections_total 6\n"), "{page}");
    io_loop.run_sync(servers.drain(HOUR)).unwrap();
}
