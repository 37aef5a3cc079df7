"""Tests that call the pipelines of the workers, without any queue."""

from __future__ import annotations

import json
from typing import Any

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-workers")
class TestWorkers(StatusTestProcessor):
    """Give jobs to the pipelines of the workers, and look at what they answer."""

    dependencies = {"sum_up": "pipeline.work.sum", "square": "pipeline.work.square"}

    class Workers(StatusTestCase):
        def setUp(self, sum_up: Any, square: Any) -> None:
            self.pipelines = {"sum": sum_up, "square": square}

        async def answer_of(self, name: str, *numbers: int) -> Any:
            """Call a pipeline: the result of its only sink is the answer, as it was sent."""
            [answer] = await self.pipelines[name](json.dumps({"id": 0, "numbers": numbers}))
            return json.loads(answer)

        async def statustest_sum(self) -> None:
            self.assertEqual(await self.answer_of("sum", 1, 2, 3), {"id": 0, "sum": 14})

        async def statustest_square(self) -> None:
            self.assertEqual(await self.answer_of("square", 1, 2, 3), {"id": 0, "square": 36})
