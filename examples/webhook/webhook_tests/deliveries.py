"""Tests of what becomes of a webhook."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor
from webhook_tests import PAID, Sender


@processor("test-deliveries")
class TestDeliveries(StatusTestProcessor):
    """Send right and wrong webhooks, and look at what the upstream gets."""

    dependencies = {
        "site": "web.site",
        "settings": "context.settings",
        "upstream": "context.upstream",
    }

    class Deliveries(StatusTestCase):
        timeout = 10

        def setUp(self, site: Any, settings: Any, upstream: Any) -> None:
            self.sender = Sender(site.url, settings["secret"])
            self.upstream = upstream
            upstream["status"], upstream["received"] = 200, []

        async def statustest_a_webhook_reaches_the_upstream(self) -> None:
            response = await self.sender.send(PAID, "a-1")

            self.assertEqual(response.status_code, 202)
            self.assertEqual(response.json(), {"status": "delivered"})
            self.assertEqual(self.upstream["received"], [{"key": "a-1", "event": PAID}])

        async def statustest_a_repeat_is_known(self) -> None:
            await self.sender.send(PAID, "b-1")

            response = await self.sender.send(PAID, "b-1")

            self.assertEqual(response.json(), {"status": "known"})
            self.assertEqual(len(self.upstream["received"]), 1)

        async def statustest_of_ten_at_once_one_is_delivered(self) -> None:
            responses = await asyncio.gather(*[self.sender.send(PAID, "c-1") for _ in range(10)])

            said = sorted(each.json()["status"] for each in responses)
            self.assertEqual(said, ["delivered"] + ["known"] * 9)
            self.assertEqual(len(self.upstream["received"]), 1)

        async def statustest_strangers_are_refused(self) -> None:
            stranger = Sender(self.sender.url.removesuffix("hooks"), "another secret")
            body = json.dumps(PAID).encode()
            refused = [
                await stranger.send(PAID),
                await self.sender.post(body, {}),
                await self.sender.post(body + b" ", self.sender.headers(body, "d-1")),
                await self.sender.post(body, self.sender.headers(body, "d-2", age_s=301)),
                await self.sender.send(PAID, id="d-3"),
                await self.sender.send(PAID, timestamp="soon"),
                await self.sender.send(PAID, signature="v1,é"),
            ]

            self.assertEqual([each.status_code for each in refused], [401] * 7)
            self.assertEqual(self.upstream["received"], [])

        async def statustest_one_right_signature_is_enough(self) -> None:
            body = json.dumps(PAID).encode()
            headers = self.sender.headers(body, "e-1")
            headers["webhook-signature"] = f"v1,bm90aGluZw== {headers['webhook-signature']}"

            response = await self.sender.post(body, headers)

            self.assertEqual(response.status_code, 202)

        async def statustest_what_is_no_event_is_not_taken(self) -> None:
            wrong = [[], {"type": "order.paid"}, {"type": "Order!", "data": {}}, {"data": {}}]

            responses = [await self.sender.send(each) for each in wrong]

            self.assertEqual([each.status_code for each in responses], [400] * 4)
            self.assertEqual(self.upstream["received"], [])

        async def statustest_what_is_no_json_is_not_taken(self) -> None:
            response = await self.sender.post(b"{", self.sender.headers(b"{", "f-1"))

            self.assertEqual(response.status_code, 400)
