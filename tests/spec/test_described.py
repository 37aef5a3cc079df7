"""What is collected of components for those who show it; prose and parts: see test_markdown."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pytest

from piped.batons import MISSING, Baton, BatonPath
from piped.spec import (
    Dependency,
    Duration,
    ErrorTypes,
    Input,
    InputOutputProcessor,
    Lambda,
    Parameter,
    Processor,
    Size,
    Spec,
    part,
    processor,
    spec_of,
)
from piped.spec.described import by_owner, default_value, name_of


@part
class Box:
    """A box."""

    size: int = 1


@processor("everything")
class Everything(InputOutputProcessor):
    """Have one of each."""

    needed: int
    number: int = 3
    duration: Duration = Duration(90)
    size: Size = Size(1 << 20)
    path: BatonPath = BatonPath("a.b")
    lambda_: Lambda = Lambda("n: n * 2")
    given: Input[int] = Input(7)
    box: Box = field(default_factory=Box)
    errors: ErrorTypes = field(default_factory=lambda: ErrorTypes((ValueError, KeyError)))
    resource: Dependency[Any] = field(default_factory=lambda: Dependency("context.it"))
    nothing: Any = MISSING
    nobody: Any = object()
    numbers: list[int] = field(default_factory=lambda: [1])

    def process_input(self, value: Any, baton: Baton) -> Any:
        return value


def parameters() -> dict[str, Parameter]:
    spec = spec_of(Everything)
    assert spec is not None
    return dict(spec.parameters)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("number", 3),
        ("duration", "90s"),
        ("size", "1MiB"),
        ("path", "a.b"),
        ("lambda", "n: n * 2"),
        ("given", 7),
        ("box", {}),
        ("errors", ["ValueError", "KeyError"]),
        ("resource", "context.it"),
        ("numbers", [1]),
        ("input_path", ""),
    ],
)
def test_defaults_are_told_as_a_document_has_them(key: str, expected: Any) -> None:
    told = default_value(parameters()[key])

    assert (told, type(told)) == (expected, type(expected))


@pytest.mark.parametrize("key", ["needed", "nothing", "nobody", "output_path"])
def test_a_default_that_json_cannot_say_is_missing(key: str) -> None:
    assert default_value(parameters()[key]) is MISSING


def test_parameters_are_told_by_the_class_that_declares_them_its_own_first() -> None:
    spec = spec_of(Everything)
    assert isinstance(spec, Spec)

    found = by_owner(spec)

    assert [*found] == [Everything, InputOutputProcessor, Processor]
    assert [each.key for each in found[Processor]] == ["node_name"]
    assert [name_of(each) for each in found][1:] == [
        "Every input output processor",
        "Every processor",
    ]
