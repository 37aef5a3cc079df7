"""Fakes of what NATS brings: a connection, and a key-value bucket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Connection:
    """Keeps what is sent, and answers each request with the same message."""

    def __init__(self, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answer = SimpleNamespace(data=data, headers=headers)

    async def publish(self, subject: str, data: bytes, *, headers: Any) -> None:
        self.calls.append((subject, data, headers))

    async def store(
        self, subject: str, data: bytes, *, message_id: str, headers: Any, timeout_s: float
    ) -> None:
        self.calls.append((subject, data, headers, message_id, timeout_s))

    async def request(self, subject: str, data: bytes, *, timeout_s: float, headers: Any) -> Any:
        self.calls.append((subject, data, headers, timeout_s))
        return self.answer


class Bucket:
    def __init__(self, **values: Any) -> None:
        self.values = values
        self.calls: list[tuple[Any, ...]] = []

    async def get(self, key: str) -> Any:
        return (self.values[key], 3) if key in self.values else None

    async def put(self, key: str, value: Any, revision: int | None) -> int:
        self.calls.append((key, value, revision))
        return 4
