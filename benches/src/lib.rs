//! What is measured, and the programs that measure it.
//!
//! - `load` (the module and the program) puts load on a server and has less work with a request than the server.
//! - `floor` is the least a server can do; `peers/` are the servers that people would pick instead.
//! - `compare` runs them side by side and prints tables of **server CPU time per request**, paired within rounds.
//! - `idle` says what connections cost that only wait, to our servers, hyper and nginx.
//! - `faults` has peers, descriptors and threads do their worst, and says what becomes of the server.
//! - `ioloop_ratios` sets the loop alone beside other runtimes (feature `runtimes`).
//! - `iostream_ratios` sets streams beside tokio's, plain and over TLS (feature `streams`).
//! - `instructions` counts user instructions and syscalls per request, which repeat where times drift.
//!
//! Everything here is a tool: nothing in this package is meant to be depended on. Linux only, where it measures.

#![forbid(unsafe_code)]

pub mod about;
pub mod answer;
pub mod bounds;
pub mod building;
pub mod comparison;
mod connection;
#[cfg(any(feature = "runtimes", feature = "streams"))]
pub mod contest;
pub mod counting;
mod drive;
pub mod fairness;
pub mod faults;
pub mod growth;
pub mod idle;
pub mod load;
pub mod machine;
mod outside;
pub mod page;
pub mod peer;
mod plots;
pub mod process_cost;
pub mod record;
pub mod report;
pub mod results;
pub mod running;
#[cfg(feature = "runtimes")]
pub mod runtimes;
pub mod scenario;
pub mod selection;
pub mod server;
pub mod slice;
pub mod spread;
#[cfg(feature = "streams")]
pub mod streams;
mod svg;
pub mod targets;
pub mod tls;
mod traffic;
