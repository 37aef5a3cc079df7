from __future__ import annotations

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
