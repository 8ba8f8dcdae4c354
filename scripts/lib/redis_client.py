"""Python's Redis client against the small Redis, then the same bytes to it and to the real one, then its end."""

import os
import signal
import socket
import threading
import time

import redis

PORT = int(os.environ["PORT"])


def through_the_client():
    # Protocol 2: the small Redis knows no HELLO, which Redis before 6 did not either.
    client = redis.Redis(port=PORT, protocol=2)
    assert client.ping() and client.echo("hi") == b"hi"
    blob = os.urandom(500_000) + b"\r\n$3\r\n"
    assert client.set("blob", blob) and client.get("blob") == blob
    assert client.set("once", 1, nx=True) and client.set("once", 2, nx=True) is None
    assert client.set("short", 1, px=50) and client.set("long", 1, ex=100) and 99 <= client.ttl("long") <= 100
    assert client.expire("once", 1000) and client.ttl("once") == 1000 and client.ttl("nothing") == -2
    assert client.incr("n") == 1 and client.exists("n", "n", "nothing") == 2 and client.delete("n", "nothing") == 1
    deadline = time.monotonic() + 20
    while client.exists("short"):
        assert time.monotonic() < deadline, "a key outlives its time"
    with client.pipeline(transaction=False) as pipeline:
        for number in range(10_000):
            pipeline.set(f"key-{number % 100}", number)
            pipeline.get(f"key-{number % 100}")
        answers = pipeline.execute()
    assert answers == [answer for number in range(10_000) for answer in (True, str(number).encode())]
    try:
        client.incr("blob")
        raise SystemExit("a blob was incremented")
    except redis.ResponseError as error:
        assert str(error) == "value is not an integer or out of range", error
    print("ok: Python: strings, expiry, a pipeline of 20,000")

    with client.pubsub() as pubsub:
        pubsub.subscribe("news", "other")
        assert [pubsub.get_message(timeout=20)["data"] for _ in range(2)] == [1, 2]
        threading.Thread(target=lambda: [client.publish("news", number) for number in range(1000)]).start()
        heard = [pubsub.get_message(timeout=20)["data"] for _ in range(1000)]
        assert heard == [str(number).encode() for number in range(1000)]
        pubsub.ping("there?")
        assert pubsub.get_message(timeout=20)["data"] == b"there?"
        pubsub.unsubscribe()
        assert [pubsub.get_message(timeout=20)["type"] for _ in range(2)] == ["unsubscribe"] * 2
    print("ok: Python: a thousand messages to a subscriber")


# What both must answer alike, each on a connection of its own, up to the end of it.
CONVERSATIONS = [
    b"PING\r\nping\r\nPiNg hi\r\n\r\n  echo   hi  \r\nQUIT\r\n",
    b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\n",
    b"GET\r\nGET a b\r\nSET a\r\nDEL\r\nEXISTS\r\nTTL\r\nINCR\r\nEXPIRE a\r\nPUBLISH a\r\nSUBSCRIBE\r\nECHO\r\nPING a b\r\nQUIT\r\n",
    b"nosuch\r\nNoSuch one two\r\nQUIT\r\n",
    b"DEL x y\r\nGET x\r\nSET x 1\r\nGET x\r\nINCR x\r\nSET x one\r\nINCR x\r\nSET x 9223372036854775807\r\nINCR x\r\nTTL x\r\nQUIT\r\n",
    b"SET x 1 NX\r\nDEL x\r\nSET x 1 nx\r\nSET x 2 EX 100\r\nTTL x\r\nSET x 3\r\nTTL x\r\nSET x 1 NX PX 1\r\nQUIT\r\n",
    b"SET x 1 EX\r\nSET x 1 EX 0\r\nSET x 1 PX -1\r\nSET x 1 EX ten\r\nSET x 1 WHAT\r\nSET x 1 EX 1 PX 1\r\nQUIT\r\n",
    b"SET x 1\r\nEXPIRE x 100\r\nTTL x\r\nEXPIRE x ten\r\nEXPIRE x 0\r\nEXISTS x\r\nEXPIRE x 100\r\nTTL x\r\nQUIT\r\n",
    b"SET x 1 EX 100\r\nINCR x\r\nTTL x\r\nDEL x\r\nEXISTS x x\r\nQUIT\r\n",
    b"SUBSCRIBE a b\r\nPING\r\nPING hi\r\nGET x\r\nSUBSCRIBE a\r\nUNSUBSCRIBE c\r\nUNSUBSCRIBE b a\r\nPING\r\nUNSUBSCRIBE\r\nUNSUBSCRIBE a\r\nQUIT\r\n",
    b"SUBSCRIBE a b\r\nUNSUBSCRIBE a\r\nUNSUBSCRIBE\r\nPUBLISH a x\r\nQUIT\r\n",
    b"PING\r\n*x\r\nPING\r\n",
    b"PING\r\n*1\r\n:4\r\nPING\r\n",
    b"PING\r\n*1\r\n$-5\r\nPING\r\n",
    b"PING\r\n*1\r\n$x\r\nPING\r\n",
    b"PING\r\n*99999999999\r\nPING\r\n",
    b"PING\r\nsay \"hello\r\nPING\r\n",
]


def conversation(family, address, lines):
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(lines)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def beside_the_real_one():
    for lines in CONVERSATIONS:
        ours = conversation(socket.AF_INET, ("127.0.0.1", PORT), lines)
        theirs = conversation(socket.AF_UNIX, os.environ["SOCKET"], lines)
        assert ours == theirs, f"{lines}\nours:   {ours}\ntheirs: {theirs}"
    print(f"ok: {len(CONVERSATIONS)} conversations, answered byte for byte as the real one answers")


def the_end():
    """SIGTERM while eight clients send: each has as many answers as the server has executed commands of it."""
    answered = []
    begun = threading.Semaphore(0)

    def client(name):
        with socket.create_connection(("127.0.0.1", PORT), timeout=20) as connection:
            answers, sent = b"", 0
            try:
                while True:
                    connection.sendall(b"INCR %b\r\n" % name * 50)
                    sent += 50
                    while answers.count(b"\n") < sent:
                        piece = connection.recv(65536)
                        if not piece:
                            raise EOFError
                        answers += piece
                    begun.release()
            except (EOFError, BrokenPipeError):
                pass
            # A reset would have lost answers: it is not caught. What came is a sequence without a gap.
            numbers = answers.split(b"\r\n")
            assert numbers == [b":%d" % number for number in range(1, len(numbers))] + [b""], numbers[-3:]
            answered.append(len(numbers) - 1)

    threads = [threading.Thread(target=client, args=(b"client-%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(400):
        begun.acquire()
    os.kill(int(os.environ["SERVER"]), signal.SIGTERM)
    for thread in threads:
        thread.join(20)
    assert len(answered) == 8, "a client has lost answers, or was left waiting"
    print(f"ok: SIGTERM among {sum(answered)} commands: no answer is lost, every client sees a clean end")


through_the_client()
beside_the_real_one()
the_end()
