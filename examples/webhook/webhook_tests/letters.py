"""Tests of what becomes of webhooks that the upstream does not take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from piped import processor
from piped.status import StatusTestCase, StatusTestProcessor
from webhook_tests import PAID, Sender


@processor("test-letters")
class TestLetters(StatusTestProcessor):
    """Let the upstream fail, look at the dead letters, and have them delivered again."""

    dependencies = {
        "site": "web.site",
        "operators": "web.operators",
        "settings": "context.settings",
        "upstream": "context.upstream",
    }

    class Letters(StatusTestCase):
        timeout = 10

        def setUp(self, site: Any, operators: Any, settings: Any, upstream: Any) -> None:
            self.sender = Sender(site.url, settings["secret"])
            self.redelivery = f"{operators.url}dead-letters/redeliver"
            self.upstream = upstream
            self.file = Path(settings["letters"])
            self.taken = Path(f"{self.file}.taken")
            upstream["status"], upstream["received"] = 200, []
            self.remove()
            self.addCleanup(self.remove)

        def remove(self) -> None:
            self.file.unlink(missing_ok=True)
            self.taken.unlink(missing_ok=True)

        def letters(self) -> list[Any]:
            return [json.loads(line) for line in self.file.read_text().splitlines()]

        async def redeliver(self) -> Any:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.post(self.redelivery)).json()

        async def statustest_what_fails_for_now_is_tried_again_and_then_kept(self) -> None:
            self.upstream["status"] = 503

            response = await self.sender.send(PAID, "g-1")

            self.assertEqual(response.json(), {"status": "kept"})
            [letter] = self.letters()
            self.assertEqual(letter["baton"], {"id": "g-1", "event": PAID})
            self.assertEqual((letter["error"]["type"], letter["attempts"]), ("BadStatus", 4))

        async def statustest_what_is_refused_is_kept_at_once(self) -> None:
            self.upstream["status"] = 422

            await self.sender.send(PAID)

            [letter] = self.letters()
            self.assertEqual(letter["error"]["message"], "the upstream answered 422")
            self.assertEqual(letter["attempts"], 1)

        async def statustest_letters_are_delivered_again(self) -> None:
            self.upstream["status"] = 422
            for number in range(3):
                await self.sender.send(PAID, f"h-{number}")
            self.upstream["status"] = 200

            said = await self.redeliver()

            self.assertEqual(said, {"delivered": 3, "kept": 0, "broken": 0})
            keys = sorted(each["key"] for each in self.upstream["received"])
            self.assertEqual(keys, ["h-0", "h-1", "h-2"])
            self.assertEqual((self.file.exists(), self.taken.exists()), (False, False))

        async def statustest_letters_that_fail_again_are_kept_again(self) -> None:
            self.upstream["status"] = 422
            await self.sender.send(PAID, "i-1")

            said = await self.redeliver()

            self.assertEqual(said, {"delivered": 0, "kept": 1, "broken": 0})
            self.assertEqual([each["baton"]["id"] for each in self.letters()], ["i-1"])

        async def statustest_letters_set_aside_before_a_crash_come_first(self) -> None:
            for file, identity in ((self.taken, "j-1"), (self.file, "j-2")):
                letter = {"baton": {"id": identity, "event": PAID}}
                file.write_text(f"{json.dumps(letter)}\n")

            first, second = await self.redeliver(), await self.redeliver()

            self.assertEqual((first["delivered"], second["delivered"]), (1, 1))
            self.assertEqual([each["key"] for each in self.upstream["received"]], ["j-1", "j-2"])

        async def statustest_a_line_that_is_no_letter_stays_in_the_file(self) -> None:
            self.file.write_text('{"baton": {"id"\n')

            said = await self.redeliver()

            self.assertEqual(said, {"delivered": 0, "kept": 0, "broken": 1})
            self.assertEqual(self.file.read_text(), '{"baton": {"id"\n')

        async def statustest_redelivery_is_no_get(self) -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                response = await client.get(self.redelivery)

            self.assertEqual(response.status_code, 405)
