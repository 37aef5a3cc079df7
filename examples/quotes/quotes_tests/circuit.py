"""Tests of what happens when shops go on failing. They run last: circuits stay open."""

from __future__ import annotations

from typing import Any

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor
from quotes_tests import RESOURCES, Shops


@processor("test-circuit")
class TestCircuit(StatusTestProcessor):
    """Let all shops fail until they are left alone."""

    dependencies = RESOURCES

    class Circuit(StatusTestCase):
        timeout = 10

        def setUp(self, **resources: Any) -> None:
            self.shops = Shops(**resources)

        async def statustest_shops_that_go_on_failing_are_left_alone(self) -> None:
            self.shops.be(north="down", south="down", east="down")
            for number in range(3):
                await self.shops.get(f"sugar {number}")
            self.shops.asked["times"] = 0

            response = await self.shops.get("sugar")

            self.assertEqual(self.shops.asked["times"], 0)
            self.assertEqual(response.status_code, 503)
            self.assertEqual(list(response.json()["shops"].values()), [{"state": "missing"}] * 3)
