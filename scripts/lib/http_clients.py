"""Drives the testbed with requests and with aiohttp: python http_clients.py URL."""

import asyncio
import os
import sys

import aiohttp
import requests

NOISE = os.urandom(500_000)


def pieces():
    for start in range(0, len(NOISE), 10_000):
        yield NOISE[start : start + 10_000]


def with_requests(url):
    session = requests.Session()
    session.trust_env = False  # no proxy of the environment

    def ask(method, path, **arguments):
        return session.request(method, url + path, timeout=20, **arguments)

    got = ask("GET", "/plaintext")
    assert (got.status_code, got.text) == (200, "Hello, World!"), got
    assert got.headers["Server"] and got.headers["Date"], got.headers
    assert ask("GET", "/json").json() == {"message": "Hello, World!"}
    got = ask("HEAD", "/plaintext")
    assert (got.headers["Content-Length"], got.content) == ("13", b""), got.headers
    assert ask("POST", "/echo", data=NOISE).content == NOISE
    assert ask("POST", "/echo", data=pieces()).content == NOISE, "in chunks"
    assert ask("GET", "/chunked/1000000").content == b"0" * 1_000_000
    with ask("GET", "/bytes/1000000", stream=True) as got:
        assert sum(map(len, got.iter_content(1000))) == 1_000_000
    assert [ask("GET", path).status_code for path in ("/nothing", "/panic", "/plaintext")] == [404, 500, 200]
    assert ask("POST", "/echo", data=b"x" * 1_000_001).status_code == 413
    print("ok: requests")


async def with_aiohttp(url):
    async def slowly():
        for piece in pieces():
            await asyncio.sleep(0)
            yield piece

    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with session.get("/plaintext") as got:
            assert (got.status, await got.text()) == (200, "Hello, World!"), got
        async with session.head("/plaintext") as got:
            assert (got.headers["Content-Length"], await got.read()) == ("13", b""), got
        async with session.post("/echo", data=NOISE) as got:
            assert await got.read() == NOISE
        async with session.post("/echo", data=NOISE, expect100=True) as got:
            assert await got.read() == NOISE, "behind Expect"
        async with session.post("/echo", data=slowly()) as got:
            assert await got.read() == NOISE, "in chunks"
        async with session.get("/chunked/1000000") as got:
            assert sum([len(piece) async for piece in got.content.iter_any()]) == 1_000_000

        async def size(number):
            async with session.get(f"/bytes/{number}") as got:
                return len(await got.read())

        assert await asyncio.gather(*map(size, range(300))) == list(range(300))
        for path, status in [("/nothing", 404), ("/panic", 500), ("/plaintext", 200)]:
            async with session.get(path) as got:
                assert got.status == status, (path, got)
    print("ok: aiohttp")


with_requests(sys.argv[1])
asyncio.run(with_aiohttp(sys.argv[1]))
