"""Tests that ask for prices while shops are well, slow and down."""

from __future__ import annotations

import asyncio
from typing import Any

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor
from quotes_tests import RESOURCES, Shops


@processor("test-quotes")
class TestQuotes(StatusTestProcessor):
    """Ask for prices, and look at how they are marked."""

    dependencies = RESOURCES

    class Quotes(StatusTestCase):
        timeout = 10

        def setUp(self, **resources: Any) -> None:
            self.shops = Shops(**resources)

        async def statustest_three_shops_answer(self) -> None:
            response = await self.shops.get("tea")

            answer = response.json()
            prices = [each["price"] for each in answer["shops"].values()]
            self.assertEqual((response.status_code, answer["complete"]), (200, True))
            self.assertEqual(prices, [3.14] * 3)

        async def statustest_a_shop_that_is_down_has_its_last_price(self) -> None:
            self.shops.last["south milk"] = {"price": 2.5, "at": 1772625600.0}
            self.shops.be(south="down")

            answer = (await self.shops.get("milk")).json()

            south = {"state": "last", "price": 2.5, "at": 1772625600.0}
            self.assertEqual(answer["shops"]["south"], south)
            self.assertEqual(answer["shops"]["north"]["state"], "live")
            self.assertFalse(answer["complete"])

        async def statustest_prices_are_remembered(self) -> None:
            answer = (await self.shops.get("rice")).json()

            remembered = {"state": "live", **self.shops.last["north rice"]}
            self.assertEqual(answer["shops"]["north"], remembered)

        async def statustest_a_slow_shop_is_not_waited_for(self) -> None:
            self.shops.last["east salt"] = {"price": 2.5, "at": 1772625600.0}
            self.shops.be(east="slow")
            loop = asyncio.get_running_loop()
            began = loop.time()

            known, unknown = await asyncio.gather(
                self.shops.states("salt"), self.shops.states("corn")
            )

            self.assertEqual((known, unknown), ("live live last", "live live missing"))
            self.assertLess(loop.time() - began, 1.5)

        async def statustest_many_who_ask_at_once_are_asked_for_once(self) -> None:
            answers = await asyncio.gather(*[self.shops.get("oil") for _ in range(10)])

            self.assertEqual({each.status_code for each in answers}, {200})
            self.assertEqual(self.shops.asked["times"], 3)

        async def statustest_without_an_item_there_is_no_price(self) -> None:
            responses = [await self.shops.get(each) for each in ("", "x" * 101)]

            self.assertEqual([each.status_code for each in responses], [400, 400])
