"""Tests that ask the service as its clients do."""

from __future__ import annotations

from typing import Any

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-answers")
class TestAnswers(StatusTestProcessor):
    """Ask the service for right answers, and for those to mistakes."""

    dependencies = {"site": "web.site"}  # a resource of the running process, handed to setUp

    class Answers(StatusTestCase):
        def setUp(self, site: Any) -> None:
            self.url = site.url

        async def ask(self, *numbers: object) -> httpx.Response:
            async with httpx.AsyncClient(trust_env=False) as client:
                return await client.get(self.url, params={"n": [str(each) for each in numbers]})

        async def statustest_one_number(self) -> None:
            response = await self.ask(42)

            self.assertEqual(response.json(), {"sum": 1764, "square": 1764, "diff": 0})

        async def statustest_ten_numbers(self) -> None:
            response = await self.ask(*range(1, 11))

            self.assertEqual(response.json(), {"sum": 385, "square": 3025, "diff": 2640})

        async def statustest_large_numbers_are_exact(self) -> None:
            response = await self.ask(10**30, 1)

            self.assertEqual(response.json()["diff"], 2 * 10**30)

        async def statustest_mistakes_are_the_clients(self) -> None:
            self.assertEqual((await self.ask("one")).status_code, 400)
            self.assertEqual((await self.ask()).status_code, 400)
