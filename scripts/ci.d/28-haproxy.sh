#!/usr/bin/env bash
# HAProxy in front of proxy_echo, by the PROXY protocol in both versions, with all that version 2 can say, and its health checks.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
folder=$(mktemp -d)
HAPROXY_PID=
trap 'stop_if_running; if [ -n "$HAPROXY_PID" ]; then kill "$HAPROXY_PID" 2> /dev/null || true; fi; rm -rf "$folder"' EXIT
need haproxy haproxy
need openssl openssl
need python3 python3

free_ports() {
  python3 -c '
import socket
sockets = [socket.socket() for _ in range(5)]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))'
}
through() { # port, flags of the client: what the server says whom the proxy has named
  timeout 60 python3 scripts/lib/proxied_client.py "$@" | sed -E 's/ by 127\.0\.0\.1:[0-9]+/ by HAPROXY/'
}

cargo build --quiet -p examples --example proxy_echo
run "$TARGET/debug/examples/proxy_echo" --port 0
SERVER_PID=$!
read_port
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout "$folder/key" -out "$folder/cert" 2> /dev/null
cat "$folder/cert" "$folder/key" > "$folder/both.pem"
read -r text binary six tls checked < <(free_ports)

cat > "$folder/haproxy.cfg" << CONFIGURATION
global
  stats socket $folder/admin.sock
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen text
  bind 127.0.0.1:$text
  server echo 127.0.0.1:$PORT send-proxy
listen binary
  bind 127.0.0.1:$binary
  server echo 127.0.0.1:$PORT send-proxy-v2
listen six
  bind [::1]:$six
  server text 127.0.0.1:$PORT send-proxy
  server binary 127.0.0.1:$PORT send-proxy-v2 proxy-v2-options crc32c
listen tls
  bind 127.0.0.1:$tls ssl crt $folder/both.pem
  unique-id-format id-%[src_port]
  server echo 127.0.0.1:$PORT send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id
listen checked
  bind 127.0.0.1:$checked
  option tcp-check
  tcp-check expect string client
  default-server check check-send-proxy inter 50ms
  server text 127.0.0.1:$PORT send-proxy
  server binary 127.0.0.1:$PORT send-proxy-v2
CONFIGURATION
haproxy -db -q -f "$folder/haproxy.cfg" 2> "$folder/log" &
HAPROXY_PID=$!
until (exec 3<> "/dev/tcp/127.0.0.1/$checked") 2> /dev/null; do
  kill -0 "$HAPROXY_PID" 2> /dev/null || fail "haproxy: $(cat "$folder/log")"
done

expect "send-proxy" "client CLIENT by HAPROXY, who connected to 127.0.0.1:$text" "$(through "$text")"
expect "send-proxy-v2" "client CLIENT by HAPROXY, who connected to 127.0.0.1:$binary" "$(through "$binary")"
for version in text binary; do # in turn
  expect "IPv6 ($version)" "client CLIENT by HAPROXY, who connected to [::1]:$six" "$(through "$six" --host ::1)"
done
told=$(through "$tls" --tls story.example)
expect "TLS, name, id and checksum" "client CLIENT by HAPROXY, who connected to 127.0.0.1:$tls and asked for story.example with TLSv1.3" \
  "${told%, id *}"
[[ $told =~ ,\ id\ id-[0-9]+$ ]] || fail "the id is missing: $told"
for port in "$text" "$binary"; do
  through "$port" --times 300 > /dev/null || fail "300 clients at once"
done
echo "ok: 300 clients at once, each is named"

# Health checks, by which the proxy speaks for itself: UNKNOWN in version 1, LOCAL in version 2. They pass if the greeting comes.
checks() {
  python3 -c '
import csv, socket, sys
admin = socket.socket(socket.AF_UNIX)
admin.connect(sys.argv[1])
admin.sendall(b"show stat\n")
rows = csv.DictReader(admin.makefile())
print(*(row["svname"] + " " + row["check_status"] for row in rows if row["# pxname"] == "checked" and row["check_status"]), sep=", ")' \
    "$folder/admin.sock"
}
while [[ $(checks) =~ INI|\* ]]; do :; done # none yet, or one under way
expect "health checks" "text L7OK, binary L7OK" "$(checks | tr -d '*' | sed 's/  */ /g')"

# Who comes without a proxy is shown the door, and nothing else.
exec 4<> "/dev/tcp/127.0.0.1/$PORT"
printf 'hello there, whoever you are\n' >&4
expect "who comes without a header" "" "$(cat <&4 2> /dev/null || true)"
exec 4>&-

kill "$HAPROXY_PID"
wait "$HAPROXY_PID" || true
HAPROXY_PID=
stop
lines=$(grep -c 'PROXY protocol header' "$TARGET/server.log" || true)
expect "one line in the log for it" 1 "$lines"
