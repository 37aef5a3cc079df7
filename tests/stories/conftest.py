"""Stories run whole documents as processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stories.processes import Processes, processes

collect_ignore = ["tutorial"]  # the user's documents and test modules, run by `piped -nc`


@pytest.fixture
def start() -> Iterator[Processes]:
    """Start a process of `piped`: `start("run", "service.yaml", cwd=folder)`."""
    yield from processes()
