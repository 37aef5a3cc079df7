"""A client that keeps a ledger: each request has a nonce, and comes to exactly one end."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final
from urllib.parse import urlencode, urlsplit

from tests.providers.web.support import Client

CONNECTIONS: Final = 24
ENDS: Final = {200: "ok", 503: "refused", 504: "expired"}


async def connect(url: str) -> Client:
    """Connect to where a URL leads."""
    parts = urlsplit(url)
    return Client(*await asyncio.open_connection(parts.hostname, parts.port))


@dataclass
class Ledger:
    """What has become of many requests."""

    url: str
    count: int
    pipeline: str = "work"
    more: dict[str, str] = field(default_factory=dict)
    patience_s: float = 8.0
    connections: int = CONNECTIONS
    ends: Counter[str] = field(default_factory=Counter)
    right: set[str] = field(default_factory=set)  # the nonces that were answered well
    times: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Ledger:
        """Ask all of it; each connection asks again when it has its answer."""
        nonces = (secrets.token_hex(16) for _ in range(self.count))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._ask_all(nonces))
        return self

    async def reached(self, share: float) -> None:
        """Wait until a share of the requests has come to an end."""
        while self.ends.total() < share * self.count:
            self._changed.clear()
            await self._changed.wait()

    @property
    def slowest_s(self) -> float:
        return max(self.times, default=0.0)

    async def _ask_all(self, nonces: Iterator[str]) -> None:
        client: Client | None = None
        for nonce in nonces:
            began, is_over = perf_counter(), True
            try:
                async with asyncio.timeout(self.patience_s):
                    client = client or await connect(self.url)
                    answer = await client.get(self._path(nonce))
                self._judge(nonce, answer.status, answer.body)
                self.times.append(perf_counter() - began)
                is_over = answer.headers.get("connection") == "close"
            except TimeoutError:
                self._end("silent")
            except ConnectionRefusedError:
                self._end("unreachable")
                await asyncio.sleep(0.05)  # it is down; the load goes on when it is back
            except (OSError, EOFError):
                self._end("cut")
            if is_over and client is not None:
                client.close()
                client = None
        if client is not None:
            client.close()

    def _path(self, nonce: str) -> str:
        return "/?" + urlencode({"nonce": nonce, "pipeline": self.pipeline, **self.more})

    def _judge(self, nonce: str, status: int, body: bytes) -> None:
        if status == 200 and json.loads(body)["nonce"] != nonce:
            self.faults.append(f"crossed: {nonce} got {body.decode()}")
        elif status == 200:
            self.right.add(nonce)
        self._end(ENDS.get(status, f"status {status}"))

    def _end(self, name: str) -> None:
        self.ends[name] += 1
        self._changed.set()
