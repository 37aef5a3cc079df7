"""The tests of the quotes, each group a processor; and what they share."""

from __future__ import annotations

from typing import Any

import httpx

RESOURCES = {
    "site": "web.site",
    "north": "web.north",
    "south": "web.south",
    "east": "web.east",
    "moods": "context.moods",
    "asked": "context.asked",
    "last": "context.last",
}


class Shops:
    """The service as its clients see it, and the moods of the shops behind it."""

    def __init__(self, site: Any, moods: Any, asked: Any, last: Any, **shops: Any) -> None:
        self.url = site.url
        self.asked, self.last = asked, last
        self._moods = moods
        self._ports = {name: each.url.split(":")[2].strip("/") for name, each in shops.items()}
        moods.clear()
        last.clear()
        asked["times"] = 0

    def be(self, **moods: str) -> None:
        self._moods.update({self._ports[name]: mood for name, mood in moods.items()})

    async def get(self, item: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url, params={"item": item} if item else {})

    async def states(self, item: str) -> str:
        """Return how the prices of the shops are marked, from north to east."""
        shops = (await self.get(item)).json()["shops"]
        return " ".join(shops[name]["state"] for name in ("north", "south", "east"))
