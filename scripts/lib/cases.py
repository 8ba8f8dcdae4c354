"""Reads the cases of httpserver/tests/conformance; the README there says how they are written."""

import pathlib
import re
from dataclasses import dataclass, field

FOLDER = pathlib.Path(__file__).parents[2] / "httpserver/tests/conformance"
SHORT = {
    "get": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: a\r\n",
    "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
}
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


@dataclass
class Case:
    name: str
    sent: bytes = b""
    answers: list = field(default_factory=list)
    end: str = "open"
    differs: dict = field(default_factory=dict)  # implementation: (what it does, the name of the sentence that decides)


def expand(text):
    """Bytes with escapes, short names and repetitions."""
    out, at = b"", 0
    while at < len(text):
        if text[at] == "\\":
            if text[at + 1] == "x":
                out, at = out + bytes([int(text[at + 2 : at + 4], 16)]), at + 4
            else:
                out, at = out + ESCAPES[text[at + 1]], at + 2
        elif text[at] == "{":
            end, depth = at + 1, 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            inner = text[at + 1 : end - 1]
            times, star, what = inner.partition("*")
            out += expand(what) * int(times) if star else SHORT[inner]
            at = end
        else:
            out, at = out + text[at].encode(), at + 1
    return out


def read(path):
    cases = []
    for line in path.read_text().splitlines():
        if line.startswith("  > "):
            cases[-1].sent += expand(line[4:])
        elif line.startswith("  < "):
            for word in expand(line[4:]).split(b", "):
                if word in (b"closes", b"waits"):
                    cases[-1].end = word.decode()
                else:
                    cases[-1].answers.append(word)
        elif line.startswith("  ~ "):
            names, what, why = re.fullmatch(r"  ~ ([a-z0-9, ]+): ([^;]+); ([a-z0-9_]+)", line).groups()
            for name in names.split(", "):
                cases[-1].differs[name] = (what, why)
        elif line and not line.startswith((" ", "#")):
            cases.append(Case(line))
    for case in cases:
        if case.answers and re.fullmatch(rb"[45]\d\d", case.answers[-1]):
            case.end = "closes"
    return cases


def read_all():
    return [case for path in sorted(FOLDER.glob("*.cases")) for case in read(path)]


def sentences():
    """The sentences that decide, by name."""
    lines = [line for line in (FOLDER / "sentences").read_text().splitlines() if line and not line.startswith("#")]
    return dict(re.fullmatch(r'([a-z0-9_]+): (RFC \d{4} §[\d.]+ ".+")', line).groups() for line in lines)
