"""What the tests of files share: a site that sends them, asked through a real socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.providers.web.support import Answer, request_bytes, serving

CHANGED_S = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
TAG = f'"{CHANGED_S * 10**9:x}-a"'


def write(file: Path, content: bytes) -> None:
    """Make a file that was changed then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (CHANGED_S, CHANGED_S))


def routing_of(path: Path, **options: Any) -> dict[str, Any]:
    """Return a tree whose root sends what is in a folder."""
    return {"__config__": {"static": {"path": str(path), **options}}}


async def ask(
    routing: Any, target: str, *headers: str, method: str = "GET", **parameters: Any
) -> Answer:
    """Return the answer of a site with such a tree."""
    async with serving(routing=routing, **parameters) as served:
        client = await served.connect()
        await client.send(request_bytes(target, *headers, method=method))
        answer = await client.answer(is_head=method == "HEAD")
        client.close()
    return answer
