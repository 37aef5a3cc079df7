"""Types in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from piped.batons import BatonPath
from piped.spec import Duration, Input, Meta, Size, words
from piped.spec.types import ROWS
from piped.spec.words import example, unannotated
from tests.spec.conftest import Read


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, "int"),
        (Duration, "duration"),
        (Annotated[Size, Meta(ge=1)], "size"),
        (list[BatonPath], "list of path"),
        (dict[str, Duration], "mapping of names to duration"),
        (Input[str], "str (or !path)"),
        (Any, "any value"),
        (Literal["a", "b"], "'a' or 'b'"),
    ],
)
def test_types_have_words(hint: Any, expected: str) -> None:
    assert words(hint) == expected


@pytest.mark.parametrize("hint", ROWS)
def test_the_example_of_a_type_is_a_value_of_it(read: Read, hint: Any) -> None:
    read(hint, example(hint))


def test_a_type_without_an_example_is_told_in_words() -> None:
    assert (example(int), example(Annotated[list[BatonPath], Meta(min_length=1)])) == (
        "int",
        "list of path",
    )


def test_what_is_said_of_a_type_is_no_part_of_it() -> None:
    assert (unannotated(Annotated[int, Meta(ge=0)]), unannotated(int)) == (int, int)
