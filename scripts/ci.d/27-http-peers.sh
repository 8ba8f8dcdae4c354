#!/usr/bin/env bash
# The HTTP examples under other people's clients and behind nginx: curl, h2load, wrk, ab, requests, aiohttp, Tornado's, Chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
folder=$(mktemp -d)
NGINX_PID=
trap 'stop_if_running; if [ -n "$NGINX_PID" ]; then kill "$NGINX_PID" 2> /dev/null || true; fi; rm -rf "$folder"' EXIT

# wanted COMMAND PACKAGE: whether the command is there, if need be from the package. What cannot be had is skipped, loudly.
wanted() {
  command -v "$1" > /dev/null || (install "$2") || { echo "SKIPPED: $1 cannot be installed ($2)" >&2; return 1; }
}
ask() { curl -sS --no-progress-meter --max-time 60 "$@"; }
status() { ask -o /dev/null -w '%{http_code}' "$@"; }
sum() { sha256sum | cut -d ' ' -f 1; }

wanted curl curl
cargo build --quiet --release -p examples --example hello --example testbed
start testbed --max-body 1000000
url=http://127.0.0.1:$PORT
head -c 1000000 /dev/urandom > "$folder/upload"
truncate -s 100M "$folder/enormous"
uploaded=$(sum < "$folder/upload")

# curl
expect "curl: 50 requests at once, of 100 to 149 bytes" 6225 "$(ask -Z --parallel-max 50 "$url/bytes/[100-149]" | wc -c)"
expect "curl: an upload at a slow rate" "$uploaded" "$(ask --limit-rate 500K --data-binary "@$folder/upload" "$url/echo" | sum)"
expect "curl: a post, then a get, on one connection" "1 0 " \
  "$(ask -o /dev/null -w '%{num_connects} ' -d hello "$url/echo" --next -sS -o /dev/null -w '%{num_connects} ' "$url/plaintext")"
for expectation in 'Expect:' 'Expect: 100-continue'; do
  expect "curl: 100 MiB where 1 MB may be ($expectation)" 413 "$(status -H "$expectation" -X POST -T "$folder/enormous" "$url/echo")"
done

# Load
if wanted h2load nghttp2-client; then
  report=$(h2load --h1 -n 20000 -c 16 "$url/plaintext")
  expect "h2load --h1: 20,000 requests" "20000 succeeded, 0 failed, 0 errored" \
    "$(grep -oE '20000 succeeded, 0 failed, 0 errored' <<< "$report" || echo "$report")"
fi
if wanted wrk wrk; then
  report=$(wrk -t1 -c16 -d2s "$url/chunked/100000")
  expect "wrk: chunked answers, no error" "" "$(grep -E 'Socket errors|Non-2xx' <<< "$report" || true)"
fi
if wanted ab apache2-utils; then
  answered() { sed -nE "s/^($1): +([0-9]+).*/\2/p" <<< "$report"; }
  report=$(ab -q -k -n 5000 -c 16 "$url/plaintext")
  expect "ab -k: HTTP/1.0 kept alive" "5000 0 5000" \
    "$(answered 'Complete requests') $(answered 'Failed requests') $(answered 'Keep-Alive requests')"
  report=$(ab -q -n 2000 -c 16 "$url/plaintext")
  expect "ab: HTTP/1.0, a connection each" "2000 0" "$(answered 'Complete requests') $(answered 'Failed requests')"
  report=$(ab -q -k -n 500 -c 4 -T application/octet-stream -p "$folder/upload" "$url/echo")
  expect "ab: uploads" "500 0" "$(answered 'Complete requests') $(answered 'Failed requests')"
fi

# Python
venv=$TARGET/http-peers-venv
if ! "$venv/bin/python" -c 'import requests, aiohttp, tornado' 2> /dev/null; then
  python3 -m venv "$venv" 2> /dev/null || { install python3-venv; python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check requests aiohttp tornado
fi
timeout 120 "$venv/bin/python" scripts/lib/http_clients.py "$url"
timeout 120 "$venv/bin/python" scripts/lib/tornado_client.py "$url"

# nginx in front, with connections to us that it keeps alive: counted on a port that nobody has used before
stop
start testbed --max-body 1000000
connections() { awk -v port="$(printf ':%04X' "$PORT")" '$3 ~ port "$" || $2 ~ port "$" { n += $4 != "0A" } END { print n + 0 }' /proc/net/tcp; }
if wanted nginx nginx-light; then
  front=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  sed "s#FOLDER#$folder#; s#UPSTREAM#$PORT#; s#:PORT#:$front#" scripts/lib/nginx.conf > "$folder/nginx.conf"
  chmod 755 "$folder"
  nginx -c "$folder/nginx.conf" -e "$folder/error.log" &
  NGINX_PID=$!
  until (exec 3<> "/dev/tcp/127.0.0.1/$front") 2> /dev/null; do
    kill -0 "$NGINX_PID" 2> /dev/null || fail "nginx: $(cat "$folder/error.log")"
    sleep 0.1
  done
  for manner in buffered unbuffered; do
    through=http://127.0.0.1:$front/$manner
    before=$([ ! -r /proc/net/tcp ] || connections)
    expect "nginx, $manner: 200 requests" 200 "$(ask "$through/bytes/1?[1-200]" | wc -c)"
    if [ -r /proc/net/tcp ]; then
      [ $(($(connections) - before)) -le 4 ] || fail "nginx, $manner: $before connections became $(connections): they are not kept alive"
      echo "ok: nginx, $manner: for which it kept its connection to us"
    fi
    expect "nginx, $manner: HEAD" 200 "$(status -I "$through/plaintext")"
    expect "nginx, $manner: a large answer" 5000000 "$(ask "$through/bytes/5000000" | wc -c)"
    expect "nginx, $manner: a large answer in chunks" 5000000 "$(ask "$through/chunked/5000000" | wc -c)"
    expect "nginx, $manner: an upload" "$uploaded" "$(ask -H Expect: --data-binary "@$folder/upload" "$through/echo" | sum)"
    expect "nginx, $manner: an upload in chunks" "$uploaded" \
      "$(ask -H Expect: -H 'Transfer-Encoding: chunked' -X POST -T "$folder/upload" "$through/echo" | sum)"
    expect "nginx, $manner: a handler that fails" 500 "$(status "$through/panic")"
    for attempt in 1 2 3; do
      expect "nginx, $manner: the client of 100 MiB sees our 413, time $attempt" 413 \
        "$(status -H Expect: -X POST -T "$folder/enormous" "$through/echo")"
    done
    expect "nginx, $manner: and on it goes" "Hello, World!" "$(ask "$through/plaintext")"
  done
  timeout 120 "$venv/bin/python" scripts/lib/tornado_client.py "http://127.0.0.1:$front/unbuffered"
  expect "nginx has no complaint but of the uploads that were refused" "" "$(grep -v 'POST /[a-z]*buffered/echo' "$folder/error.log" || true)"
  kill "$NGINX_PID"
  wait "$NGINX_PID" || true
  NGINX_PID=

  # The configuration that examples/behind_nginx.rs comes with
  stop
  start behind_nginx
  sed "s#/tmp/behind_nginx#$folder/behind_nginx#; s#:8888#:$PORT#; s#:8080#:$front#" examples/behind_nginx.conf > "$folder/behind_nginx.conf"
  nginx -p "$folder" -c "$folder/behind_nginx.conf" -e "$folder/behind_nginx.log" 2> "$folder/behind_nginx.log" &
  NGINX_PID=$!
  until (exec 3<> "/dev/tcp/127.0.0.1/$front") 2> /dev/null; do
    kill -0 "$NGINX_PID" 2> /dev/null || fail "nginx: $(cat "$folder/behind_nginx.log")"
    sleep 0.1
  done
  expect "behind nginx: the client, not what it says of itself" "127.0.0.2 asked for http://127.0.0.1:$front/story by 127.0.0.1" \
    "$(ask --interface 127.0.0.2 -H 'X-Forwarded-For: 192.0.2.1' -H 'Forwarded: for=192.0.2.2' "http://127.0.0.1:$front/story" | sed 's/:[0-9]*$//')"
  kill "$NGINX_PID"
  wait "$NGINX_PID" || true
  NGINX_PID=
fi
stop

# A browser
if wanted chromium chromium; then
  start hello
  page=$(timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server \
    --user-data-dir="$folder/chromium" --dump-dom "http://127.0.0.1:$PORT/story" 2> "$folder/chromium.log" || true)
  expect "Chromium shows the page" "You requested /story" "$(grep -o 'You requested /story' <<< "$page" || tail -n 5 "$folder/chromium.log")"
  stop
fi
