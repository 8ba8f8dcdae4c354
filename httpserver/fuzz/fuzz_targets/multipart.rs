//! A form means the same however it is cut. Run: `cargo +nightly fuzz run multipart`
#![no_main]

use httpserver::multipart::Limits;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/multipart_support/mod.rs"]
mod support;

// The first bytes say where to cut, then comes the boundary as the Content-Type gives it, `b` if it is not of interest, then the body.
fuzz_target!(|input: (Vec<u8>, Option<String>, Vec<u8>)| {
    let (cuts, boundary, body) = input;
    let boundary = boundary.unwrap_or_else(|| "b".to_owned());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let mut limits = Limits::default();
    limits.parts = 4;
    limits.part_head_bytes = 256;
    limits.field_bytes = 64;
    limits.file_bytes = 128;

    let whole = support::read_pieces(&content_type, [&body[..]], &limits);
    let mut pieces = Vec::new();
    let mut rest = &body[..];
    for cut in cuts {
        let (piece, behind) = rest.split_at(rest.len().min(cut.into()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(support::read_pieces(&content_type, pieces, &limits), whole, "cut somewhere");
    assert_eq!(support::read_pieces(&content_type, body.chunks(1), &limits), whole, "byte by byte");
});
