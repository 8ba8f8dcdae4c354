"""examples/mirror.rs on Tornado's HTTPServer: answers each request with what Tornado took it to be. Bodies may have 1,000 bytes.

Says on its first line where it listens.
"""

import asyncio
import logging

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.netutil import bind_sockets


def mirror(request):
    body = b"" if request.method == "HEAD" else request.body
    fields = {"Content-Length": str(len(body)), "X-Request": f"{request.method} {request.uri}"}
    request.connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders(fields), body or None)
    request.connection.finish()


async def main():
    logging.disable()
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(mirror, max_body_size=1000).add_sockets(sockets)
    print(f"listening on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
