#!/usr/bin/env bash
# Runs every fuzz target for a while, one after the other. Needs a nightly toolchain and `cargo install cargo-fuzz`.
#
#   bash scripts/fuzz.sh                  a minute each
#   bash scripts/fuzz.sh 600              ten minutes each
#   bash scripts/fuzz.sh 600 multipart    only this one
#
# What was found to be of interest is kept in CRATE/fuzz/corpus and makes the next run begin where this one has ended; an input that breaks
# something is in CRATE/fuzz/artifacts, and `cd CRATE && cargo +nightly fuzz run TARGET FILE` shows it again.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
known=false
for target in */fuzz/fuzz_targets/*.rs; do
  crate=${target%%/*}
  name=$(basename "$target" .rs)
  [ "${2:-$name}" = "$name" ] || continue
  known=true
  printf '\n==> %s: %s\n' "$crate" "$name"
  (cd "$crate" && cargo +nightly fuzz run "$name" -- -max_total_time="$seconds" -timeout=10 -max_len=1024 -print_final_stats=1)
done
$known || { echo "fuzz: there is no target $2" >&2; exit 1; }
