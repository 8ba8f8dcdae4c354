//! The protocol core alone: no socket, no loop. Run: `cargo bench -p benches --bench http1`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::StatusCode;
use httpserver::http1::{Ambient, BodyEvent, Connection, Limits, RequestHead, ResponseHead, ResponseLength};

/// What the TechEmpower plaintext test sends.
const TECHEMPOWER: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: server\r\n\
    Accept: text/plain,text/html;q=0.9,application/xhtml+xml;q=0.9,application/xml;q=0.8,*/*;q=0.7\r\n\
    Connection: keep-alive\r\n\r\n";

/// Fourteen fields, as a browser sends them.
const BROWSER: &[u8] = b"GET /articles/2024/waterspouts?page=2&sort=recent HTTP/1.1\r\nHost: www.example.org\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://www.example.org/articles/2024\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

const UPLOAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("http1/head");
    for (name, input) in [("techempower", TECHEMPOWER), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        let mut head = RequestHead::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| Connection::new().receive_head(black_box(input), &limits, &mut head));
        });
    }
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    let limits = Limits::default();
    let large = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat().repeat(16);
    let tiny = b"1\r\nx\r\n".repeat(10_000);
    let mut group = criterion.benchmark_group("http1/chunked");
    for (name, chunks) in [("16_of_64_kib", large), ("10000_of_1_byte", tiny)] {
        let body = [&chunks[..], b"0\r\n\r\n"].concat();
        group.throughput(Throughput::Bytes(body.len() as u64));
        let start = || {
            let mut connection = Connection::new();
            connection.receive_head(UPLOAD, &limits, &mut RequestHead::new()).expect("a good head");
            connection
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                start,
                |connection| decode(connection, &body, &limits),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn decode(mut connection: Connection, mut body: &[u8], limits: &Limits) -> usize {
    let mut data = 0;
    loop {
        match connection.receive_body(black_box(body), limits).expect("good chunks") {
            BodyEvent::Data { range, consumed } => {
                data += range.len();
                body = &body[consumed..];
            }
            BodyEvent::End { .. } => return data,
            BodyEvent::NeedMore { .. } => panic!("the last chunk is missing"),
        }
    }
}

fn exchanges(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut ambient = Ambient::with_server("waterspout").expect("a good name");
    ambient.set_date(std::time::UNIX_EPOCH + Duration::from_secs(784_111_777));
    let (mut head, mut out) = (RequestHead::new(), Vec::with_capacity(4096));
    let plaintext =
        ResponseHead::new(StatusCode::OK).content_type("text/plain").length(ResponseLength::Known(13));

    let mut group = criterion.benchmark_group("http1/exchange");
    let received = || {
        let mut connection = Connection::new();
        connection.receive_head(TECHEMPOWER, &limits, &mut RequestHead::new()).expect("a good head");
        connection
    };
    group.bench_function("encode", |bencher| {
        let answer = |mut connection| respond(&mut connection, &plaintext, &ambient, &mut out);
        bencher.iter_batched(received, answer, BatchSize::SmallInput);
    });
    let mut connection = Connection::new();
    group.bench_function("parse_and_encode", |bencher| {
        bencher.iter(|| {
            connection.receive_head(black_box(TECHEMPOWER), &limits, &mut head).expect("a good head");
            respond(&mut connection, &plaintext, &ambient, &mut out);
            connection.start_next_request()
        });
    });
    group.finish();
}

fn respond(connection: &mut Connection, head: &ResponseHead<'_>, ambient: &Ambient, out: &mut Vec<u8>) {
    out.clear();
    connection.send_head(head, ambient, out).expect("a good head");
    connection.send_data(b"Hello, World!", out).expect("a good piece");
    connection.finish(None, out).expect("the end");
    black_box(out);
}

criterion_group!(benches, heads, chunks, exchanges);
criterion_main!(benches);
