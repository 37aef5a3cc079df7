"""Tests that send events and read the files."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-collector")
class TestCollector(StatusTestProcessor):
    """Send events one by one and many at once, and look for them in the files."""

    dependencies = {"site": "web.site", "settings": "context.settings"}

    class Collecting(StatusTestCase):
        timeout = 10

        def setUp(self, site: Any, settings: Any) -> None:
            self.url = f"{site.url}events"
            self.folder = Path(settings["folder"])
            self.remove()
            self.addCleanup(self.remove)

        def remove(self) -> None:
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
            else:
                self.folder.unlink(missing_ok=True)

        async def send(self, *identities: str) -> list[httpx.Response]:
            """Send events at the same time."""
            async with httpx.AsyncClient(trust_env=False) as client:
                events = ({"id": each, "name": "click"} for each in identities)
                return await asyncio.gather(*[client.post(self.url, json=e) for e in events])

        def collected(self) -> dict[str, list[str]]:
            """Return the events of each file, by their ids."""
            return {
                file.name: [json.loads(line)["id"] for line in gzip.open(file, "rt")]
                for file in sorted(self.folder.iterdir())
            }

        async def statustest_a_lone_event_is_in_a_file_when_it_is_answered(self) -> None:
            [response] = await self.send("a1")

            self.assertEqual(response.status_code, 200)
            self.assertEqual(self.collected(), {response.json()["file"]: ["a1"]})

        async def statustest_events_that_come_at_once_share_a_file(self) -> None:
            responses = await self.send("b1", "b2", "b3", "b4", "b5")

            [name] = {each.json()["file"] for each in responses}
            self.assertEqual(sorted(self.collected()[name]), ["b1", "b2", "b3", "b4", "b5"])

        async def statustest_a_batch_has_five_events_at_most(self) -> None:
            identities = [f"c{number:02}" for number in range(12)]

            await self.send(*identities)

            files = self.collected().values()
            self.assertEqual(sorted(each for file in files for each in file), identities)
            self.assertLessEqual(max(map(len, files)), 5)

        async def statustest_all_of_an_event_is_kept(self) -> None:
            event = {"id": "d1", "name": "click", "at": {"x": 2**70, "text": "a\nb"}}
            async with httpx.AsyncClient(trust_env=False) as client:
                response = await client.post(self.url, content=json.dumps(event))

            file = self.folder / response.json()["file"]
            self.assertEqual(json.loads(gzip.decompress(file.read_bytes())), event)

        async def statustest_what_is_no_event_is_in_no_file(self) -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                wrong = ["", "[]", '{"id": "e1"}', '{"id": 1, "name": "click"}']
                responses = [await client.post(self.url, content=each) for each in wrong]

            self.assertEqual([each.status_code for each in responses], [400] * 4)
            self.assertFalse(self.folder.exists())

        async def statustest_what_cannot_be_written_is_not_taken(self) -> None:
            self.folder.write_text("a file where the folder should be")

            responses = await self.send("f1", "f2")

            self.assertEqual([each.status_code for each in responses], [503, 503])
