#!/usr/bin/env bash
# A thousand random runs of the mixed reads over each transport, in less than two minutes on two cores. So a run has
# half a million bytes over the scripted transport, and 100,000 over the others, which wait for timers or encrypt.
#
#   IOSTREAM_SEED=7 bash scripts/ci.d/45-iostream-seeds.sh     only the seed that a failure has printed
set -euo pipefail
cd "$(dirname "$0")/../.."

# Not the shipped build but a quick one: the link-time optimisation would take longer than the tests.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export IOSTREAM_SEEDS=${IOSTREAM_SEEDS:-1000}

mixed_reads() { # bytes, name of the tests …
  IOSTREAM_BYTES=$1 cargo test --quiet --release -p iostream --test mixed_reads -- "${@:2}"
}
mixed_reads 500000 over_a_scripted_transport
mixed_reads 100000 over_tcp over_a_unix_socket over_a_pipe over_a_pair_of_pipes over_a_pair_in_memory over_tls

# Both sides at work at once, and conversations that move from stream to stream: a tenth of the seeds, as each is many tasks.
IOSTREAM_SEEDS=$(((IOSTREAM_SEEDS + 9) / 10)) \
  cargo test --quiet --release -p iostream --test both_ways --test detach_anywhere
