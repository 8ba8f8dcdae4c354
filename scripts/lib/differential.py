"""Puts the cases of httpserver/tests/conformance to several servers: python differential.py NAME=PORT …, of which `ours` is one.

Compared are what each took for a request (method and body), the class of a refusal, and whether the connection goes on. Where another
differs from us, the case must have a line that says so, with the sentence of the RFC that decides; where it does not, it must have none.
"""

import asyncio
import sys

import cases

PROBE = b"PROBE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
QUIET = 2  # seconds without a byte after which a server is taken to wait for more; met only by servers that do
AT_ONCE = 32


def answers(received):
    """What came back: `METHOD body` of a request that was accepted, the class of a refusal. Without the 100s, which are free to be sent."""
    found = []
    while (end := received.find(b"\r\n\r\n")) >= 0:
        head, received = received[:end].decode("latin-1"), received[end + 4 :]
        status = int(head.split(" ", 2)[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        if status < 200:
            continue
        asked = fields.get("x-request")
        method = asked.split(" ")[0] if asked else None
        size = 0 if method == "HEAD" else int(fields.get("content-length", len(received)))
        if len(received) < size:
            break
        body, received = received[:size], received[size:]
        found.append(f"{method} {body.decode('latin-1')}".strip() if asked else f"{status // 100}xx")
    return found


async def outcome(case, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received, is_closed = b"", False

    async def read_until(is_enough):
        """Whether there was enough; not, if nothing came for a while."""
        nonlocal received, is_closed
        while not is_enough() and not is_closed:
            try:
                piece = await asyncio.wait_for(reader.read(65536), QUIET)
            except asyncio.TimeoutError:
                return False
            except ConnectionError:
                piece = b""
            received, is_closed = received + piece, not piece
        return True

    try:
        writer.write(case.sent)
        await writer.drain()
        expected = len([word for word in case.answers if word != b"100"])
        is_done = await read_until(lambda: case.end == "open" and len(answers(received)) >= expected)
        if is_closed:
            return [*answers(received), "closes"]
        if case.end == "waits":
            return [*answers(received), "waits"]
        # Does the connection go on? Then what is asked now is answered.
        so_far = len(answers(received))
        writer.write(PROBE)
        await writer.drain()
        await read_until(lambda: False)
        if answers(received)[so_far:] == ["PROBE"]:
            return answers(received)[:so_far]
        return [*answers(received)[:so_far], "closes" if is_done and is_closed else "waits"]
    except ConnectionError:
        return [*answers(received), "closes"]
    finally:
        writer.close()


def short(what):
    """For a line of a case: bodies that are long or odd are of no use there."""
    words = [word if len(word) < 40 and word.isprintable() and ";" not in word else word.split(" ")[0] + " …" for word in what]
    return ", ".join(words) if len(words) < 6 else f"{len(words)} answers"


async def main(servers):
    gate = asyncio.Semaphore(AT_ONCE)
    everything = cases.read_all()

    async def ask(case, name):
        async with gate:
            return await outcome(case, servers[name])

    asked = [(case, name) for case in everything for name in servers]
    got = await asyncio.gather(*(ask(*each) for each in asked))
    outcomes = {(case.name, name): what for (case, name), what in zip(asked, got)}
    sentences, faults, differences = cases.sentences(), [], 0
    used = {why for case in everything for _, why in case.differs.values()}
    faults += [f"the sentence {name} decides nothing" for name in sentences if name not in used]
    for case in everything:
        ours = outcomes[case.name, "ours"]
        for name in servers:
            theirs, said = outcomes[case.name, name], case.differs.get(name)
            differences += theirs != ours
            if theirs != ours and not said:
                faults.append(f"{case.name}\n  ~ {name}: {short(theirs)}; (we: {short(ours)})")
            elif theirs != ours and said[0] != short(theirs):
                faults.append(f"{case.name}: {name} is said to give <{said[0]}> and gives <{short(theirs)}>")
            elif theirs == ours and said:
                faults.append(f"{case.name}: {name} is said to differ, and does not")
            elif said and said[1] not in sentences:
                faults.append(f"{case.name}: there is no sentence named {said[1]}")
    print("\n".join(faults), file=sys.stderr)
    print(f"{len(everything)} cases, {', '.join(servers)}: {differences} differences, {len(faults)} of them unexplained")
    return 1 if faults else 0


sys.exit(asyncio.run(main({name: int(port) for name, port in (each.split("=") for each in sys.argv[1:])})))
