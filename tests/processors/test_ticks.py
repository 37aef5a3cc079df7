from __future__ import annotations

import pytest

from piped.errors import Unavailable
from tests.processors.conftest import Run


class FakeTicking:
    """An interval that remembers what was done to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start_ticking(self) -> None:
        self.calls.append("start")

    def stop_ticking(self) -> None:
        self.calls.append("stop")


@pytest.mark.parametrize("act", ["start", "stop"])
def test_an_interval_is_started_and_stopped(run: Run, act: str) -> None:
    baton, ticking = object(), FakeTicking()
    text = f"{act}-tick-interval: {{interval: reap}}"

    result = run(text, baton, **{"ticks.interval.reap": ticking})

    assert result is baton
    assert ticking.calls == [act]


@pytest.mark.parametrize("act", ["start", "stop"])
def test_an_interval_must_be_there(run: Run, act: str) -> None:
    with pytest.raises(Unavailable) as raised:
        run(f"{act}-tick-interval: {{interval: reap}}", {})

    assert str(raised.value) == "'ticks.interval.reap' is not available: not started yet"
