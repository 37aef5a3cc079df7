from __future__ import annotations

import json
from typing import Any

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-client")
class TestClientProcessor(StatusTestProcessor):
    """Runs the pipelines of the workers."""

    dependencies = {
        "sum_pipeline": "pipeline.zmq.sum",
        "square_pipeline": "pipeline.zmq.square",
    }

    class TestClient(StatusTestCase):
        def setUp(self, sum_pipeline: Any, square_pipeline: Any) -> None:
            self.sum_pipeline = sum_pipeline
            self.square_pipeline = square_pipeline

        async def statustest_simple_sum(self) -> None:
            results = await self.sum_pipeline(json.dumps(dict(numbers=[1, 2, 3])))

            self.assertEquals(json.loads(results[0])["sum"], 14)

        async def statustest_simple_square(self) -> None:
            results = await self.square_pipeline(json.dumps(dict(numbers=[1, 2, 3])))

            self.assertEquals(json.loads(results[0])["square"], 36)
