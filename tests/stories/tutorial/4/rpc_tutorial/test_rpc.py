from __future__ import annotations

import time
from typing import Any

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-rpc")
class TestRPCProcessor(StatusTestProcessor):
    """Asks the service as its clients do."""

    class TestRPC(StatusTestCase):
        async def get_result(self, *numbers: int) -> object:
            async with httpx.AsyncClient() as client:
                response = await client.get("http://localhost:8080/", params={"n": numbers})
            return response.json()

        async def statustest_single_number(self) -> None:
            result = await self.get_result(42)

            self.assertEquals(result, dict(sum=42**2, square=42**2, diff=0))

        async def statustest_ten_numbers(self) -> None:
            result = await self.get_result(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)

            self.assertEquals(result, dict(sum=385, square=3025, diff=2640))


@processor("test-rpc-without-workers")
class TestRPCWithoutWorkersProcessor(StatusTestProcessor):
    """Asks the service while no worker gets a message."""

    dependencies = {"poller": "zmq.poller"}

    class TestRPCWithoutWorkers(StatusTestCase):
        def setUp(self, poller: Any) -> None:
            self.poller = poller
            # we temporarily stop the zmq poller to prevent the workers from receiving any messages
            self.poller.stop()

        def tearDown(self) -> None:
            self.poller.start()

        async def statustest_single_number(self) -> None:
            started = time.time()
            async with httpx.AsyncClient() as client:
                response = await client.get("http://localhost:8080/?n=42", timeout=10)
            finished = time.time()

            # the server should have given the workers two seconds for both partial responses:
            self.assertTrue((finished - started) > 2)
            # and our reap-baton pipeline should have provided us with a fallback response.
            self.assertEquals(response.json(), dict(success=False))
