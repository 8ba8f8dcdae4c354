#!/usr/bin/env bash
# A million connections on virtual time: what one costs, that those are evicted who are due, that a drain closes the idle at once and
# in bites, and that nothing stays. Two servers, one after the other, half a minute each at most, in some 600 MiB.
#
#   IDLE_CONNECTIONS=100000 bash scripts/ci.d/66-million.sh     so many
set -euo pipefail
cd "$(dirname "$0")/../.."

# Not the shipped build but a quick one: the link-time optimisation would take longer than the tests.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export IDLE_CONNECTIONS=${IDLE_CONNECTIONS:-1000000}

for crate in tcpserver httpserver; do
  cargo test --quiet --release -p "$crate" --test million --no-run
  timeout 600 cargo test --quiet --release -p "$crate" --test million -- --nocapture
done
