#!/usr/bin/env bash
# Runs every example of ioloop: those that end by themselves to their end, the others until they have answered.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --quiet -p ioloop --examples
programs="${CARGO_TARGET_DIR:-target}/release/examples"
out=$(mktemp)
trap 'rm -f "$out"' EXIT

says() { # what the program must have said by now; a program that dies first ends the wait
  until grep -q "$1" "$out" || ! kill -0 "$pid" 2>/dev/null; do :; done
  grep -q "$1" "$out" || { echo "it never said: $1" >&2; cat "$out" >&2; exit 1; }
}

timeout 60 "$programs/timer" | tail -n 1 | grep -q '^100 ms: a wait was given up$'
timeout 60 "$programs/thread_pool" >/dev/null
timeout 60 "$programs/periodic" >/dev/null
timeout 60 "$programs/three_loops" --once >/dev/null
echo "timer, thread_pool, periodic, three_loops: ok"

"$programs/udp_echo" >"$out" & pid=$!
says '^listening on '
exec 3<>"/dev/udp/127.0.0.1/$(sed -n '1s/.*://p' "$out")"
echo hello >&3
[ "$(timeout 60 head -n 1 <&3)" = hello ]
exec 3>&-
kill "$pid"
wait "$pid" || true
echo "udp_echo: ok"

stop() { # how to start signal_stop, so that it is process $pid; SIGHUP, then SIGTERM, which must end it with status 0
  : >"$out"
  "$@" >"$out" & pid=$!
  says '^working as '
  local program
  program=$(pgrep -P "$pid" || echo "$pid") # the child of what is between, if there is something
  kill -HUP "$program"
  says '^SIGHUP: reloaded'
  kill -TERM "$program"
  wait "$pid"
}
stop "$programs/signal_stop"
echo "signal_stop: ok"
# As process 1 of a container, where a signal without a handler is ignored.
if unshare --pid --fork true 2>/dev/null; then
  stop unshare --pid --fork "$programs/signal_stop"
  grep -q '^working as process 1$' "$out"
  echo "signal_stop as process 1: ok"
else
  echo "signal_stop as process 1: not tried, no permission to make a process namespace"
fi
