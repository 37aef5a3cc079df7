"""Tests of which reports are made, at moments that the tests choose."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor

OSLO = ZoneInfo("Europe/Oslo")
REPORT = """\
2026-03-03
  tea                     3 x     3.50
  milk                    1 x     2.00
  in all                         12.50
"""


@processor("test-nights")
class TestNights(StatusTestProcessor):
    """Let nights come, with the shop at work or not, and look at the reports."""

    dependencies = {
        "site": "web.site",
        "settings": "context.settings",
        "shop": "context.shop",
        "memory": "persisted_context.memory",
        "make": "pipeline.report.make-until",
    }

    class Nights(StatusTestCase):
        timeout = 10

        def setUp(self, site: Any, settings: Any, shop: Any, memory: Any, make: Any) -> None:
            self.url, self.shop, self.memory, self.make = site.url, shop, memory, make
            self.reports, self.file = Path(settings["reports"]), Path(settings["memory"])
            shop["status"], shop["asked"] = 200, []
            memory.clear()
            memory.update(made={}, failed={})
            self.reports.unlink(missing_ok=True)
            self.addCleanup(self.reports.unlink, missing_ok=True)

        async def let_it_be(self, moment: str) -> None:
            """Do what a tick does at that moment, as clocks in Oslo show it."""
            now = datetime.fromisoformat(moment).replace(tzinfo=OSLO).timestamp()
            await self.make({"now": now})

        async def statustest_the_first_night_makes_one_report(self) -> None:
            await self.let_it_be("2026-03-04 03:00")

            self.assertEqual(self.reports.read_text(), REPORT)
            self.assertEqual(list(self.memory["made"]), ["2026-03-03"])

        async def statustest_a_day_is_reported_once(self) -> None:
            await self.let_it_be("2026-03-04 03:00")

            await self.let_it_be("2026-03-04 03:15")

            self.assertEqual(self.reports.read_text(), REPORT)
            self.assertEqual(self.shop["asked"], ["2026-03-03"])

        async def statustest_before_three_a_day_is_not_due(self) -> None:
            await self.let_it_be("2026-03-04 03:00")

            await self.let_it_be("2026-03-05 02:59")

            self.assertEqual(list(self.memory["made"]), ["2026-03-03"])

        async def statustest_nights_that_were_missed_are_made_up_for(self) -> None:
            await self.let_it_be("2026-03-04 03:00")

            await self.let_it_be("2026-03-07 10:30")

            days = ["2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]
            self.assertEqual(list(self.memory["made"]), days)

        async def statustest_what_is_older_than_a_week_is_left_out(self) -> None:
            await self.let_it_be("2026-03-04 03:00")

            await self.let_it_be("2026-04-01 03:00")

            self.assertEqual(self.shop["asked"][1:], [f"2026-03-{day}" for day in range(25, 32)])

        async def statustest_when_the_clock_goes_forward_no_night_is_lost(self) -> None:
            for day in ("28", "29", "30"):  # summer time begins on the 29th, at two
                await self.let_it_be(f"2026-03-{day} 03:00")

            self.assertEqual(self.shop["asked"], ["2026-03-27", "2026-03-28", "2026-03-29"])

        async def statustest_a_failure_is_remembered_and_made_good(self) -> None:
            self.shop["status"] = 503
            await self.let_it_be("2026-03-04 03:00")
            await self.let_it_be("2026-03-04 03:15")
            failed = dict(self.memory["failed"])
            self.shop["status"] = 200

            await self.let_it_be("2026-03-04 03:30")

            self.assertEqual(failed["2026-03-03"]["times"], 2)
            self.assertIn("503", failed["2026-03-03"]["error"])
            self.assertEqual(self.reports.read_text(), REPORT)
            self.assertEqual(self.memory["failed"], {})

        async def statustest_the_site_shows_failures(self) -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                good = await client.get(self.url)
                self.memory["failed"]["2026-03-03"] = {"times": 1, "error": "the shop is away"}
                bad = await client.get(self.url)

            self.assertEqual((good.status_code, bad.status_code), (200, 503))
            self.assertEqual(bad.json()["failed"]["2026-03-03"]["error"], "the shop is away")

        async def statustest_the_site_starts_a_run(self) -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                refused = await client.get(f"{self.url}run")
                response = await client.post(f"{self.url}run")

            self.assertEqual((refused.status_code, response.status_code), (405, 200))
            self.assertEqual(len(response.json()["made"]), 1)
            self.assertEqual(response.json()["made"], json.loads(json.dumps(self.memory["made"])))
