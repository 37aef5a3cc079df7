"""What the workers of a tested pool do: a document, and the stage on which its parts are played."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakValueDictionary

PATIENCE_S: Final = 10.0
POLL_S: Final = 0.002
"""How often is looked whether something holds that nothing tells of."""

DOCUMENT: Final = """\
workers:
    math:
        pipelines: [echo, number, play, strange]
        deadline: 10s
        lease: 300ms
pipelines:
    echo: [{map: {lambda: "value: value"}}]
    number: [{map: {lambda: "text: int(text)"}}]
    strange: [{map: {lambda: "_: {'found': [1, {2}]}"}}]
    play:
        - fetch-idempotency-key: {output_path: key}
        - exec-code:
            namespace: {play: piped.testing._stage.play}
            code: return await play(input)
    unserved: [{map: {lambda: "value: value"}}]
    ask: [{run-pipeline: {workers: math, pipeline_path: pipeline, input_path: value}}]
    hurry: [{run-pipeline: {workers: math, pipeline: play, deadline: 100ms}}]
    both:
        - scatter-gather:
            workers: math
            mapping:
                - {pipeline: echo, input_path: left, output_path: left_answer}
                - {pipeline: play, input_path: right, output_path: right_answer}
"""

_STAGES: Final[WeakValueDictionary[str, Stage]] = WeakValueDictionary()


class Stage:
    """Sees which parts workers of this process run, and lets them end."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.runs: list[tuple[str, str]] = []  # the nonce and the key of each part, as it began
        self.gate = asyncio.Event()
        _STAGES[self.name] = self

    def part(self, nonce: str = "a", *, is_held: bool = False) -> dict[str, Any]:
        """Return a baton for ``play``; one that is held does not end before the gate is open."""
        return {"stage": self.name, "nonce": nonce, "is_held": is_held}

    async def play(self, baton: dict[str, Any]) -> dict[str, Any]:
        self.runs.append((baton["nonce"], baton["key"]))
        if baton["is_held"]:
            await self.gate.wait()
        return {"nonce": baton["nonce"], "key": baton["key"]}


async def play(baton: dict[str, Any]) -> dict[str, Any]:
    """Run a part on the stage that its baton names."""
    return await _STAGES[baton["stage"]].play(baton)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It does not within ``PATIENCE_S``.
    """
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - nothing tells of what is looked at
            await asyncio.sleep(POLL_S)
