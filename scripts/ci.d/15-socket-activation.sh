#!/usr/bin/env bash
# Socket activation as systemd does it: two sockets of different kinds, opened by systemd-socket-activate and taken by name.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
trap stop_if_running EXIT
need systemd-socket-activate systemd
need python3 python3

cargo build --quiet -p netutil --example activated
example=$TARGET/debug/examples/activated
directory=$(mktemp -d)
admin=$directory/admin.sock

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# ask FAMILY PORT-OR-PATH: what the server says.
ask() {
  timeout 60 python3 -c '
import socket, sys
s = socket.socket(getattr(socket, sys.argv[1]))
s.connect(sys.argv[2] if sys.argv[1] == "AF_UNIX" else ("127.0.0.1", int(sys.argv[2])))
print(s.makefile().read(), end="")' "$1" "$2"
}
# activate NAMES: the sockets listen, and the example is started by the first who connects.
activate() {
  PORT=$(free_port)
  rm -f "$admin"
  : > "$TARGET/server.log" # so that nothing of the last time is read
  run systemd-socket-activate -l "127.0.0.1:$PORT" -l "$admin" --fdname="$1" "$example"
  SERVER_PID=$!
  until [ "$(grep -c '^Listening on ' "$TARGET/server.log")" -eq 2 ]; do
    kill -0 "$SERVER_PID" 2> /dev/null || fail "it does not listen: $(cat "$TARGET/server.log")"
  done
}
# refuse WHAT ERROR: the example is started, complains with that text, and ends.
refuse() {
  local status=0
  ask AF_INET "$PORT" > /dev/null 2>&1 || true
  wait "$SERVER_PID" || status=$?
  SERVER_PID=
  exec 9<&-
  expect "$1" 1 "$status"
  grep -qF "$2" "$TARGET/server.log" || fail "the error is another one: $(cat "$TARGET/server.log")"
}

activate http:admin
expect "the TCP listener, by whose connection it is started" "hello from http" "$(ask AF_INET "$PORT")"
expect "the Unix listener" "hello from admin" "$(ask AF_UNIX "$admin")"
expect "the TCP listener again" "hello from http" "$(ask AF_INET "$PORT")"
kill -TERM "$SERVER_PID"
wait "$SERVER_PID" || true
SERVER_PID=
exec 9<&-

activate http:stranger
refuse "an unknown name is an error that says which" 'no use for descriptor 4, \"stranger\"'

activate admin:http
refuse "a Unix socket in place of a TCP one is an error that says which" 'descriptor: 4, name: "http"'
rm -r "$directory"
