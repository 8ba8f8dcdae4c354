//! The cases of `tests/conformance/`: each is put to the server whole, byte by byte and cut at every place over a scripted
//! transport, and over a real socket. The README there says how they are written.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use httpserver::{HttpOptions, HttpServer, Request, Response};
use support::{AT_MOST, Answer, Peer, Running, Stage, answers_with, plain, unhurried};

struct Case {
    name: String,
    sent: Vec<u8>,
    /// One for each answer, as `answered` shows it.
    answers: Vec<Vec<u8>>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Something is missing of a request, so nothing more comes.
    Waits,
    Closed,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cases"));
    files.sort();
    let cases: Vec<_> =
        files.iter().flat_map(|path| read_cases(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(cases.len() >= 300, "{} cases", cases.len());
    cases
}

fn read_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(sent) = line.strip_prefix("  > ") {
            cases.last_mut().unwrap().sent.extend(expand(sent));
        } else if let Some(expected) = line.strip_prefix("  < ") {
            let case = cases.last_mut().unwrap();
            (case.answers, case.end) = read_expectation(&expand(expected));
        } else if !line.starts_with([' ', '#']) && !line.is_empty() {
            assert!(cases.iter().all(|case| case.name != line), "{line} is there twice");
            cases.push(Case { name: line.to_owned(), sent: vec![], answers: vec![], end: End::Open });
        }
    }
    assert!(cases.iter().all(|case| !case.sent.is_empty()));
    cases
}

fn read_expectation(expected: &[u8]) -> (Vec<Vec<u8>>, End) {
    let mut answers = Vec::new();
    let mut end = End::Open;
    for word in split(expected, b", ") {
        match word {
            b"closes" => end = End::Closed,
            b"waits" => end = End::Waits,
            word => answers.push(word.to_vec()),
        }
    }
    if answers.last().is_some_and(|last| is_refusal(last)) {
        end = End::Closed;
    }
    (answers, end)
}

fn is_refusal(answer: &[u8]) -> bool {
    answer.len() == 3 && (answer[0] == b'4' || answer[0] == b'5')
}

fn split<'a>(mut text: &'a [u8], between: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = support::find(text, between) {
        parts.push(&text[..at]);
        text = &text[at + between.len()..];
    }
    parts.push(text);
    parts
}

/// Bytes with escapes, short names and repetitions.
fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => rest = escape(rest, &mut out),
            '{' => rest = braces(rest, &mut out),
            other => out.extend(other.to_string().bytes()),
        }
    }
    out
}

fn escape<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let (byte, used) = match rest.as_bytes()[0] {
        b'r' => (b'\r', 1),
        b'n' => (b'\n', 1),
        b't' => (b'\t', 1),
        b'0' => (b'\0', 1),
        b'\\' => (b'\\', 1),
        b'x' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
        other => panic!("no escape: {}", char::from(other)),
    };
    out.push(byte);
    &rest[used..]
}

fn braces<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let mut depth = 1;
    let end = rest.char_indices().find(|(_, char)| {
        depth += i32::from(*char == '{') - i32::from(*char == '}');
        depth == 0
    });
    let (end, _) = end.expect("a closing brace");
    match &rest[..end] {
        "get" => out.extend(b"GET / HTTP/1.1\r\nHost: a\r\n"),
        "post" => out.extend(b"POST / HTTP/1.1\r\nHost: a\r\n"),
        "chunked" => out.extend(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        repetition => {
            let (times, text) = repetition.split_once('*').expect("a number and a star");
            out.extend(expand(text).repeat(times.parse().unwrap()));
        }
    }
    &rest[end + 1..]
}

/// Says what was asked, in a field that HEAD has too, and in the body.
async fn echo(request: Request) -> Response {
    let asked = format!("{} {}", request.method(), request.uri());
    Response::bytes(request.body().clone()).header("X-Request", asked).unwrap()
}

fn limited() -> HttpOptions {
    plain().max_body_size(1_000)
}

/// What came back, in the words of the cases.
fn answered(case: &Case, bytes: &[u8]) -> Vec<Vec<u8>> {
    let is_head = |n: usize| case.answers.get(n).is_some_and(|answer| answer.starts_with(b"HEAD "));
    let show = |answer: Answer| match answer.header("x-request") {
        Some(request) if answer.body.is_empty() => request.as_bytes().to_vec(),
        Some(request) => [request.as_bytes(), b" ", &answer.body].concat(),
        None => answer.status.to_string().into_bytes(),
    };
    answers_with(bytes, is_head).into_iter().map(show).collect()
}

/// Without the 100s: a server that has the body need not send one.
fn final_ones(answers: &[Vec<u8>]) -> Vec<&[u8]> {
    answers.iter().map(Vec::as_slice).filter(|answer| *answer != b"100").collect()
}

/// What is wrong with what came back, if anything is.
fn fault(case: &Case, how: &str, peer: &Peer, received: &[u8]) -> Option<String> {
    let back = answered(case, received);
    let is_right = match how {
        "whole" => back == case.answers,
        _ => final_ones(&back) == final_ones(&case.answers),
    };
    let is_shut = peer.is_shut() || peer.is_over();
    peer.finish();
    let is_right = is_right && is_shut == (case.end == End::Closed);
    (!is_right).then(|| {
        format!(
            "{}, {how}, {}: {}",
            case.name,
            if is_shut { "closed" } else { "open" },
            received.escape_ascii()
        )
    })
}

/// Puts every case to the server; all that go wrong are told together.
#[track_caller]
fn run(each: impl Fn(&Case, &mut dyn FnMut(Option<String>))) {
    let mut faults = Vec::new();
    for case in cases() {
        each(&case, &mut |fault| faults.extend(fault));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn cases_whole() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    run(|case, note| {
        let peer = stage.connect(&server);
        let received = stage.exchange(&peer, &case.sent);
        note(fault(case, "whole", &peer, &received));
    });
    stage.time.advance(Duration::from_secs(100));
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn cases_byte_by_byte() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    run(|case, note| {
        let peer = stage.connect(&server);
        let segment = if case.sent.len() < 10_000 { 1 } else { 17 };
        peer.send_in_segments(&case.sent, segment);
        peer.set_largest_read(Some(segment));
        stage.time.run_until_stalled();
        note(fault(case, "byte by byte", &peer, &peer.received()));
    });
}

#[test]
fn cases_cut_everywhere() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    run(|case, note| {
        let step = case.sent.len().div_ceil(400);
        for cut in (1..case.sent.len()).step_by(step) {
            let peer = stage.connect(&server);
            let mut received = stage.exchange(&peer, &case.sent[..cut]);
            received.extend(stage.exchange(&peer, &case.sent[cut..]));
            note(fault(case, &format!("cut at {cut}"), &peer, &received));
        }
    });
}

#[test]
fn cases_over_sockets() {
    let running = Running::start(|| HttpServer::new(echo).options(unhurried(limited())));
    run(|case, note| {
        let mut socket = TcpStream::connect(running.address()).unwrap();
        socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
        socket.write_all(&case.sent).unwrap();
        if case.end != End::Closed {
            socket.shutdown(Shutdown::Write).unwrap();
        }
        let mut received = Vec::new();
        socket.read_to_end(&mut received).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let mut back = answered(case, &received);
        if case.end == End::Waits {
            back.pop_if(|last| last == b"400"); // the end of the input cut a request short
        }
        let is_right = final_ones(&back) == final_ones(&case.answers);
        note((!is_right).then(|| format!("{}: {}", case.name, received.escape_ascii())));
    });
}
