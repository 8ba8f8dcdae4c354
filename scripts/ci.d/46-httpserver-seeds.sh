#!/usr/bin/env bash
# Sixteen pipelined requests, ten thousand times, each time in another way.
#
#   HTTPSERVER_SEED=7 bash scripts/ci.d/46-httpserver-seeds.sh     only the seed that a failure has printed
set -euo pipefail
cd "$(dirname "$0")/../.."
HTTPSERVER_SEEDS=${HTTPSERVER_SEEDS:-10000} cargo test --quiet -p httpserver --test pipelining_seeds
