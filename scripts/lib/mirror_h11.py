"""examples/mirror.rs on h11: answers each request with what h11 took it to be. Bodies may have 1,000 bytes.

Says on its first line where it listens.
"""

import asyncio

import h11

MOST = 1000


async def serve(reader, writer):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)

    async def event():
        while (what := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        return what

    def respond(status, headers=(), body=b""):
        length = ("Content-Length", str(len(body)))
        close = [("Connection", "close")] if status >= 400 else []
        writer.write(connection.send(h11.Response(status_code=status, headers=[length, *close, *headers])))
        writer.write(connection.send(h11.Data(data=body)))
        writer.write(connection.send(h11.EndOfMessage()))

    try:
        while isinstance(request := await event(), h11.Request):
            if int(dict(request.headers).get(b"content-length", 0)) > MOST:
                respond(413)
                break
            if connection.they_are_waiting_for_100_continue:
                writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
            body = b""
            while isinstance(what := await event(), h11.Data) and len(body) <= MOST:
                body += what.data
            if len(body) > MOST:
                respond(413)
                break
            is_head = request.method == b"HEAD"
            asked = request.method + b" " + request.target
            respond(200, [("X-Request", asked)], b"" if is_head else body)
            if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            respond(error.error_status_hint)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
