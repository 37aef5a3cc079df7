"""Tests of what happens when no answers come."""

from __future__ import annotations

import time
from typing import Any

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-deadline")
class TestDeadline(StatusTestProcessor):
    """Ask the service while no queue is read, so that no worker gets its job."""

    dependencies = {"site": "web.site", "poller": "zmq.poller"}

    class Deadline(StatusTestCase):
        timeout = 10  # a test that hangs is an error, and the next one runs

        def setUp(self, site: Any, poller: Any) -> None:
            self.url = site.url
            poller.stop()
            self.addCleanup(poller.start)

        async def statustest_another_answer_comes_in_time(self) -> None:
            began = time.monotonic()
            async with httpx.AsyncClient(trust_env=False) as client:
                response = await client.get(self.url, params={"n": "42"}, timeout=8)
            took_s = time.monotonic() - began

            self.assertEqual(response.status_code, 504)
            self.assertEqual(response.json(), {"success": False})
            self.assertTrue(2 <= took_s <= 3.5, took_s)
