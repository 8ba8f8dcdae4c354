"""Tornado without its web layer: httpserver (or, with --lines, tcpserver) alone, the layers that are compared."""

import argparse
import asyncio
import json
import ssl
import time

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine, format_timestamp
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

BODY = b"x" * (1 << 20)
CHUNK = 16 * 1024
OK = ResponseStartLine("HTTP/1.1", 200, "OK")
MISSING = ResponseStartLine("HTTP/1.1", 404, "Not Found")


def answer(request):
    path = request.path
    if path == "/plaintext":
        whole(request, "text/plain", b"Hello, World!")
    elif path == "/json":
        whole(request, "application/json", json.dumps({"message": "Hello, World!"}, separators=(",", ":")).encode())
    elif path == "/echo":
        whole(request, "application/octet-stream", request.body)
    elif path.startswith("/bytes/"):
        whole(request, "application/octet-stream", BODY[: int(path[7:])])
    elif path.startswith("/chunked/"):
        asyncio.ensure_future(chunked(request.connection, int(path[9:])))
    else:
        whole(request, "text/plain", b"", MISSING)


def fields(content_type):
    return HTTPHeaders({"Server": "Tornado", "Date": format_timestamp(time.time()), "Content-Type": content_type})


def whole(request, content_type, body, start_line=OK):
    headers = fields(content_type)
    headers["Content-Length"] = str(len(body))
    request.connection.write_headers(start_line, headers, body)
    request.connection.finish()


async def chunked(connection: HTTP1Connection, length):
    headers = fields("application/octet-stream")
    headers["Transfer-Encoding"] = "chunked"
    connection.write_headers(OK, headers)
    for start in range(0, length, CHUNK):
        await connection.write(BODY[start : min(start + CHUNK, length)])
    connection.finish()


class LineEcho(TCPServer):
    async def handle_stream(self, stream, address):
        stream.set_nodelay(True)
        try:
            while True:
                await stream.write(await stream.read_until(b"\n"))
        except StreamClosedError:
            pass


def tls(options):
    if options.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    return context


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    sockets = bind_sockets(options.port, "127.0.0.1", backlog=1024)
    server = LineEcho() if options.lines else HTTPServer(answer, ssl_options=tls(options))
    server.add_sockets(sockets)
    print("listening on 127.0.0.1:%d" % sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
