"""Pipelines that no graph can be made of."""

from __future__ import annotations

import pytest

from piped.engine.inlining import MAX_DEPTH, MAX_STEPS
from tests.engine.conftest import Build, Problems, send

HINT = "    hint: run some of them with 'run-pipeline' instead of inlining them"


def chain(length: int, step: str = "{inline-pipeline: p%d}") -> list[str]:
    """Return pipelines that inline one another, the one without an inlined one first."""
    return ["p0: [passthrough]", *(f"p{n}: [{step % (n - 1)}]" for n in range(1, length))]


@pytest.mark.parametrize("order", [1, -1])
def test_pipelines_that_inline_others_too_deeply_are_told(problems: Problems, order: int) -> None:
    found = problems("\n".join(chain(300)[::order]))

    assert [each.splitlines()[0].partition("]: ")[2] for each in found] == [
        f"pipeline 'p{n}' is nested deeper than {MAX_DEPTH} levels, inlined pipelines included"
        for n in (64, 129, 194, 259)[::order]
    ]
    assert all(each.endswith(HINT) for each in found)


def test_steps_that_stand_in_steps_count_for_the_depth(problems: Problems) -> None:
    nested = "{passthrough: {}, consumers: [{inline-pipeline: p%d}]}"

    [found] = problems("\n".join(chain(33, nested)))

    assert found.splitlines()[0].startswith("test.yaml:33:6: error[inlines-too-much]: pipeline ")


def test_pipelines_as_deep_as_is_allowed_can_be_built(build: Build) -> None:
    pipelines = build("\n".join(chain(MAX_DEPTH)))

    assert send(pipelines["p63"], {"a": 1}) == [{"a": 1}]


def test_pipelines_that_inline_too_much_are_told_in_time(problems: Problems) -> None:
    twice = "{inline-pipeline: p%d}, {inline-pipeline: p%d}"
    more = [f"p{n}: [{twice % (n - 1, n - 1)}]" for n in range(1, 30)]

    found = problems("\n".join(["p0: [passthrough]", *more]))

    assert found[0] == (
        "test.yaml:13:6: error[inlines-too-much]: pipeline 'p12' has over "
        f"{MAX_STEPS} steps, inlined pipelines included\n    at: pipelines.p12\n{HINT}"
    )
    assert len(found) == 2


def test_pipelines_that_contain_one_another_in_many_ways_are_told_in_time(
    problems: Problems,
) -> None:
    names = [f"p{n}" for n in range(20)]
    inlined = ", ".join(f"{{inline-pipeline: {name}}}" for name in names)

    found = problems("\n".join(f"{name}: [{inlined}]" for name in names))

    assert len(found) == 20
    assert found[0].splitlines()[0].endswith("pipeline 'p0' contains itself: p0 -> p0")


@pytest.mark.parametrize("text", ["p: {inherits: p}", "{q: {inherits: p}, p: {inherits: p}}"])
def test_a_pipeline_that_inherits_itself_is_told(problems: Problems, text: str) -> None:
    [found] = problems(text)

    assert found.partition("error")[2] == (
        "[inline-cycle]: pipeline 'p' inherits itself\n    at: pipelines.p"
    )
