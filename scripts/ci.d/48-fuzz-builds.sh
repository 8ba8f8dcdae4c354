#!/usr/bin/env bash
# The fuzz targets stand outside of the workspace, so nothing else sees whether they still compile. `scripts/fuzz.sh` runs them.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib/server.sh
need c++ g++ # libFuzzer is C++
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}"
for manifest in */fuzz/Cargo.toml; do
  cargo check --quiet --manifest-path "$manifest"
  echo "ok: $manifest compiles"
done
