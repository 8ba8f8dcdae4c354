"""Drives the testbed with Tornado's own client: python tornado_client.py URL."""

import asyncio
import json
import os
import sys

from tornado.httpclient import AsyncHTTPClient, HTTPRequest


async def main(url):
    client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 20})

    async def fetch(path, **arguments):
        return await client.fetch(HTTPRequest(url + path, **arguments), raise_error=False)

    got = await fetch("/plaintext")
    assert (got.code, got.body) == (200, b"Hello, World!"), got
    assert got.headers["Server"] and got.headers["Date"], got.headers

    got = await fetch("/json")
    assert json.loads(got.body) == {"message": "Hello, World!"}, got.body

    got = await fetch("/plaintext", method="HEAD")
    assert (got.code, got.headers["Content-Length"], got.body) == (200, "13", b""), got

    noise = os.urandom(500_000)
    got = await fetch("/echo", method="POST", body=noise)
    assert got.body == noise

    got = await fetch("/echo", method="POST", body=noise, expect_100_continue=True)
    assert got.body == noise

    async def pieces(write):
        for start in range(0, len(noise), 10_000):
            await write(noise[start:start + 10_000])

    got = await fetch("/echo", method="POST", body_producer=pieces)
    assert got.body == noise

    received = []
    got = await fetch("/chunked/1000000", streaming_callback=received.append)
    assert sum(map(len, received)) == 1_000_000

    for path, code in [("/nothing", 404), ("/panic", 500), ("/bytes/10", 200)]:
        got = await fetch(path)
        assert got.code == code, (path, got)

    many = await asyncio.gather(*(fetch(f"/bytes/{n}") for n in range(200)))
    assert [len(got.body) for got in many] == list(range(200))
    print("ok: Tornado's client")


asyncio.run(main(sys.argv[1]))
