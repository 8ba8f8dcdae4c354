#!/usr/bin/env bash
# The testbed under load: no error and nothing but 2xx, with and without pipelining; and what a request costs in system calls.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
trap stop_if_running EXIT
need wrk wrk
need strace strace
SECONDS_OF_LOAD=${SECONDS_OF_LOAD:-5}

# load NAME WRK-ARGUMENT …: runs wrk, shows its summary, and insists on a clean one. Sets REQUESTS.
load() {
  local name=$1 report
  shift
  report=$(wrk -t1 -c64 --timeout 60s "$@" "http://127.0.0.1:$PORT/plaintext")
  if grep -E 'Socket errors|Non-2xx' <<< "$report"; then fail "$name: $report"; fi
  REQUESTS=$(sed -nE 's/^ *([0-9]+) requests in .*/\1/p' <<< "$report")
  [ "${REQUESTS:-0}" -gt 0 ] || fail "$name: nothing was answered: $report"
  echo "ok: $name:$(grep Requests/sec <<< "$report" | tr -s ' ' | cut -d: -f2) requests a second, all 2xx"
}

build_examples

start testbed
load "one request at a time" -d"${SECONDS_OF_LOAD}s"
load "16 pipelined" -d"${SECONDS_OF_LOAD}s" -s scripts/lib/pipeline.lua
stop

# Traced from its start, so that every call is counted. Tracing is slow: no speed is to be read from this.
counts=$TARGET/strace-counts
traced() { # what load is given: runs it against a server of its own, whose calls are in $counts then
  local tracer
  # shellcheck disable=SC2016 # the inner shell says its own number, which the server inherits
  run strace -qq -c -f -U calls,name -o "$counts" \
    sh -c 'echo $$; exec "$0" --port 0' "$TARGET/release/examples/testbed"
  tracer=$!
  read -r -t 60 SERVER_PID <&9 || fail "strace does not run: $(cat "$TARGET/server.log")"
  read_port
  load "$@"
  kill -TERM "$SERVER_PID"
  wait "$tracer" || fail "the traced server ended with status $? on SIGTERM"
  SERVER_PID=
  exec 9<&-
}
calls() { awk -v names="$1" 'BEGIN { split(names, list); for (n in list) wanted[list[n]] } $2 in wanted { sum += $1 } END { print sum + 0 }' "$counts"; }

traced "under strace" -d"${SECONDS_OF_LOAD}s"
io=$(calls "read readv recvfrom recvmsg write writev sendto sendmsg")
ctl=$(calls "epoll_ctl")
accepted=$(calls "accept4")
# Not of a request are the first look of a connection, its end, and a request that wrk has not waited for: six calls at most. They
# would count for much where the machine is slow and few are answered.
awk -v io="$((io - 6 * accepted))" -v requests="$REQUESTS" -v ctl="$ctl" 'BEGIN {
  printf "ok: %.3f reads and writes a request, %.2f epoll_ctl a connection\n", io / requests, ctl / 64
  if (io / requests > 2.05) { print "FAILED: more than 2.05 reads and writes a request" > "/dev/stderr"; exit 1 }
  if (ctl / 64 > 2) { print "FAILED: more than 2 epoll_ctl a connection" > "/dev/stderr"; exit 1 }
}'
[ "$accepted" -ge 64 ] || fail "only $accepted accepts were seen; the trace is not complete"

# Into how many pieces the kernel cuts an upload depends on who runs when. A piece is waited for, read and sent back, and nothing else;
# but for some 200 calls of the start, the end and the connection.
traced "uploads of 100 KiB under strace" -c1 -d"${SECONDS_OF_LOAD}s" -s scripts/lib/upload.lua
awk -v all="$(calls total)" -v reads="$(calls recvfrom)" 'BEGIN {
  printf "ok: %d reads, %.3f calls for each\n", reads, (all - 200) / reads
  if ((all - 200) / reads > 3.05) { print "FAILED: more than 3.05 calls for each piece of an upload" > "/dev/stderr"; exit 1 }
}'
