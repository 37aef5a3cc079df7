"""The front: FastStream's own ASGI application, and requests over core NATS."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import parse_qs

import msgspec.json
from faststream.asgi import AsgiFastStream, AsgiResponse
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

DEADLINE_S = 2.0
JSON = {"Content-Type": "application/json"}

broker = NatsBroker(os.environ["NATS_URL"], logger=None)


async def ask(subject: str, numbers: list[int]) -> int:
    answer = await broker.request(numbers, subject, timeout=DEADLINE_S)
    return int(answer.body)


async def compute(scope: dict[str, Any], receive: Any, send: Any) -> None:
    try:
        numbers = [int(text) for text in parse_qs(scope["query_string"].decode())["n"]]
        total, square = await asyncio.gather(ask("sum", numbers), ask("square", numbers))
        answer = {"sum": total, "square": square, "diff": square - total}
        response = AsgiResponse(msgspec.json.encode(answer), 200, JSON)
    except (KeyError, ValueError):
        response = AsgiResponse(b'{"error":"expected numbers: ?n=1&n=2"}', 400, JSON)
    except (TimeoutError, NatsError):
        response = AsgiResponse(b'{"success":false}', 200, JSON)
    await response(scope, receive, send)


app = AsgiFastStream(broker, logger=None, asgi_routes=[("/", compute)])
