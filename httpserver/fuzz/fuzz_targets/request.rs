//! A stream of requests means the same however it is cut. Run: `cargo +nightly fuzz run request`
#![no_main]

use httpserver::http1::Limits;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/http1_support/mod.rs"]
mod support;

// The first bytes say where to cut, the rest is the stream.
fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (cuts, stream) = input;
    let mut limits = Limits::default();
    limits.head_bytes = 512;
    limits.request_line_bytes = 128;
    limits.fields = 16;
    limits.body_bytes = 1 << 20;
    limits.trailer_bytes = 128;

    let whole = support::events(&[&stream], &limits);
    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (piece, behind) = rest.split_at(rest.len().min(cut.into()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(support::events(&pieces, &limits), whole, "cut somewhere");
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(support::events(&bytes, &limits), whole, "byte by byte");
});
