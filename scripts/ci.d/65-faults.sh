#!/usr/bin/env bash
# Peers, descriptors and signals do their worst to the testbed: little of each, and only facts are judged, no times. The whole run,
# beside other servers: cargo run --release -p benches --bin faults
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
need nginx nginx
need prlimit util-linux
need faketime faketime

cargo build --release --quiet -p benches --bin faults
cargo build --release --quiet -p examples --features "gzip tls" --example testbed
timeout 900 cargo run --release --quiet -p benches --bin faults -- --quick --no-build
