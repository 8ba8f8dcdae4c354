//! Compares the loop with other runtimes, one small thing at a time, and prints a table of paired ratios.
//!
//!     cargo run --release -p benches --features runtimes --bin ioloop_ratios
//!     cargo run --release -p benches --features runtimes --bin ioloop_ratios -- --case sleep --rounds 21

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// In each round; the work of some of these would be another if it were cut.
const TURNS: u64 = 1;

fn main() -> ExitCode {
    benches::contest::main(benches::runtimes::CASES, TURNS)
}
