"""What the tests of this room share: documents that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from piped import Service
from tests.observe.fakes import FakeFront, Fickle

Load: TypeAlias = Callable[[str], Service]

PLUGINS = "plugins: {bundles: {fakes: [tests.observe.fakes]}}\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return what makes a service of a document, which has the fakes of this folder."""

    def loaded(text: str) -> Service:
        file = tmp_path / "service.yaml"
        file.write_text(PLUGINS + text)
        return Service.load(file)

    return loaded


@pytest.fixture(autouse=True)
def nothing_is_away() -> Iterator[None]:
    yield
    Fickle.away = ""


def front_of(service: Service, pool: str) -> FakeFront:
    """Return the front of a pool of a running service."""
    found: Any = brought(service, f"workers.{pool}")
    assert isinstance(found, FakeFront)
    return found


def brought(service: Service, name: str) -> Any:
    """Return a resource of a running service, whether somebody needs it or not."""
    found = {key: value for each in service.lives for key, value in (each.brought or {}).items()}
    return found[name]
