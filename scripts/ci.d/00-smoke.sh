#!/usr/bin/env bash
# Starts every example on a port of its own, asks it something, and stops it with SIGTERM, which must end it with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --examples --quiet
cargo build --release -p examples --example tungstenite_ws --features websocket --quiet
programs="${CARGO_TARGET_DIR:-target}/release/examples"

smoke() { # example, function that is given the port
  local name=$1 ask=$2 out pid port status
  out=$(mktemp)
  "$programs/$name" --port 0 >"$out" 2>/dev/null &
  pid=$!
  # The line appears when the program listens; a program that dies first ends the wait.
  until grep -q '^listening on ' "$out" || ! kill -0 "$pid" 2>/dev/null; do :; done
  port=$(sed -n '1s/.*://p' "$out")
  "$ask" "$port" || { echo "$name: a wrong answer" >&2; kill "$pid"; exit 1; }
  kill -TERM "$pid"
  status=0
  wait "$pid" || status=$?
  rm -f "$out"
  [ "$status" -eq 0 ] || { echo "$name: status $status after SIGTERM" >&2; exit 1; }
  echo "$name: ok"
}

request() { # port, path: the body of the answer, by bash alone
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}
ask_story() { [ "$(request "$1" /story)" = "You requested /story" ]; }
ask_plaintext() { [ "$(request "$1" /plaintext)" = "Hello, World!" ]; }
ask_mirror() {
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /story HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  grep -qi '^x-request: GET /story' <&3
  exec 3>&-
}
ask_line() {
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'a line\n' >&3
  read -r line <&3
  exec 3>&-
  [ "$line" = "a line" ]
}
ask_client() { [ "$("$programs/tcp_client" localhost "$1" hello 'a line')" = $'hello\na line' ]; }
ask_sum() {
  local answer
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'ADD 1 2 39\nPING\nQUIT\n' >&3
  answer=$(cat <&3)
  exec 3>&-
  [ "$answer" = $'42\nPONG\nBYE' ]
}

ask_proxied() {
  local greeting line
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'PROXY TCP4 203.0.113.9 198.51.100.7 4660 443\r\na line\n' >&3
  read -r greeting <&3
  read -r line <&3
  exec 3>&-
  [[ $greeting == "client 203.0.113.9:4660 by 127.0.0.1:"*", who connected to 198.51.100.7:443" ]] && [ "$line" = "a line" ]
}

answering() { # port: the process that answers a line
  local answer
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'who\n' >&3
  read -r answer <&3
  exec 3>&-
  echo "${answer#process }"
}
ask_process() { # the program is replaced, and its successor ended; the original ends by itself
  local first next
  first=$(answering "$1")
  kill -HUP "$first"
  until next=$(answering "$1") && [ "$next" != "$first" ]; do kill -0 "$first" || return 1; done
  # Whoever comes last is to be stopped by SIGTERM, and the first must not hear it, nor need to.
  kill -TERM "$next"
  pid=$first
}
ask_loop() { # which of the loops it is depends
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf '\n' >&3
  read -r line <&3
  exec 3>&-
  [[ $line =~ ^(this loop|loop [0-9]+),\ line\ 1$ ]]
}

ask_redis() {
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'PING\r\n' >&3
  read -r line <&3
  exec 3>&-
  [ "$line" = $'+PONG\r' ]
}

ask_chat() { # the first hears the second come, and what it says
  local line heard=""
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  read -r line <&3
  exec 4<>"/dev/tcp/127.0.0.1/$1"
  printf 'hello\n' >&4
  for _ in 1 2; do read -r line <&3 && heard+="$line;"; done
  exec 3>&- 4>&-
  [ "$heard" = "* 2 has come;2: hello;" ]
}

ask_websocket() { # the key and its answer are those of RFC 6455 §1.3; the frame is masked with zeros
  local line answer="" frame
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' >&3
  printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' >&3
  while read -r line <&3 && [ "$line" != $'\r' ]; do answer+=$line; done
  printf '\x81\x85\0\0\0\0hello' >&3
  frame=$(head -c 7 <&3 | od -An -tx1)
  exec 3>&-
  [[ ${answer,,} == *s3pplmbitxaq9kygzzhzrbk+xoo=* ]] && [ "$frame" = " 81 05 68 65 6c 6c 6f" ]
}

smoke hello ask_story
smoke classic ask_story
smoke testbed ask_plaintext
smoke mirror ask_mirror
smoke echo ask_line
smoke echo ask_client
smoke line_protocol ask_sum
smoke proxy_echo ask_proxied
smoke multi_loop ask_loop
smoke redis_mini ask_redis
smoke handover ask_process
smoke chat ask_chat

# pipe_filter has no port: what goes in comes out, and so does the status of a command.
[ "$(printf 'a\nb' | "$programs/pipe_filter" | cat)" = $'A\nB' ] || { echo "pipe_filter: a wrong answer" >&2; exit 1; }
status=0
answer=$("$programs/pipe_filter" sh -c 'echo told; exit 7') || status=$?
[ "$answer $status" = "TOLD 7" ] || { echo "pipe_filter: $answer, status $status" >&2; exit 1; }
echo "pipe_filter: ok"
smoke tungstenite_ws ask_websocket
