"""The first service as a raw ASGI application: GET /?n=1&n=2 and no framework.

It also answers POST /length with the length of the body, and GET /big with 16 MiB.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec.json

encode = msgspec.json.encode
BIG = b"x" * (16 << 20)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["path"] == "/":
        await compute(scope, send)
    elif scope["path"] == "/length":
        await answer(send, 200, b"%d" % len(await read(receive)))
    elif scope["path"] == "/big":
        await answer(send, 200, BIG)
    else:
        await answer(send, 404, b'{"error":"not found"}')


async def compute(scope: dict[str, Any], send: Any) -> None:
    try:
        numbers = [int(text) for text in parse_qs(scope["query_string"].decode())["n"]]
    except (KeyError, ValueError):
        await answer(send, 400, b'{"error":"expected numbers: ?n=1&n=2"}')
        return
    total, square = sum(n**2 for n in numbers), sum(numbers) ** 2
    await answer(send, 200, encode({"sum": total, "square": square, "diff": square - total}))


async def read(receive: Any) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def answer(send: Any, status: int, body: bytes) -> None:
    length = b"%d" % len(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
