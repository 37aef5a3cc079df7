"""What the tests of providers share: a pipeline that keeps its batons, as a resource."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.engine.journey import journey
from piped.resources import Resource
from piped.spec import Dependency


class Pipeline:
    """Keeps the batons; each may wait for ``gate``, and fail."""

    def __init__(self) -> None:
        self.batons: list[dict[str, Any]] = []
        self.journeys: list[int] = []
        self.came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, baton: dict[str, Any]) -> list[Any]:
        self.batons.append(baton)
        self.journeys.append(journey.get())
        self.came.put_nowait(baton)
        await self.gate.wait()
        if self.error:
            raise self.error
        return [baton]

    def all(self, key: str) -> list[Any]:
        """Return what each of the batons has at a key."""
        return [baton[key] for baton in self.batons]


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def resource(pipeline: Pipeline) -> Resource:
    """The pipeline as a resource that is ready, and may be lost."""
    return ready(pipeline)


def ready(target: Any, name: str = "pipeline.x") -> Resource:
    resource = Resource(name)
    resource.ready(target)
    return resource


def bound(target: Any, name: str = "pipeline.x") -> Dependency[Any]:
    """Return a dependency on something that is ready."""
    return Dependency(name, resource=ready(target, name))
