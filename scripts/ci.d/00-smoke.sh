#!/usr/bin/env bash
# Starts every example on a port of its own, asks it something, and stops it with SIGTERM, which must end it with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --examples --quiet
cargo build --release -p examples --example tungstenite_ws --example websocket_echo --features websocket --quiet
cargo build --release -p examples --example https --example mtls --features tls --quiet
source scripts/lib/server.sh
need openssl openssl
need curl curl
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs="${CARGO_TARGET_DIR:-target}/release/examples"

smoke() { # example, function that is given the port, the process, and what was printed; flags of the example
  local name=$1 ask=$2 out pid port status
  out=$(mktemp)
  "$programs/$name" --port 0 "${@:3}" >"$out" 2>/dev/null &
  pid=$!
  # The line appears when the program listens; a program that dies first ends the wait.
  until grep -q '^listening on ' "$out" || ! kill -0 "$pid" 2>/dev/null; do :; done
  port=$(sed -n '1s/.*://p' "$out")
  "$ask" "$port" "$pid" "$out" || { echo "$name: a wrong answer" >&2; kill "$pid"; exit 1; }
  kill -TERM "$pid" 2>/dev/null || true # one was ended by its check
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
# The whole answer to a request that is said byte for byte, but for its CRs.
say() { # port, request, which must ask for the end of the connection
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf "$2" >&3
  tr -d '\r' <&3
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

ask_upload() {
  local once again
  once=$(say "$1" 'PUT /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello')
  again=$(say "$1" 'PUT /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nthere')
  [[ $once == "HTTP/1.1 201 "* && $again == "HTTP/1.1 409 "* ]] && [ "$(cat "$folder/a.txt")" = hello ]
}
ask_range() {
  local answer
  answer=$(say "$1" 'GET /Cargo.toml HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=1-9\r\n\r\n')
  [[ $answer == "HTTP/1.1 206 "*"Content-Range: bytes 1-9/"* ]] &&
    [ "${answer: -9}" = "$(head -c 10 Cargo.toml | tail -c 9)" ]
}
ask_events() { # the second event, after one second
  local line=""
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n' >&3
  until [[ $line == "data: tick 43"* ]]; do read -r -t 20 line <&3 || return 1; done
  exec 3>&-
}
ask_form() {
  local part='--b\r\nContent-Disposition: form-data; name=' body bytes answer
  body="${part}name\r\n\r\nAnn\r\n${part}photo; filename=p.png\r\n\r\n12345\r\n--b--\r\n"
  bytes=$(printf -- "$body" | wc -c)
  answer=$(say "$1" "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: $bytes\r\n\r\n$body")
  [[ $answer == *'name: "Ann"'*'photo: the file "p.png", application/unknown, 5 bytes'* ]]
}
ask_rpc() {
  local calls='[{"jsonrpc":"2.0","method":"sum","params":[1,2,39],"id":1},{"jsonrpc":"2.0","method":"no","id":2}]' answer
  answer=$(say "$1" "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${#calls}\r\n\r\n$calls")
  [[ $answer == *'"result":42'*'"code":-32601'* ]]
}
ask_relay() { # a client that calls the length of its body hop-by-hop has a body all the same
  ask_plaintext "$1" &&
    [[ $(say "$1" 'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Length\r\nContent-Length: 3\r\n\r\nabc') == *$'\n\nabc' ]]
}
ask_through_a_proxy() { smoke reverse_proxy ask_relay --upstream 127.0.0.1 --upstream-port "$1"; }
ask_who() {
  local answer
  answer=$(say "$1" 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n')
  [[ $answer == *"203.0.113.9 asked for https://a/x by 127.0.0.1:"* ]]
}
ask_to_the_end() { # what is asked when the end has begun is answered, and so is what was asked before
  local before during
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /slow/3000 HTTP/1.1\r\nHost: a\r\n\r\n' >&3
  exec 4<&3
  during=$(request "$1" /slow/0) # by now the slow request has begun
  kill -TERM "$2"
  before=$(cat <&4)
  exec 3>&- 4>&-
  [ "$during" = done ] && [[ ${before,,} == *"connection: close"*done ]]
}
ask_operators() { # port, process, output: a line of another port says where the operators' is
  local admin=
  until [ -n "$admin" ] || ! kill -0 "$2" 2>/dev/null; do
    admin=$(sed -nE "/:$1\$/d; s/^listening on .*:([0-9]+)\$/\1/p" "$3" | head -n 1)
  done
  [ "$(request "$1" /story)" = "You requested /story" ] && [ "$(request "$admin" /readyz)" = ok ] &&
    request "$admin" /metrics | grep -q '^http_server_request_duration_seconds_count{.*="200".* 1'
}
ask_counts() {
  local answer
  answer=$(say "$1" 'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\na b\nc\n')
  [[ $answer == *$'\n2 3 6\n'* ]]
}
ask_https() { [ "$(curl -s --max-time 20 --cacert "$folder/ca.pem" "https://localhost:$1/story")" = "You requested /story" ]; }
ask_mtls() {
  local fingerprint
  fingerprint=$(openssl x509 -in "$folder/client.pem" -noout -fingerprint -sha256)
  ! curl -s --max-time 20 --cacert "$folder/ca.pem" "https://localhost:$1/" &&
    [ "$(curl -s --max-time 20 --cacert "$folder/ca.pem" --cert "$folder/client.pem" --key "$folder/client.key" "https://localhost:$1/")" = "You are ${fingerprint#*=}" ]
}

ask_websocket() { # the key and its answer are those of RFC 6455 §1.3; the frame is masked with zeros
  local line answer="" frame
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' >&3
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
smoke chat ask_chat

# pipe_filter has no port: what goes in comes out, and so does the status of a command.
[ "$(printf 'a\nb' | "$programs/pipe_filter" | cat)" = $'A\nB' ] || { echo "pipe_filter: a wrong answer" >&2; exit 1; }
status=0
answer=$("$programs/pipe_filter" sh -c 'echo told; exit 7') || status=$?
[ "$answer $status" = "TOLD 7" ] || { echo "pipe_filter: $answer, status $status" >&2; exit 1; }
echo "pipe_filter: ok"
smoke tungstenite_ws ask_websocket
smoke websocket_echo ask_websocket

smoke upload ask_upload --dir "$folder"
smoke download_range ask_range
smoke sse ask_events
smoke multipart_form ask_form
smoke json_rpc ask_rpc
smoke testbed ask_through_a_proxy
smoke behind_nginx ask_who
smoke graceful ask_to_the_end --lame-duck 1
smoke admin_metrics ask_operators --admin-port 0
smoke delegate ask_counts

# An authority, and what it issues: as examples/mtls.rs says.
new() { # NAME, FLAG …
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$folder/$1.key" -subj "/CN=$1" "${@:2}" 2>/dev/null
}
signed() { openssl x509 -req -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -copy_extensions copy 2>/dev/null; }
new ca -x509 >"$folder/ca.pem"
new server -addext subjectAltName=DNS:localhost | signed >"$folder/server.pem"
new client -addext subjectAltName=DNS:ann | signed >"$folder/client.pem"
smoke https ask_https --cert "$folder/server.pem" --key "$folder/server.key"
smoke mtls ask_mtls --cert "$folder/server.pem" --key "$folder/server.key" --client-ca "$folder/ca.pem"

# handover: each process answers with its number; the first ends by itself when it is replaced, and its successor on SIGTERM.
out=$(mktemp)
"$programs/handover" --port 0 >"$out" 2>/dev/null &
first=$!
until grep -q '^listening on ' "$out" || ! kill -0 "$first" 2>/dev/null; do :; done
port=$(sed -n '1s/.*://p' "$out")
[ "$(answering "$port")" = "$first" ] || { echo "handover: a wrong answer" >&2; exit 1; }
kill -HUP "$first"
status=0
wait "$first" || status=$?
next=$(answering "$port")
[ "$status" -eq 0 ] && [ "$next" != "$first" ] || { echo "handover: status $status, then $next for $first" >&2; exit 1; }
kill -TERM "$next"
while readlink "/proc/$next/exe" >/dev/null 2>&1; do :; done # not kill -0: who adopts it may not bury it
[ "$(grep -c '^listening on ' "$out")" -ge 2 ] || { echo "handover: the successor does not say where it listens" >&2; exit 1; }
rm -f "$out"
echo "handover: ok"
