#!/usr/bin/env bash
# The HTTP examples as others see them: curl, a raw socket, and Tornado's own client.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
trap stop_if_running EXIT
need curl curl

ask() { curl -sS --max-time 20 "$@"; }
status() { ask -o /dev/null -w '%{http_code}' "$@"; }
has_ipv6() { [ -e /proc/net/if_inet6 ] && grep -q '^0*1 ' /proc/net/if_inet6; }

build_examples

for example in hello classic; do
  start "$example"
  url=http://127.0.0.1:$PORT
  expect "$example over IPv4" "You requested /story" "$(ask "$url/story")"
  if has_ipv6; then
    expect "$example over IPv6" "You requested /story" "$(ask "http://[::1]:$PORT/story")"
  fi
  expect "$example: HEAD" 21 "$(ask -I "$url/story" | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: //p')"
  expect "$example: two requests, one connection" "1 0" \
    "$(ask -o /dev/null -o /dev/null -w '%{num_connects} ' "$url/a" "$url/b" | sed 's/ $//')"
  expect "$example: HTTP/1.0" "You requested /old" "$(ask --http1.0 "$url/old")"
  stop
  echo "ok: $example ends with status 0 on SIGTERM"
done

start testbed --max-body 1000000
url=http://127.0.0.1:$PORT
expect plaintext "Hello, World!" "$(ask "$url/plaintext")"
expect json '{"message":"Hello, World!"}' "$(ask "$url/json")"
expect "plaintext: HEAD" 200 "$(status -I "$url/plaintext")"
expect "not found" 404 "$(status "$url/nothing")"
expect "panic" 500 "$(status "$url/panic")"
expect "and on it goes" 200 "$(status "$url/plaintext")"
expect "bytes" 1234567 "$(ask "$url/bytes/1234567" | wc -c)"
expect "chunked" 1234567 "$(ask "$url/chunked/1234567" | wc -c)"
expect "sleep" slept "$(ask "$url/sleep/20")"
head -c 500000 /dev/urandom > "$TARGET/upload"
sum=$(sha256sum < "$TARGET/upload")
expect "upload" "$sum" "$(ask -H Expect: --data-binary "@$TARGET/upload" "$url/echo" | sha256sum)"
expect "chunked upload" "$sum" "$(ask -H Expect: -H 'Transfer-Encoding: chunked' -T "$TARGET/upload" -X POST "$url/echo" | sha256sum)"
expect "upload behind Expect" "$sum" "$(ask -H 'Expect: 100-continue' --data-binary "@$TARGET/upload" "$url/echo" | sha256sum)"
expect "100 Continue is sent" 1 "$(ask -v -H 'Expect: 100-continue' -d hello "$url/echo" 2>&1 | grep -c '^< HTTP/1.1 100 ')"
expect "another expectation" 417 "$(status -H 'Expect: a-miracle' -d hello "$url/echo")"
head -c 1000001 /dev/zero > "$TARGET/too-large"
expect "too large" 413 "$(status -H 'Expect: 100-continue' --data-binary "@$TARGET/too-large" "$url/echo")"
expect "too large, sent anyway" 413 "$(status -H Expect: --data-binary "@$TARGET/too-large" "$url/echo")"
expect "a head too large" 431 "$(status -H "X-Large: $(printf '%70000s' | tr ' ' x)" "$url/plaintext")"

exec 8<> "/dev/tcp/127.0.0.1/$PORT"
for _ in $(seq 20); do printf 'GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n'; done >&8
printf 'GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&8
expect "pipelined" 21 "$(timeout 20 cat <&8 | grep -c '^Hello, World!')"
exec 8<&-

venv=$TARGET/tornado-venv
if ! "$venv/bin/python" -c 'import tornado' 2> /dev/null; then
  python3 -m venv "$venv" 2> /dev/null || { install python3-venv; python3 -m venv "$venv"; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check tornado
fi
"$venv/bin/python" scripts/lib/tornado_client.py "$url"
stop
echo "ok: testbed ends with status 0 on SIGTERM"
