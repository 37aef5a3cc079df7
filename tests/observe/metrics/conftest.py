"""How the tests of this room read the metrics of a service: through its admin listener."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from piped import Service
from tests.observe.conftest import brought

ADMIN = "admin: {listen: '127.0.0.1:0'}\n"


class Scrape:
    """What was read of a text, by names and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {each.name: each for each in text_string_to_metric_families(text)}
        self.samples = {
            (each.name, tuple(sorted(each.labels.items()))): each.value
            for family in self.families.values()
            for each in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        return self.samples[name, tuple(sorted(labels.items()))]

    def by(self, name: str, label: str, /, **others: str) -> Mapping[str, float]:
        """Return the samples of a metric, by one of its labels."""
        found = {}
        for (other, pairs), value in self.samples.items():
            labels = dict(pairs)
            if other == name and others.items() <= labels.items():
                found[labels[label]] = value
        return found

    def lines(self, *names: str) -> list[str]:
        """Return the lines of some samples, as they were sent."""
        lines = self.text.splitlines()
        return [each for each in lines if each.partition("{")[0].partition(" ")[0] in names]


async def scraped(service: Service) -> Scrape:
    """Return what the admin listener of a service tells of it now."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{brought(service, 'admin').url}metrics")
    assert answer.status_code == 200
    return Scrape(answer.text)
