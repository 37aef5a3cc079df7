from __future__ import annotations

from typing import Any

import pytest

from piped.errors import Unavailable
from tests.processors.conftest import Problems, Run


@pytest.mark.parametrize(("path", "where"), [("", "pending"), (", output_path: shared", "shared")])
def test_fetch_context_gives_the_shared_object_itself(run: Run, path: str, where: str) -> None:
    shared: dict[str, Any] = {}

    baton = run(f"fetch-context: {{context: pending{path}}}", {}, **{"context.pending": shared})

    assert baton[where] is shared


def test_fetch_context_replaces_the_baton(run: Run) -> None:
    shared: list[int] = []

    text = "fetch-context: {context: pending, output_path: ''}"

    assert run(text, {}, **{"context.pending": shared}) is shared


def test_fetch_context_does_not_discard(problems: Problems) -> None:
    assert problems("fetch-context: {context: pending, output_path: null}") == [
        "expected a path for 'output_path', got None"
    ]


def test_fetch_context_needs_its_context(run: Run) -> None:
    with pytest.raises(Unavailable) as raised:
        run("fetch-context: {context: pending}", {})

    assert str(raised.value) == "'context.pending' is not available: not started yet"


def test_fetch_persisted_context_gives_the_shared_object_itself(run: Run) -> None:
    shared: dict[str, Any] = {}
    resources = {"persisted_context.visits": shared}

    assert run("fetch-persisted-context: {context: visits}", {}, **resources)["visits"] is shared
    text = "fetch-persisted-context: {context: visits, output_path: a.b}"
    assert run(text, {}, **resources)["a"]["b"] is shared


def test_fetch_persisted_context_does_not_discard(problems: Problems) -> None:
    assert problems("fetch-persisted-context: {context: visits, output_path: null}") == [
        "expected a path for 'output_path', got None"
    ]


def test_fetch_persisted_context_needs_its_context(run: Run) -> None:
    with pytest.raises(Unavailable) as raised:
        run("fetch-persisted-context: {context: visits}", {}, **{"context.visits": {}})

    assert str(raised.value) == "'persisted_context.visits' is not available: not started yet"
