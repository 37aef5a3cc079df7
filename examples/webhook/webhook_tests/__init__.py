"""The tests of the receiver, each group a processor; and a sender that signs."""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import time
from typing import Any

import httpx

_numbers = itertools.count(1)


class Sender:
    """Sends webhooks as their source does. It knows the rules, and nothing of our own code."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = f"{url}hooks"
        self.secret = secret

    def headers(self, body: bytes, identity: str, age_s: int = 0) -> dict[str, str]:
        sent = str(int(time.time()) - age_s)
        signed = f"{identity}.{sent}.".encode() + body
        digest = hmac.digest(self.secret.encode(), signed, "sha256")
        return {
            "webhook-id": identity,
            "webhook-timestamp": sent,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    async def send(self, event: Any, identity: str = "", **changed: str) -> httpx.Response:
        """Send an event; headers may be changed after it is signed."""
        body = json.dumps(event).encode()
        headers = self.headers(body, identity or f"delivery-{next(_numbers)}")
        headers |= {f"webhook-{name}": value for name, value in changed.items()}
        return await self.post(body, headers)

    async def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.post(self.url, content=body, headers=raw)


PAID = {"type": "order.paid", "data": {"order": 7}}
