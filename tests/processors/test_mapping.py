from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from piped.batons import Baton
from piped.errors import UndeclaredAwait
from piped.processors.mapping import Entry, MappingProcessor
from piped.spec import processor
from tests.processors.conftest import Problems, Run, run_in


@processor("double-all")
class DoubleAll(MappingProcessor):
    """Double values, later."""

    extras: ClassVar[Mapping[str, Any]] = {"plus": 0}

    async def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
        await asyncio.sleep(0)
        return value * 2 + entry.extra["plus"]


@processor("forget-to-await")
class ForgetToAwait(MappingProcessor):
    """Return what should be awaited."""

    def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
        return asyncio.sleep(0)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("[a]", {"a": 1, "c": 3}),
        ("{a: b}", {"a": 1, "b": 1, "c": 3}),
        ("{a: null}", {"a": 1, "c": 3}),
        ("[{a: b}, {c: d}]", {"a": 1, "b": 1, "c": 3, "d": 3}),
        ("{a: {output_path: x.y}}", {"a": 1, "c": 3, "x": {"y": 1}}),
        ("{a: {}}", {"a": 1, "c": 3}),
        ("[{input_path: a, output_path: b}]", {"a": 1, "b": 1, "c": 3}),
        ("[{input_path: a}]", {"a": 1, "c": 3}),
        ("[{input_path: a, output_path: null}]", {"a": 1, "c": 3}),
        ("{a: {input_path: a, output_path: b}}", {"a": 1, "b": 1, "c": 3}),
        ("{a: ''}", 1),
        ("{missing: b}", {"a": 1, "c": 3}),
        ("[{a: b}, {b: d}]", {"a": 1, "b": 1, "c": 3, "d": 1}),
    ],
)
def test_a_mapping_has_many_forms(run: Run, mapping: str, expected: Any) -> None:
    baton = run(f"remap: {{mapping: {mapping}}}", {"a": 1, "c": 3})

    assert baton == expected


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            "[5]",
            "expected a path, {from: to}, or {input_path: from, output_path: to}, got 5",
        ),
        ("[{a: b, c: d}]", "the entry has no input path: {'a': 'b', 'c': 'd'}"),
        ("[{}]", "the entry has no input path: {}"),
        ("[{output_path: b}]", "the entry has no input path: {'output_path': 'b'}"),
        ("{input_path: a, output_path: b}", "the entry has no input path: {'output_path': 'b'}"),
        (
            "{a: {input_path: b}}",
            "the entry 'a' has another input path: {'a': {'input_path': 'b'}}",
        ),
        ("{a: 5}", "expected a path into the baton, got 5"),
        ("[{5: a}]", "expected a path into the baton, got 5"),
        ("{a..b: c}", "expected a path into the baton, got 'a..b', which has an empty part"),
        (
            "{a: {output: b}}",
            "an entry of the mapping has no option 'output'"
            " (did you mean 'output_path'? known: input_path, output_path)",
        ),
    ],
)
def test_a_mapping_that_is_wrong_is_a_problem(
    problems: Problems, mapping: str, message: str
) -> None:
    assert problems(f"remap: {{mapping: {mapping}}}") == [message]


def test_all_that_is_wrong_with_a_mapping_is_told(problems: Problems) -> None:
    assert len(problems("remap: {mapping: [5, a, a..b]}")) == 2


def test_prefixes_are_put_before_paths(run: Run, problems: Problems) -> None:
    text = "remap: {input_path_prefix: 'in.', output_path_prefix: 'out.', mapping: [%s]}"

    assert run(text % "a", {"in": {"a": 1}}) == {"in": {"a": 1}, "out": {"a": 1}}
    assert problems(text % "''") == [
        "expected a path into the baton, got 'in.', which has an empty part"
    ]


def test_a_fallback_stands_for_what_is_missing(run: Run) -> None:
    text = "remap: {skip_if_nonexistent: false, input_fallback: 7, mapping: {missing: a}}"

    assert run(text, {}) == {"a": 7}


@pytest.mark.parametrize("later", [False, True])
def test_each_baton_gets_its_own_copy_of_the_fallback(later: bool) -> None:
    @processor("same")
    class Same(MappingProcessor):
        def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
            return value

    @processor("same-later")
    class SameLater(MappingProcessor):
        async def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
            return value

    kind = SameLater if later else Same
    same = kind(mapping=["a"], skip_if_nonexistent=False, input_fallback=[[]])

    run_in(same, {})["a"][0].append(1)

    assert run_in(same, {}) == {"a": [[]]}


def test_an_async_mapping_processor_is_awaited_and_gets_the_options_of_its_entries() -> None:
    double = DoubleAll(
        mapping=["a", {"b": {"plus": 1}}, "missing"], skip_if_nonexistent=False, input_fallback=10
    )

    baton = run_in(double, {"a": 1, "b": 2})

    assert double.is_async
    assert baton == {"a": 2, "b": 5, "missing": 20}


def test_an_async_mapping_processor_skips_too() -> None:
    assert run_in(DoubleAll(mapping=["a", "missing"]), {"a": 1}) == {"a": 2}


def test_options_of_entries_are_checked() -> None:
    double = DoubleAll(mapping={"a": {"plus": "x"}})

    assert [each.what for each in double.check()] == ["expected int for 'plus', got 'x'"]


def test_a_mapping_processor_does_not_return_awaitables() -> None:
    with pytest.raises(UndeclaredAwait):
        ForgetToAwait(mapping=["a"]).process({"a": 1})
