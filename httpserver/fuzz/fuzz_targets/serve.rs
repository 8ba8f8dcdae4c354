//! A whole server, whose handler looks at all that a request says: arguments, cookies, form, proxies' fields, path, ranges, conditions,
//! codings. Whatever comes, whole responses go out, no file but those below the root, and the connection ends. Run:
//! `cargo +nightly fuzz run serve`
#![no_main]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use httpserver::http1::Limits;
use httpserver::{
    Compression, ConnectionContext, HttpError, HttpOptions, HttpServer, IoStream, PeerAddr, Request,
    Response, StaticFile, StatusCode, TrustedProxies,
};
use ioloop::testing::VirtualLoop;
use iostream::testing::scripted;
use libfuzzer_sys::{arbitrary, fuzz_target};

const SECRET: &[u8] = b"beside the root";

thread_local! {
    static TIME: VirtualLoop = VirtualLoop::new();
}

/// A request that is well formed as a message, so that the fuzzer looks at what it says; `request` looks at the rest.
#[derive(Debug, arbitrary::Arbitrary)]
struct Said<'a> {
    cuts: Vec<u8>,
    method: u8,
    target: &'a [u8],
    /// The number of a name, and a value.
    fields: Vec<(u8, &'a [u8])>,
    content_type: u8,
    body: &'a [u8],
}

const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "OPTIONS"];

const NAMES: [&str; 18] = [
    "Accept-Encoding",
    "Connection",
    "Content-Encoding",
    "Cookie",
    "Expect",
    "Forwarded",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
    "TE",
    "Upgrade",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "X-Scheme",
];

const TYPES: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json"];

impl Said<'_> {
    fn bytes(&self) -> Vec<u8> {
        fn one_of(choices: &[&'static str], number: u8) -> &'static str {
            choices[usize::from(number) % choices.len()]
        }
        // What a head may not have is left out.
        let line = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().filter(|byte| *byte >= b' ').collect() };
        let mut bytes = format!("{} /", one_of(&METHODS, self.method)).into_bytes();
        bytes.extend(self.target.iter().copied().filter(u8::is_ascii_graphic));
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{}: ", one_of(&NAMES, *name)).as_bytes());
            bytes.extend(line(value));
            bytes.extend_from_slice(b"\r\n");
        }
        let (content_type, len) = (one_of(&TYPES, self.content_type), self.body.len());
        bytes.extend(format!("Content-Type: {content_type}\r\nContent-Length: {len}\r\n\r\n").into_bytes());
        bytes.extend_from_slice(self.body);
        bytes
    }
}

fuzz_target!(|said: Said<'_>| TIME.with(|time| {
    time.make_current();
    let began = time.elapsed();
    let server = HttpServer::new(look).options(options());
    let (transport, script) = scripted();
    let connection = IoStream::new(transport).expect("a stream");
    let context = ConnectionContext::new(PeerAddr::Tcp(SocketAddr::from(([192, 0, 2, 1], 4711))));
    let serving = time.spawn(async move { server.serve_stream(connection, context).await });
    let bytes = said.bytes();
    let mut rest = &bytes[..];
    for cut in &said.cuts {
        let (piece, behind) = rest.split_at(rest.len().min((*cut).into()));
        script.send(piece);
        time.run_until_stalled();
        rest = behind;
    }
    script.send(rest);
    script.finish();
    time.run(serving).expect("nobody has aborted it");
    assert!(script.is_closed() && time.elapsed() - began < Duration::from_secs(3_600));
    let answered = script.received();
    assert!(!answered.is_empty(), "whatever was said is answered");
    check(&answered);
}));

/// The folder that is served, and a file beside it that is not.
fn root() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let beside = std::env::temp_dir().join(format!("httpserver-fuzz-{}", std::process::id()));
        let root = beside.join("root");
        std::fs::create_dir_all(root.join("d")).expect("a folder");
        std::fs::write(beside.join("s"), SECRET).expect("a file");
        std::fs::write(root.join("a.txt"), "0123456789".repeat(20)).expect("a file");
        std::fs::write(root.join("d/e f"), "").expect("a file");
        root
    })
}

fn options() -> HttpOptions {
    let mut limits = Limits::default();
    limits.head_bytes = 1024;
    limits.body_bytes = 4096;
    HttpOptions::new()
        .limits(limits)
        .decompress_request()
        .compress_response(Compression::new().minimum_bytes(50))
        .xheaders(TrustedProxies::networks(["10.0.0.0/8"]).expect("a network").any_peer())
}

async fn look(request: Request) -> Result<Response, HttpError> {
    for (name, value) in request.query_arguments().iter() {
        assert!(name.len() + value.len() <= request.uri().len());
    }
    let cookies: Vec<_> = request.cookies().iter().collect();
    let _ = (request.host(), request.host_name(), request.full_url(), request.request_time());
    let _ = (request.remote_ip(), request.protocol());
    let form = request.form().map_or(0, |form| form.files.len());
    let arguments = request.arguments().map_or(0, |arguments| arguments.len());
    match StaticFile::open_below(root(), request.path()).await? {
        Some(file) => Ok(file.response_to(&request)?),
        None => {
            Ok(Response::text(format!("{} {form} {arguments}\n", cookies.len()))
                .status(StatusCode::NOT_FOUND))
        }
    }
}

/// Reads the responses of a connection, which are whole but perhaps for the last.
fn check(mut rest: &[u8]) {
    while !rest.is_empty() {
        let mut places = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut places);
        let parsed = head.parse(rest).expect("a valid head");
        let httparse::Status::Complete(len) = parsed else { panic!("half a head: {}", rest.escape_ascii()) };
        let field = |name: &str| {
            let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        let (length, is_chunked) = (field("Content-Length"), field("Transfer-Encoding").is_some());
        rest = &rest[len..];
        // A response to HEAD has the fields and no content; no content of ours begins like a response.
        if rest.is_empty() || rest.starts_with(b"HTTP/1.1 ") {
            continue;
        }
        let len = match length {
            _ if is_chunked => rest.windows(5).position(|end| end == b"0\r\n\r\n").expect("an end") + 5,
            Some(length) => length.parse().expect("a number"),
            None => rest.len(),
        };
        let (content, behind) = rest.split_at(len);
        assert!(!content.windows(SECRET.len()).any(|part| part == SECRET));
        rest = behind;
    }
}
