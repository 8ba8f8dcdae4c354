//! Encoded request bodies, undone: how they come, and everything that can be wrong with them.

mod support;

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use httpserver::{Exchange, HttpError, HttpOptions, HttpServer, Request, Response};
use support::{Seeded, Stage, answer, answers, plain};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn sized(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(coding: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(size) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend([chunk, b"\r\n"].concat());
    }
    request.extend(b"0\r\n\r\n");
    request
}

fn decoding() -> HttpOptions {
    plain().decompress_request()
}

async fn whole(request: Request) -> Response {
    let fields = ["content-encoding", "content-length", "x-consumed-content-encoding"];
    let fields = fields.map(|name| request.headers().text(name).unwrap_or("-").to_owned());
    let response = Response::bytes(request.body().clone());
    response.header("X-Fields", fields.join(",")).unwrap()
}

async fn in_pieces(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut all = Vec::new();
    while let Some(chunk) = exchange.body().chunk().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 65_536, "h1_54: {} bytes", chunk.len());
        all.extend(chunk);
    }
    assert!(exchange.body().chunk().await?.is_none(), "the end stays the end");
    exchange.send(Response::bytes(all)).await
}

/// Compressible and not repetitive.
fn text(bytes: usize) -> Vec<u8> {
    let mut random = Seeded(7);
    (0..bytes).map(|_| b"0123456789abcdef"[random.below(16)]).collect()
}

#[test]
fn h1_53_a_body_is_decoded_and_its_head_says_so() {
    let stage = Stage::new();
    let server = HttpServer::new(whole).options(decoding());
    for (coding, body) in [
        ("gzip", gzip(b"hello")),
        ("GZip", gzip(b"hello")),
        ("x-gzip", gzip(b"hello")),
        ("deflate", zlib(b"hello")),
    ] {
        let back = answer(stage.ask(&server, sized(coding, &body)));
        let fields = format!("-,-,{}", coding.to_ascii_lowercase());
        assert_eq!((back.text(), back.header("x-fields")), ("hello", Some(&*fields)));
    }
    // What is not known, and several, are the handler's.
    for coding in ["br", "gzip, gzip", "identity"] {
        let back = answer(stage.ask(&server, sized(coding, b"hello")));
        assert_eq!((back.text(), back.header("x-fields")), ("hello", Some(&*format!("{coding},5,-"))));
    }
    // No body is no encoded body.
    assert_eq!(answer(stage.ask(&server, sized("gzip", b""))).status, 200);
    assert_eq!(answer(stage.ask(&server, chunked("gzip", b"", 1))).status, 200);
}

#[test]
fn h1_53_h1_56_bodies_come_whole_in_chunks_and_byte_by_byte_in_one_member_or_many() {
    let stage = Stage::new();
    let (whole, pieces) =
        (HttpServer::new(whole).options(decoding()), HttpServer::new(in_pieces).options(decoding()));
    let text = text(200_000);
    let members = [gzip(&text[..7]), gzip(b""), gzip(&text[7..150_000]), gzip(&text[150_000..])].concat();
    for (coding, body) in [("gzip", gzip(&text)), ("gzip", members), ("deflate", zlib(&text))] {
        for request in [sized(coding, &body), chunked(coding, &body, 70_000), chunked(coding, &body, 99)] {
            for segment in [usize::MAX, 50_000, 1_447] {
                for peer in [stage.connect(&whole), stage.connect(&pieces)] {
                    peer.send_in_segments(&request, segment.min(request.len()));
                    peer.send(sized("gzip", &gzip(b"next")));
                    stage.time.run_until_stalled();
                    let back = answers(peer.received());
                    assert_eq!(back.len(), 2, "{coding}, segments of {segment}");
                    assert!(
                        back[0].body == text && back[1].text() == "next",
                        "{coding}, segments of {segment}"
                    );
                }
            }
        }
    }
    let two = [gzip(b"one, "), gzip(b"two")].concat();
    for size in 1..two.len() {
        let peer = stage.connect(&pieces);
        peer.send_in_segments(sized("gzip", &two), size);
        stage.time.run_until_stalled();
        assert_eq!(answer(peer.received()).text(), "one, two", "segments of {size}");
    }
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn h1_56_what_is_cut_short_corrupt_or_followed_by_something_is_a_400() {
    let stage = Stage::new();
    let (whole, pieces) =
        (HttpServer::new(whole).options(decoding()), HttpServer::new(in_pieces).options(decoding()));
    let refused = |coding: &str, body: &[u8], case: &str| {
        for request in [sized(coding, body), chunked(coding, body, 3)] {
            for back in [stage.ask(&whole, &request), stage.ask(&pieces, &request)] {
                let back = answer(back);
                assert_eq!((back.status, back.closes()), (400, true), "{coding}: {case}");
            }
        }
    };
    for (coding, good) in [("gzip", gzip(b"hello, hello")), ("deflate", zlib(b"hello, hello"))] {
        for end in 1..good.len() {
            refused(coding, &good[..end], &format!("{end} bytes of {}", good.len()));
        }
        for at in good.len() - 4..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            refused(coding, &bad, "another checksum");
        }
        refused(coding, &[&good[..], b"x"].concat(), "one byte behind it");
        refused(coding, &[&good[..], b"\0\0\0\0"].concat(), "zeros behind it");
        refused(coding, b"hello, hello", "no encoding at all");
    }
    refused("gzip", &[gzip(b"one"), gzip(b"two")[..9].to_vec()].concat(), "half a second member");
    refused("deflate", &[zlib(b"one"), zlib(b"two")].concat(), "zlib has no members");
}

#[test]
fn h1_55_the_limit_on_bodies_holds_after_decoding_too() {
    let stage = Stage::new();
    let server = HttpServer::new(whole).options(decoding().max_body_size(100));
    for coding in ["gzip", "deflate"] {
        let encode = if coding == "gzip" { gzip } else { zlib };
        assert_eq!(answer(stage.ask(&server, sized(coding, &encode(&[b'x'; 100])))).body.len(), 100);
        let back = answer(stage.ask(&server, sized(coding, &encode(&[b'x'; 101]))));
        assert_eq!((back.status, back.closes()), (413, true));
    }
    // A handler may raise it, as for any body: in Tornado not for decoded ones.
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        exchange.set_max_body_size(1_000);
        let bytes = exchange.read_body().await?.len();
        exchange.send(Response::text(bytes.to_string())).await
    });
    let server = server.options(decoding().max_body_size(100));
    assert_eq!(answer(stage.ask(&server, sized("gzip", &gzip(&[b'x'; 1_000])))).text(), "1000");
    assert_eq!(answer(stage.ask(&server, sized("gzip", &gzip(&[b'x'; 1_001])))).status, 413);
}

#[test]
fn what_was_wrong_with_a_body_stays_so_for_who_reads_on() {
    let stage = Stage::new();
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        while exchange.body().chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        for _ in 0..100 {
            assert!(exchange.body().chunk().await.is_err(), "what lies behind is no part of anything whole");
        }
        exchange.send(Response::text("refused")).await
    });
    let body = gzip(&[vec![b'x'; 2_000_000], text(1_000_000)].concat());
    let peer = stage.connect(&server.options(decoding()));
    assert_eq!(answer(stage.exchange(&peer, sized("gzip", &body))).text(), "refused");
}

#[test]
fn h1_55_row_29_a_bomb_is_a_413_before_it_has_grown() {
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let see = std::rc::Rc::clone(&seen);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        while let Some(chunk) = exchange.body().chunk().await? {
            see.set(see.get() + chunk.len());
        }
        exchange.send(Response::text("all of it")).await
    });
    let (stage, server) = (Stage::new(), server.options(decoding()));
    let bomb = gzip(&vec![0; 20_000_000]); // within the limit on bodies, and some 20 KiB
    assert_eq!(answer(stage.ask(&server, sized("gzip", &bomb))).status, 413);
    assert!(seen.take() <= 100 * bomb.len() + 65_536);
    // What is small may consist of nothing.
    assert_eq!(answer(stage.ask(&server, sized("gzip", &gzip(&vec![0; 1_000_000])))).text(), "all of it");
    assert_eq!(seen.take(), 1_000_000);
    let patient = decoding().max_inflation(2_000);
    assert_eq!(answer(stage.ask(&server.options(patient), sized("gzip", &bomb))).text(), "all of it");
}

#[test]
fn h1_54_pieces_are_of_64_kib_at_most_and_others_get_their_turn() {
    let stage = Stage::new();
    let server = HttpServer::new(in_pieces).options(decoding());
    let peer = stage.connect(&server);
    let turns = stage.time.counters().task_polls;
    // One segment, which becomes sixteen pieces.
    assert_eq!(
        answer(stage.exchange(&peer, sized("gzip", &gzip(&vec![b'x'; 1_000_000])))).body.len(),
        1_000_000
    );
    assert!(stage.time.counters().task_polls - turns >= 4, "it gave way");
}

#[test]
fn h1_57_without_it_the_body_stays_encoded_and_forms_are_an_error() {
    async fn form(request: Request) -> Result<String, HttpError> {
        Ok(format!("{:?}", request.form()?.arguments.get("a")))
    }
    let stage = Stage::new();
    let request = |body: &[u8]| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n";
        [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    let encoded = gzip(b"a=b");
    assert_eq!(answer(stage.ask(&HttpServer::new(form).options(plain()), request(&encoded))).status, 415);
    let unknown = String::from_utf8(request(b"a=b")).unwrap().replace(": gzip", ": br");
    let back = answer(stage.ask(&HttpServer::new(form).options(decoding()), unknown));
    assert_eq!((back.status, back.header("accept-encoding")), (415, Some("gzip, deflate")));
    let decoded = answer(stage.ask(&HttpServer::new(form).options(decoding()), request(&encoded)));
    assert!(decoded.status == 200 && decoded.text().starts_with("Some("), "{}", decoded.text());
    let raw = answer(stage.ask(&HttpServer::new(whole).options(plain()), sized("gzip", &encoded)));
    assert!(raw.body == encoded);
}

#[test]
fn what_is_left_of_an_encoded_body_is_dropped_as_it_came_and_not_decoded() {
    let stage = Stage::new();
    let server =
        HttpServer::new(async |exchange: &mut Exchange<'_>| exchange.send(Response::text("no")).await);
    let peer = stage.connect(&server.options(decoding()));
    let back = answers(stage.exchange(&peer, sized("gzip", b"no gzip at all").repeat(2)));
    assert_eq!((back.len(), back[0].text(), back[1].closes()), (2, "no", false));
}

#[test]
fn a_body_read_in_part_can_be_read_to_its_end_as_a_whole() {
    let stage = Stage::new();
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let first = exchange.body().chunk().await?.unwrap_or_default().len();
        let rest = exchange.read_body().await?.len();
        exchange.send(Response::text(format!("{first} {rest}"))).await
    });
    let request = sized("gzip", &gzip(&text(100_000)));
    assert_eq!(answer(stage.ask(&server.options(decoding()), request)).text(), "65536 34464");
}
