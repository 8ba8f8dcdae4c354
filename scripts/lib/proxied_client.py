"""A client of proxy_echo behind a proxy: proxied_client.py PORT [--tls NAME] [--host ADDRESS] [--times N].

Connects N times at once, says a line each and hears a greeting and the line; prints the last greeting with this end's own address, which
the greeting should name, replaced by CLIENT, and fails if any greeting names somebody else.
"""

import argparse
import socket
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--tls")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--times", type=int, default=1)
arguments = parser.parse_args()


def connect():
    client = socket.create_connection((arguments.host, arguments.port), timeout=60)
    if arguments.tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname=arguments.tls)
    return client


clients = [connect() for _ in range(arguments.times)]
for client in clients:
    client.sendall(b"hello\n")
for client in clients:
    host, port = client.getsockname()[:2]
    own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = client.makefile()
    greeting, line = lines.readline().strip(), lines.readline().strip()
    if line != "hello" or not greeting.startswith(f"client {own} by "):
        raise SystemExit(f"{own} hears {greeting!r}, {line!r}")
print(greeting.replace(own, "CLIENT"))
