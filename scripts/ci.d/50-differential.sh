#!/usr/bin/env bash
# The cases of httpserver/tests/conformance, put to our server, to h11, Tornado and hyper. Where one of them differs from us, the case says
# so and which sentence of an RFC decides; a difference without such a line fails, and so does a line without a difference.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
others=()
trap 'for pid in "${others[@]}"; do kill "$pid" 2> /dev/null || true; done; stop_if_running' EXIT

# Pinned: what a line says of one version need not be true of the next.
venv=$TARGET/differential-venv
if ! "$venv/bin/python" -c 'import h11, tornado; assert (h11.__version__, tornado.version) == ("0.16.0", "6.6.1")' 2> /dev/null; then
  python3 -m venv "$venv" 2> /dev/null || { install python3-venv; python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check h11==0.16.0 tornado==6.6.1
fi
cargo build --quiet --release -p examples --example mirror
cargo build --quiet --release -p benches --features hyper --bin mirror-hyper

# other NAME COMMAND …: starts somebody else's server, which says where it listens.
servers=()
other() {
  local name=$1
  shift
  run "$@"
  others+=("$!")
  read_port
  servers+=("$name=$PORT")
}
other h11 "$venv/bin/python" scripts/lib/mirror_h11.py
other tornado "$venv/bin/python" scripts/lib/mirror_tornado.py
other hyper "$TARGET/release/mirror-hyper" --port 0
start mirror --max-body 1000
timeout 300 python3 scripts/lib/differential.py "ours=$PORT" "${servers[@]}"
stop
