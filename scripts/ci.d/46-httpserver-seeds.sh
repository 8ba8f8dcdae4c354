#!/usr/bin/env bash
# Sixteen pipelined requests, ten thousand times, each time in another way.
#
#   HTTPSERVER_SEED=7 bash scripts/ci.d/46-httpserver-seeds.sh     only the seed that a failure has printed
set -euo pipefail
cd "$(dirname "$0")/../.."

# Not the shipped build but a quick one: the link-time optimisation would take longer than the tests.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export HTTPSERVER_SEEDS=${HTTPSERVER_SEEDS:-10000}
cargo test --quiet --release -p httpserver --test pipelining_seeds
