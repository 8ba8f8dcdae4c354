#!/usr/bin/env bash
# Ten thousand random programs of tasks, timers, callbacks, handlers, removals and panics against their model.
set -euo pipefail
cd "$(dirname "$0")/../.."
IOLOOP_SEEDS=10000 cargo test --quiet -p ioloop --test randomized
