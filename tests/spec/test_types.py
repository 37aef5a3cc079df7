"""How each type of parameter is read from a document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from piped.batons import BatonPath
from piped.document.nodes import Secret
from piped.spec import (
    INVALID,
    Code,
    Dependencies,
    Dependency,
    Duration,
    Input,
    Lambda,
    Meta,
    Namespace,
    PipelineName,
    Size,
)
from tests.spec.conftest import Read, Wrong, decoded, external

PLAIN: list[tuple[Any, str, Any]] = [
    (int, "3", 3),
    (float, "3", 3.0),
    (float, "1.5", 1.5),
    (str, "'3'", "3"),
    (bool, "true", True),
    (list[int], "[1, 2]", [1, 2]),
    (dict[str, int], "{1: 2, a: 3}", {"1": 2, "a": 3}),
    (dict[Any, int], "{1: 2}", {1: 2}),
    (Literal["a", "b"], "b", "b"),
    (int | None, "null", None),
    (int | str, "x", "x"),
    (Any, "{a: [1, null]}", {"a": [1, None]}),
    (Annotated[list[int], Meta(min_length=1, max_length=2)], "[1, 2]", [1, 2]),
    (Annotated[dict[str, Duration], Meta(max_length=1)], "{a: 2s}", {"a": 2.0}),
    (Annotated[Duration, Meta(ge=1)], "2s", 2.0),
    (Duration, "2", 2.0),
    (Duration, "0.5", 0.5),
    (Duration, "1.5s", 1.5),
    (Duration, "250ms", 0.25),
    (Duration, "2 m", 120.0),
    (Duration, "3h", 10800.0),
    (Duration, "1d", 86400.0),
    (Duration, "'7'", 7.0),
    (Size, "100", 100),
    (Size, "64KiB", 65536),
    (Size, "1.5 kB", 1500),
    (Size, "2GiB", 2 << 30),
    (BatonPath, "a.b", "a.b"),
    (BatonPath, "''", ""),
    (BatonPath, "!path a.b", "a.b"),
    (BatonPath | list[BatonPath], "[a, b.c]", ["a", "b.c"]),
    (Literal["never"] | Duration, "never", "never"),
    (Literal["never"] | Duration, "5s", 5.0),
    (Duration | None, "null", None),
    (list[Duration], "[1s, 2s]", [1.0, 2.0]),
]


@pytest.mark.parametrize(("hint", "text", "expected"), PLAIN)
def test_a_value_becomes_what_its_parameter_says(
    read: Read, hint: Any, text: str, expected: Any
) -> None:
    value = read(hint, text)

    assert (value, type(value)) == (
        expected,
        type(expected) if hint is not BatonPath else BatonPath,
    )


PATH = "expected a path into the baton"
STEPS = "write the steps below 'pipelines', and name that pipeline here"
RESOURCE = "the name of a resource, such as pipeline.web.compute"

HUGE = "9" * 400
LONG = "expected list of int of length"
LONG_TOO = "expected list of duration of length"
LONG_MAP = "expected mapping of names to int of length"

MISTAKES: list[tuple[Any, str, list[str]]] = [
    (int, "'3'", ["1:1 expected int, got '3'"]),
    (int, "3.0", ["1:1 expected int, got 3.0"]),
    (int, "true", ["1:1 expected int, got True"]),
    (str, "3", ["1:1 expected str, got 3"]),
    (bool, "1", ["1:1 expected bool, got 1"]),
    (list, "5", ["1:1 expected list, got 5"]),
    (list[int], "[1, a, b]", ["1:5 expected int, got 'a'", "1:8 expected int, got 'b'"]),
    (dict[str, int], "{a: x}", ["1:5 expected int, got 'x'"]),
    (Literal["a", "b"], "c", ["1:1 expected 'a' or 'b', got 'c'"]),
    (Literal["a", "b"], "5", ["1:1 expected 'a' or 'b', got 5"]),
    (Literal["a", "b"], "[a]", ["1:1 expected 'a' or 'b', got ['a']"]),
    (Literal["a", "b"], "null", ["1:1 expected 'a' or 'b', got None"]),
    (dict[str, Literal["a", "b"]], "{x: 5}", ["1:5 expected 'a' or 'b', got 5"]),
    (int | str, "[1]", ["1:1 expected int or str, got [1]"]),
    (Literal["never"] | Duration, "x", ["1:1 expected 'never' or duration, got 'x'"]),
    (Duration, "-1", ["1:1 expected a duration such as 2s or 250ms, got -1"]),
    (Duration, "true", ["1:1 expected a duration such as 2s or 250ms, got True"]),
    (Duration, "2 weeks", ["1:1 expected a duration such as 2s or 250ms, got '2 weeks'"]),
    (Duration, "[1]", ["1:1 expected a duration such as 2s or 250ms, got [1]"]),
    (Size, "1XB", ["1:1 expected a size such as 64KiB or 1MiB, got '1XB'"]),
    (Size, "1.5", ["1:1 expected a size such as 64KiB or 1MiB, got 1.5"]),
    (BatonPath, "5", [f"1:1 {PATH}, such as request.args, got 5"]),
    (BatonPath, "a..b", [f"1:1 {PATH}, got 'a..b', which has an empty part"]),
    (Input[int], "x", ["1:1 expected int, got 'x'"]),
    (Lambda, "5", ["1:1 expected a lambda without its keyword, such as 'n: n * 2', got 5"]),
    (Code, "[1]", ["1:1 expected a block of Python code, got [1]"]),
    (Namespace, "x", ["1:1 expected names and what they mean in Python, got 'x'"]),
    (Namespace, "{t: time.tim}", ["1:5 'time' has no 'tim'"]),
    (Dependency[Any], "{of: x}", [f"1:1 expected {RESOURCE}, or a mapping with 'provider'"]),
    (Dependency[Any], "5", [f"1:1 expected {RESOURCE}, got 5"]),
    (Dependency[Any], "[a]", [f"1:1 expected {RESOURCE}, got a list ({STEPS})"]),
    (
        PipelineName,
        "'..'",
        [
            "1:1 expected the name of a pipeline, such as web.compute or .other, or a list of"
            " steps, got '..'"
        ],
    ),
    (Dependencies, "x", ["1:1 expected names and the resources they mean, got 'x'"]),
    (Annotated[int, Meta(ge=1, le=5)], "7", ["1:1 expected int <= 5, got 7"]),
    (Annotated[float, Meta(gt=0)], "0", ["1:1 expected float > 0.0, got 0"]),
    (Annotated[int | float, Meta(gt=0)], "0", ["1:1 expected int or float > 0, got 0"]),
    (Annotated[str, Meta(min_length=2)], "a", ["1:1 expected str of length >= 2, got 'a'"]),
    (Annotated[str, Meta(pattern="^a")], "b", ["1:1 expected str matching regex '^a', got 'b'"]),
    (Annotated[Duration, Meta(gt=0)], "0s", ["1:1 expected duration > 0, got '0s'"]),
    (Annotated[Duration, Meta(le=60)], "2m", ["1:1 expected duration <= 60, got '2m'"]),
    (Annotated[Size, Meta(ge=10)], "1", ["1:1 expected size >= 10, got 1"]),
    (Duration, ".inf", ["1:1 expected a duration such as 2s or 250ms, got inf"]),
    (Duration, ".nan", ["1:1 expected a duration such as 2s or 250ms, got nan"]),
    (Duration, f"{HUGE}d", [f"1:1 expected a duration such as 2s or 250ms, got '{HUGE}d'"]),
    (Size, f"{HUGE}B", [f"1:1 expected a size such as 64KiB or 1MiB, got '{HUGE}B'"]),
    (Annotated[list[int], Meta(max_length=1)], "[1, 2]", [f"1:1 {LONG} <= 1, got [1, 2]"]),
    (Annotated[list[int], Meta(min_length=1)], "[]", [f"1:1 {LONG} >= 1, got []"]),
    (Annotated[list[Duration], Meta(max_length=0)], "[2s]", [f"1:1 {LONG_TOO} <= 0, got ['2s']"]),
    (Annotated[dict[str, int], Meta(min_length=1)], "{}", [f"1:1 {LONG_MAP} >= 1, got {{}}"]),
]


@pytest.mark.parametrize(("hint", "text", "expected"), MISTAKES)
def test_a_wrong_value_is_told_with_what_was_expected(
    wrong: Wrong, hint: Any, text: str, expected: list[str]
) -> None:
    assert wrong(hint, text) == expected


def test_long_values_are_shown_shortened(wrong: Wrong) -> None:
    assert wrong(int, "x" * 100) == [f"1:1 expected int, got '{'x' * 76}..."]


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (int, "8080", 8080),
        (int, " 8080\n", 8080),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "0", False),
        (str, "8080", "8080"),
        (str, " as it is \n", " as it is \n"),
        (Any, "8080", "8080"),
        (Duration, "2s", 2.0),
        (Duration, "2\n", 2.0),
        (Size, "1MiB", 1 << 20),
        (Literal["local", "zmq"], "zmq", "zmq"),
        (BatonPath, "a.b", "a.b"),
        (int | None, "5", 5),
    ],
)
def test_a_value_from_outside_takes_the_type_of_its_parameter(
    hint: Any, text: str, expected: Any
) -> None:
    value, problems = decoded(hint, external(text))

    assert (problems, value, type(value).__mro__[-2]) == ([], expected, type(expected).__mro__[-2])


def test_a_wrong_value_from_outside_is_told() -> None:
    value, problems = decoded(int, external("many"))

    assert value is INVALID
    assert problems == ["t.yaml:1:1: error[wrong-value]: expected int, got 'many'\n    at: at"]


@pytest.mark.parametrize("hint", [int, Duration, Literal["a"], BatonPath, Size, Dependency[Any]])
def test_a_secret_is_never_shown(hint: Any) -> None:
    value, problems = decoded(hint, external(Secret("hush..hush")))

    assert "hush" not in f"{value}{problems}" or hint == Dependency[Any]
    assert "hush" not in f"{problems}"


@pytest.mark.parametrize("hint", [str, str | None, str | list[str]])
def test_a_secret_stays_one_where_text_is_expected(hint: Any) -> None:
    value, _ = decoded(hint, external(Secret("hush")))

    assert (value, repr(value)) == ("hush", "***")


def test_an_input_is_a_value_or_a_path_to_one(read: Read) -> None:
    given, taken = read(Input[int], "5"), read(Input[int], "!path a.b")

    assert (given.get({}), taken.get({"a": {"b": 7}})) == (5, 7)
    assert (repr(given), repr(taken)) == ("Input(5)", "Input('a.b')")


def test_a_resource_is_a_name_or_a_mapping_with_options(read: Read) -> None:
    short, long = read(Dependency[Any], "a.b"), read(Dependency[Any], "{provider: a.b, more: 1}")

    assert (short.name, short.options) == ("a.b", {})
    assert (long.name, long.options, long.place.column) == ("a.b", {"more": 1}, 12)


def test_a_pipeline_may_be_named_as_a_resource(read: Read) -> None:
    assert [read(PipelineName, text).name for text in ("a.b", "pipeline.a.b", "..b")] == [
        "a.b",
        "a.b",
        "..b",
    ]


def test_a_namespace_holds_functions_by_their_dotted_names_and_values(read: Read) -> None:
    namespace = read(Namespace, "{join: os.path.join, n: 5, error: exceptions.ValueError}")

    assert namespace["join"](*"ab") == "a/b"
    assert (namespace["n"], namespace["error"]) == (5, ValueError)
