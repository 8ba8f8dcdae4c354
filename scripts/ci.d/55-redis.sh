#!/usr/bin/env bash
# The small Redis as Redis's own tools see it: redis-benchmark's traffic, Python's client, the same bytes sent to it and to the
# real server, and SIGTERM in the midst of commands.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
folder=$(mktemp -d)
real=
end() {
  stop_if_running
  if [ -n "$real" ]; then { kill -KILL "$real" && wait "$real"; } 2> /dev/null || true; fi
  rm -rf "$folder"
}
trap end EXIT

# Without the package nothing can be compared: that is said loudly, and is no failure of ours.
skip() { echo "SKIPPED, ALL OF IT: $*" >&2; exit 0; }
(need redis-server redis-server && need redis-benchmark redis-tools) || skip "no redis-server or redis-benchmark"
(need python3 python3 && { python3 -m venv "$folder/venv" || { install python3-venv && python3 -m venv "$folder/venv"; }; }) \
  > /dev/null || skip "no python3 with venv"
"$folder/venv/bin/pip" install --quiet redis || skip "no redis for Python"

cargo build --quiet --release -p examples --example redis_mini
start redis_mini
redis-server --port 0 --unixsocket "$folder/redis.sock" --save '' --appendonly no --dir "$folder" > "$folder/redis.log" &
real=$!

for pipeline in 1 16; do
  report=$(redis-benchmark -p "$PORT" -t ping,set,get,incr -c 50 -P "$pipeline" -n 50000 -r 1000 --csv 2>&1)
  expect "redis-benchmark -P $pipeline: PING (twice), SET, GET, INCR" 5 "$(grep -c '^"[PSGI]' <<< "$report")"
  if grep -iE 'error|warning' <<< "$report"; then fail "redis-benchmark -P $pipeline: $report"; fi
done
expect "redis-cli" "blue" "$(redis-cli -p "$PORT" set colour blue > /dev/null; redis-cli -p "$PORT" get colour)"

PORT=$PORT SOCKET=$folder/redis.sock SERVER=$SERVER_PID timeout 120 "$folder/venv/bin/python" scripts/lib/redis_client.py
# Python has sent the SIGTERM, in the midst of commands.
status=0
wait "$SERVER_PID" || status=$?
SERVER_PID=
expect "the status after SIGTERM" 0 "$status"
