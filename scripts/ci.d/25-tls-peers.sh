#!/usr/bin/env bash
# The TLS examples as others see them: openssl, curl, Python's ssl and smtplib.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
folder=$(mktemp -d)
trap 'stop_if_running; rm -rf "$folder"' EXIT
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
# The peer has gone when the line is back, so that nothing hangs on who ends first.
say() { client "$@" < <(echo hello; sleep 1) | head -n 1; }

cargo build --quiet --release -p examples --features tls --example tls_echo --example smtp_starttls
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
for _ in $(seq 50); do [ "$(shown)" = "$after" ] && break; sleep 0.1; done
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
  "$(client -starttls smtp < <(printf 'EHLO me\r\n'; sleep 1) | tr -d '\r' | grep -m 1 '^250 SIZE')"
stop
