//! Streams beside tokio's: reading lines, bulk one way, round trips, plain and over TLS. Measured by `iostream_ratios`.
//!
//! One thread is measured, by its own CPU time. What it talks to is a blocking thread, the same for both contenders
//! (`counterpart.rs`), over one loopback connection. TLS is 1.3 with AES-128-GCM, by the same rustls and ring on all sides.

mod aligned;
mod clock;
mod counterpart;
mod on_iostream;
mod on_tokio;
mod tls;

pub use crate::contest::{Case, Contender, Measure};

/// Bytes that one read asks for, and one write gives, where it goes one way.
const PIECE: usize = 64 * 1024;

/// Lengths of lines, their ends included.
const SHORT: usize = 64;
const LONG: usize = 4096;

/// Bytes that go back and forth.
const PING: usize = 64;

macro_rules! case {
    ($name:literal, $what:literal, $iterations:expr, $work:ident, $link:ident $(, $also:literal: $more:ident)?) => {
        Case {
            name: $name,
            what: $what,
            iterations: $iterations,
            alone: true,
            contenders: &[
                Contender { name: "iostream", prepare: || on_iostream::$work(counterpart::Link::$link) },
                Contender { name: "tokio", prepare: || on_tokio::$work(counterpart::Link::$link) },
                $(Contender { name: $also, prepare: || on_tokio::$more(counterpart::Link::$link) },)?
            ],
        }
    };
}

/// Read through the buffer that tokio's readers have unless they are told otherwise, and through one as large as ours.
macro_rules! lines {
    ($name:literal, $what:literal, $iterations:expr, $work:ident, $in_large_reads:ident) => {
        case!($name, $what, $iterations, $work, Plain, "tokio-64k": $in_large_reads)
    };
}

/// All cases, in the order of the table.
pub const CASES: &[Case] = &[
    lines!(
        "lines-short",
        "a line of 64 bytes, 64 MiB of them",
        1 << 20,
        short_lines,
        short_lines_in_large_reads
    ),
    lines!(
        "lines-short-owned",
        "the same, each a value of its own",
        1 << 20,
        short_owned_lines,
        short_owned_lines_in_large_reads
    ),
    lines!("lines-4k", "a line of 4 KiB, 64 MiB of them", 1 << 14, long_lines, long_lines_in_large_reads),
    lines!(
        "lines-4k-owned",
        "the same, each a value of its own",
        1 << 14,
        long_owned_lines,
        long_owned_lines_in_large_reads
    ),
    case!("receive", "receive 64 KiB, 1 GiB of them", 1 << 14, receive, Plain),
    case!("send", "send 64 KiB, 1 GiB of them", 1 << 14, send, Plain),
    case!("round-trip", "64 bytes there and back", 20_000, round_trips, Plain),
    case!("receive-tls", "receive 64 KiB over TLS, 1 GiB of them", 1 << 14, receive, Tls),
    case!("send-tls", "send 64 KiB over TLS, 1 GiB of them", 1 << 14, send, Tls),
    case!("round-trip-tls", "64 bytes there and back over TLS", 20_000, round_trips, Tls),
];
