"""Tests of what comes over the bridge, and of what does not."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from piped import processor
from piped.errors import QueueFull
from piped.status import StatusTestCase, StatusTestProcessor


@processor("test-bridge")
class TestBridge(StatusTestProcessor):
    """Send messages into one end, and look at what comes out of the other."""

    dependencies = {
        "settings": "context.settings",
        "taken": "context.taken",
        "producer": "zmq.queue.producer",
    }

    class Crossing(StatusTestCase):
        timeout = 10

        def setUp(self, settings: Any, taken: Any, producer: Any) -> None:
            self.send = producer.send
            self.gate: asyncio.Event = asyncio.Event()
            self.gate.set()
            self.messages: asyncio.Queue[Any] = asyncio.Queue()
            taken.update(gate=self.gate, messages=self.messages)
            self.file = Path(settings["letters"])
            self.file.unlink(missing_ok=True)
            self.addCleanup(self.file.unlink, missing_ok=True)

        def reading(self, value: float) -> dict[str, Any]:
            return {"sensor": "roof", "value": value, "at": "2026-03-04T12:00:00Z"}

        def send_reading(self, value: float) -> None:
            self.send(json.dumps(self.reading(value)).encode())

        def send_until_refused(self) -> int:
            """Send readings 0, 1, 2 ..., and return how many were taken."""
            for value in range(1000):
                try:
                    self.send_reading(value)
                except QueueFull:
                    return value
            return 1000

        async def letters(self) -> list[Any]:
            """Send one more reading: when it has crossed, all before it have been treated."""
            self.send_reading(-1)
            while (await self.messages.get())["value"] != -1:
                pass
            return [json.loads(line) for line in self.file.read_text().splitlines()]

        async def statustest_a_reading_crosses(self) -> None:
            self.send_reading(21.5)

            self.assertEqual(await self.messages.get(), self.reading(21.5))

        async def statustest_whole_numbers_stay_exact(self) -> None:
            self.send_reading(2**63)

            self.assertEqual((await self.messages.get())["value"], 2**63)

        async def statustest_readings_keep_their_order(self) -> None:
            for value in range(5):
                self.send_reading(value)

            crossed = [(await self.messages.get())["value"] for _ in range(5)]

            self.assertEqual(crossed, [0, 1, 2, 3, 4])

        async def statustest_what_is_no_reading_becomes_a_letter(self) -> None:
            self.send(b'{"sensor": ""}')

            [letter] = await self.letters()

            self.assertEqual(letter["error"]["type"], "InvalidBaton")
            self.assertIn("needs 'value'", letter["error"]["message"])

        async def statustest_a_letter_has_every_byte_of_the_message(self) -> None:
            self.send(b"\xff\x00{")
            self.send([b"two", b"frames"])

            broken, frames = await self.letters()

            self.assertEqual([base64.b64decode(each) for each in broken["baton"]], [b"\xff\x00{"])
            self.assertEqual(frames["baton"], ["dHdv", "ZnJhbWVz"])

        async def statustest_a_slow_consumer_stops_the_producer_and_nothing_is_lost(self) -> None:
            self.gate.clear()
            sent = self.send_until_refused()
            self.gate.set()

            crossed = [(await self.messages.get())["value"] for _ in range(sent)]

            self.assertTrue(0 < sent < 100, sent)
            self.assertEqual(crossed, list(range(sent)))
            self.assertFalse(self.file.exists())
