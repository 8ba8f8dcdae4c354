#!/usr/bin/env bash
# Model-checks what crosses threads: loom runs ioloop's inbox and wakes in every order of their steps. A lost wake is a deadlock.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Other flags than the rest of the build, so a folder of its own. Only the models: the other tests know nothing of loom.
export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
cargo test --release --quiet -p ioloop --lib inbox::models
