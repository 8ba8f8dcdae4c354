//! Compares streams with tokio's, plain and over TLS, and prints a table of paired ratios.
//!
//!     cargo run --release -p benches --features streams --bin iostream_ratios
//!     cargo run --release -p benches --features streams --bin iostream_ratios -- --case lines --rounds 21

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// In each round: each is some milliseconds long.
const TURNS: u64 = 8;

fn main() -> ExitCode {
    benches::contest::main(benches::streams::CASES, TURNS)
}
