#!/usr/bin/env bash
# The TLS examples as others see them, servers and client: openssl's s_client and s_server, curl, Python's ssl and smtplib.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
folder=$(mktemp -d)
trap 'stop_if_running; stop_peer; rm -rf "$folder"' EXIT
need openssl openssl
need curl curl
need python3 python3

certificate() { # NAME: into cert.pem and key.pem
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1" -addext basicConstraints=critical,CA:FALSE \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" 2> /dev/null
}
client() { # FLAG …: sends standard input, prints what comes back
  timeout 20 openssl s_client -connect "127.0.0.1:$PORT" -servername localhost -CAfile "$folder/cert.pem" \
    -verify_return_error -verify_hostname localhost -quiet -no_ign_eof "$@" 2> /dev/null
}
# Sends LINE and prints the first line back in which PATTERN is. Only then, or when there is no more to come, does the client's input end.
say_and_hear() { # LINE, PATTERN, FLAG …
  rm -f "$folder/heard"
  mkfifo "$folder/heard"
  client "${@:3}" < <(trap '' PIPE; echo "$1" 2> /dev/null; cat "$folder/heard") | { grep -m 1 "$2"; : > "$folder/heard"; }
}
say() { say_and_hear hello '' "$@"; }


# An authority, and what it issues.
authority() { # DIR: ca.pem and ca.key in it
  mkdir -p "$1"
  touch "$1/index"
  echo 1000 > "$1/serial"
  printf '%s\n' '[ca]' default_ca=this '[this]' "dir=$1" "new_certs_dir=$1" "database=$1/index" "serial=$1/serial" \
    "certificate=$1/ca.pem" "private_key=$1/ca.key" default_md=sha256 policy=any copy_extensions=copy unique_subject=no \
    '[any]' commonName=supplied > "$1/config"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=authority of $(basename "$1")" \
    -keyout "$1/ca.key" -out "$1/ca.pem" 2> /dev/null
}
issue() { # DIR, NAME, FILE, begin, end: FILE.pem and FILE.key in the directory
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -addext "subjectAltName=DNS:$2" \
    -keyout "$1/$3.key" -out "$1/request" 2> /dev/null
  openssl ca -batch -notext -config "$1/config" -startdate "$4" -enddate "$5" -in "$1/request" -out "$1/$3.pem" 2> /dev/null
}

# Somebody else's server, ready when a connection succeeds. Its output goes to $folder/peer.log.
PEER_PID=
stop_peer() {
  if [ -n "$PEER_PID" ]; then kill "$PEER_PID" 2> /dev/null || true; wait "$PEER_PID" 2> /dev/null || true; fi
  PEER_PID=
}
await_peer() { # port, command …
  "${@:2}" > "$folder/peer.log" 2>&1 < /dev/null &
  PEER_PID=$!
  until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do
    kill -0 "$PEER_PID" 2> /dev/null || fail "$2: $(cat "$folder/peer.log")"
    sleep 0.1
  done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Our client: asks for a page and prints what it is told; what it says of the connection or of its failure goes to $folder/said.
ours() { # port, FLAG …
  printf 'GET / HTTP/1.0\r\n\r\n' |
    timeout 30 "$TARGET/release/examples/tls_client" --connect "127.0.0.1:$1" --name localhost "${@:2}" 2> "$folder/said"
}
# refused WHY, port, FLAG …: our client ends with an error that says so.
refused() {
  if ours "${@:2}" > /dev/null; then fail "our client took it: $1"; fi
  expect "our client refuses: $1" "$1" "$(grep -o "$1" "$folder/said" || cat "$folder/said")"
}

cargo build --quiet --release -p examples --features tls --example tls_echo --example tls_client --example smtp_starttls \
  --example https
certificate localhost
start tls_echo --cert "$folder/cert.pem" --key "$folder/key.pem"
expect "s_client, TLS 1.3" hello "$(say -tls1_3)"
expect "s_client, TLS 1.2" hello "$(say -tls1_2)"
expect "s_client, ALPN" "ALPN protocol: echo" "$(openssl s_client -connect "127.0.0.1:$PORT" -alpn h2,echo < /dev/null 2> /dev/null | grep ALPN)"
expect "TLS 1.1 is refused" "" "$(say -tls1_1 -cipher DEFAULT@SECLEVEL=0)"
expect "curl: plaintext to the TLS port" 52 "$(curl -s -m 20 "http://127.0.0.1:$PORT/" > /dev/null; echo $?)"

PORT=$PORT CERT=$folder/cert.pem timeout 60 python3 - << 'PYTHON'
import hashlib, os, socket, ssl, threading

context = ssl.create_default_context(cafile=os.environ["CERT"])
address = ("127.0.0.1", int(os.environ["PORT"]))
with context.wrap_socket(socket.create_connection(address), server_hostname="localhost") as tls:
    data = b"".join(os.urandom(3000).hex().encode() + b"\n" for _ in range(1000))
    threading.Thread(target=tls.sendall, args=(data,)).start()
    back = b""
    while len(back) < len(data):
        back += tls.recv(65536)
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
    tls.unwrap().close()  # sends close_notify and waits for the server's: an error if there is none
print("ok: Python: 6 MB echoed, and a clean end both ways")
try:
    context.wrap_socket(socket.create_connection(address), server_hostname="elsewhere.test")
    raise SystemExit("another name was taken")
except ssl.SSLCertVerificationError:
    print("ok: Python: another name is refused")
PYTHON

before=$(openssl x509 -in "$folder/cert.pem" -noout -fingerprint)
shown() { openssl s_client -connect "127.0.0.1:$PORT" < /dev/null 2> /dev/null | openssl x509 -noout -fingerprint; }
expect "the certificate shown" "$before" "$(shown)"
certificate localhost
kill -HUP "$SERVER_PID"
after=$(openssl x509 -in "$folder/cert.pem" -noout -fingerprint)
for _ in $(seq 300); do [ "$(shown)" = "$after" ] && break; sleep 0.1; done
expect "the renewed certificate shown" "$after" "$(shown)"
stop

start smtp_starttls --cert "$folder/cert.pem" --key "$folder/key.pem"
PORT=$PORT CERT=$folder/cert.pem timeout 60 python3 - << 'PYTHON'
import os, smtplib, socket, ssl

address = ("localhost", int(os.environ["PORT"]))
mail = "Subject: hello\r\n\r\n" + "a line\r\n" * 10000
with smtplib.SMTP(*address, timeout=20) as smtp:
    smtp.starttls(context=ssl.create_default_context(cafile=os.environ["CERT"]))
    smtp.sendmail("me@localhost", ["you@localhost"], mail)
print("ok: smtplib: mail behind STARTTLS")
raw = socket.create_connection(address, timeout=20)
raw.recv(100)
raw.sendall(b"STARTTLS\r\nRCPT TO:<injected>\r\n")
answers = b""
while piece := raw.recv(100):
    answers += piece
assert b"250" not in answers, answers
print("ok: what is injected behind STARTTLS is never answered")
PYTHON
expect "s_client -starttls smtp" "250 SIZE 10485760" \
  "$(say_and_hear $'EHLO me\r' '^250 SIZE' -starttls smtp | tr -d '\r')"
stop

# Bad handshakes and port scans: nothing is left open, and the log is not filled.
began=$SECONDS
start tls_echo --cert "$folder/cert.pem" --key "$folder/key.pem"
say > /dev/null # what is made once and for all
descriptors() { find "/proc/$SERVER_PID/fd" -mindepth 1 2> /dev/null | wc -l; }
before=$(descriptors)
PORT=$PORT timeout 60 python3 - << 'PYTHON'
import os, socket, ssl, struct

address = ("127.0.0.1", int(os.environ["PORT"]))
hello = bytes.fromhex("16030100050100000100")
for number in range(300):
    scan = socket.create_connection(address)
    match number % 6:
        case 0: pass                                                                # looks, and goes
        case 1: scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
        case 2: scan.sendall(b"GET / HTTP/1.0\r\n\r\n")                             # speaks something else
        case 3: scan.sendall(hello[:3])                                             # begins, and goes
        case 4: scan.sendall(hello * 3)                                             # speaks nonsense
        case 5:                                                                     # trusts nobody
            try:
                ssl.create_default_context().wrap_socket(scan, server_hostname="localhost")
            except ssl.SSLError:
                pass
    if number % 6 in (2, 4):
        scan.settimeout(20)
        try:
            while scan.recv(1000): pass
        except ConnectionResetError:
            pass
    scan.close()
PYTHON
expect "the server serves on" hello "$(say)"
if [ -d "/proc/$SERVER_PID/fd" ]; then
  for _ in $(seq 300); do [ "$(descriptors)" -le "$before" ] && break; sleep 0.1; done
  expect "descriptors after 300 bad handshakes" "$before" "$(descriptors)"
fi
lines=$(wc -l < "$TARGET/server.log") most=$(((SECONDS - began) / 10 + 1))
expect "lines logged: one, and one more for each ten seconds that have gone by" yes \
  "$([ "$lines" -ge 1 ] && [ "$lines" -le "$most" ] && echo yes || echo "$lines")"
stop

# HTTP over TLS, and clients that have to show themselves.
soon=$(date -u -d '+30 days' +%y%m%d%H%M%SZ 2> /dev/null || date -u -v+30d +%y%m%d%H%M%SZ)
long_ago=200101000000Z
authority "$folder/ours"
authority "$folder/theirs"
for who in ours theirs; do issue "$folder/$who" localhost valid "$long_ago" "$soon"; done
issue "$folder/ours" localhost expired "$long_ago" 200201000000Z
issue "$folder/ours" elsewhere.test elsewhere "$long_ago" "$soon"
start https --cert "$folder/ours/valid.pem" --key "$folder/ours/valid.key"
page="https://localhost:$PORT/story"
fetch() { curl -s -m 20 --resolve "localhost:$PORT:127.0.0.1" "$@"; }
for version in 1.2 1.3; do
  expect "curl, TLS $version" "You requested /story" "$(fetch --cacert "$folder/ours/ca.pem" --tlsv$version --tls-max $version "$page")"
done
expect "curl: two requests, one connection" "1 0 " \
  "$(fetch --cacert "$folder/ours/ca.pem" -o /dev/null -o /dev/null -w '%{num_connects} ' "$page" "$page")"
expect "curl: HTTP/1.0, which asks for that by ALPN" "You requested /story" \
  "$(fetch --cacert "$folder/ours/ca.pem" --http1.0 "$page")"
# Python's ssl, whose socket is shut beneath it: a whole request is answered, and of a part we say that it was cut.
asks_and_is_cut() { # REQUEST: prints the status line
  timeout 20 python3 - "$PORT" "$folder/ours/ca.pem" "$1" << 'END'
import os, socket, ssl, sys
port, authority, request = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
peer = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
peer.sendall(request.encode())
socket.socket(fileno=os.dup(peer.fileno())).shutdown(socket.SHUT_WR)
print(peer.makefile().readline().strip())
END
}
expect "a request without a close_notify" "HTTP/1.1 200 OK" "$(asks_and_is_cut $'GET / HTTP/1.1\r\nHost: a\r\n\r\n')"
expect "a part of one" "HTTP/1.1 400 Bad Request" "$(asks_and_is_cut $'GET / HTTP/1.1\r\nHost')"
expect "curl: another authority is not trusted" 60 "$(fetch --cacert "$folder/theirs/ca.pem" "$page" > /dev/null; echo $?)"
stop
start https --cert "$folder/ours/valid.pem" --key "$folder/ours/valid.key" --client-ca "$folder/theirs/ca.pem"
page="https://localhost:$PORT/story"
shows() { echo --cert "$folder/$1/$2.pem" --key "$folder/$1/$2.key"; }
# shellcheck disable=SC2046
{
  for version in 1.2 1.3; do
    one=(--cacert "$folder/ours/ca.pem" --tlsv$version --tls-max $version)
    expect "TLS $version, a client with a certificate" "You requested /story" "$(fetch "${one[@]}" $(shows theirs valid) "$page")"
    expect "TLS $version, a client without" "" "$(fetch "${one[@]}" "$page" || true)"
    expect "TLS $version, a client with that of another authority" "" "$(fetch "${one[@]}" $(shows ours valid) "$page" || true)"
  done
  expect "s_client with a certificate" "You requested /s_client" \
    "$(printf 'GET /s_client HTTP/1.0\r\n\r\n' | timeout 20 openssl s_client -connect "127.0.0.1:$PORT" \
      -CAfile "$folder/ours/ca.pem" $(shows theirs valid | sed 's/--/-/g') -quiet -ign_eof 2> /dev/null | tail -n 1)"
  expect "our client with a certificate" "You requested /" \
    "$(ours "$PORT" --ca "$folder/ours/ca.pem" $(shows theirs valid) | tail -n 1)"
  refused AlertReceived "$PORT" --ca "$folder/ours/ca.pem"
}
stop

# Our client and openssl's server.
s_server() { # certificate in ours, FLAG …
  PORT=$(free_port)
  await_peer "$PORT" openssl s_server -accept "$PORT" -cert "$folder/ours/$1.pem" -key "$folder/ours/$1.key" -www "${@:2}"
}
for version in 1.2 1.3; do
  s_server valid "-tls${version/./_}" -alpn echo,www
  ours "$PORT" --ca "$folder/ours/ca.pem" --alpn www > "$folder/page"
  expect "s_server, TLS $version: the page" "HTTP/1.0 200 ok" "$(head -n 1 "$folder/page" | tr -d '\r')"
  expect "s_server, TLS $version: what was agreed on" "Tls${version/./}, ALPN Some(\"www\")" \
    "$(sed -E 's/, [A-Z0-9_]+,/,/' "$folder/said")"
  refused UnknownIssuer "$PORT" --ca "$folder/theirs/ca.pem"
  refused UnknownIssuer "$PORT" # the system's
  if [ "$version" = 1.2 ]; then refused AlertReceived "$PORT" --ca "$folder/ours/ca.pem" --tls 1.3; fi
  stop_peer
done
s_server elsewhere && refused WrongName "$PORT" --ca "$folder/ours/ca.pem"
stop_peer
s_server expired && refused CertificateExpired "$PORT" --ca "$folder/ours/ca.pem"
stop_peer
cp "$folder/cert.pem" "$folder/ours/self.pem"
cp "$folder/key.pem" "$folder/ours/self.key"
s_server self
refused UnknownIssuer "$PORT" --ca "$folder/ours/ca.pem"
expect "our client trusts a self-signed certificate that it was given" "HTTP/1.0 200 ok" \
  "$(ours "$PORT" --ca "$folder/cert.pem" | head -n 1 | tr -d '\r')"
stop_peer
s_server valid -Verify 1 -CAfile "$folder/theirs/ca.pem" -verify_return_error
# shellcheck disable=SC2046
expect "s_server takes our client's certificate" "HTTP/1.0 200 ok" \
  "$(ours "$PORT" --ca "$folder/ours/ca.pem" $(shows theirs valid) | head -n 1 | tr -d '\r')"
refused AlertReceived "$PORT" --ca "$folder/ours/ca.pem"
stop_peer

# A server that goes in the middle of its answer, and one that says that this was all.
cat > "$folder/ends.py" << 'PYTHON'
import socket, ssl, sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    try:
        tls = context.wrap_socket(listener.accept()[0], server_side=True)
        question = tls.recv(1000)
        tls.sendall(b"half an ans")
        if sys.argv[4] == "clean":
            tls.sendall(b"wer, and the other half")
            tls.unwrap()
        else:
            tls.shutdown(socket.SHUT_WR)
        tls.close()
    except OSError:
        pass
PYTHON
ending() {
  PORT=$(free_port)
  await_peer "$PORT" python3 "$folder/ends.py" "$PORT" "$folder/ours/valid.pem" "$folder/ours/valid.key" "$1"
}
ending clean
expect "Python: a whole answer" "half an answer, and the other half" "$(ours "$PORT" --ca "$folder/ours/ca.pem")"
stop_peer
ending cut
expect "Python: half an answer" "half an ans" "$(ours "$PORT" --ca "$folder/ours/ca.pem" || true)"
refused Truncated "$PORT" --ca "$folder/ours/ca.pem"
stop_peer
