from __future__ import annotations

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from piped.errors import InvalidBaton, Problem
from tests.processors.conftest import Problems, Run, decoded

ORDER = """
validate:
  schema:
    type: object
    required: [order]
    properties:
      order:
        type: object
        required: [items]
        additionalProperties: false
        properties:
          items:
            type: array
            minItems: 1
            items:
              type: object
              required: [price]
              properties:
                price: {type: number, minimum: 0}
                size: {enum: [s, m, l]}
"""


def told(run: Run, text: str, baton: Any) -> list[str]:
    with pytest.raises(InvalidBaton) as raised:
        run(text, baton)
    return list(raised.value.problems)


def by(schema: Any) -> str:
    return json.dumps({"validate": {"schema": schema}})


def only(text: str) -> Problem:
    [problem] = decoded(text)[1]
    return problem


def test_validate_lets_pass_what_is_right_as_it_is(run: Run) -> None:
    baton = {"order": {"items": [{"price": 2.5, "size": "m"}, {"price": 10**30}]}}

    assert run(ORDER, baton) is baton


def test_validate_tells_all_that_is_wrong_and_where(run: Run) -> None:
    items = [{"price": "x"}, {"price": -1, "size": "xl"}, {}, None]

    problems = told(run, ORDER, {"order": {"items": items, "itms": 1}})

    assert problems == [
        "order: unexpected 'itms'",
        "order.items[0].price: expected number, got 'x'",
        "order.items[1].price: expected number >= 0, got -1",
        "order.items[1].size: expected one of 's', 'm', 'l', got 'xl'",
        "order.items[2]: needs 'price'",
        "order.items[3]: expected object, got None",
    ]


def test_an_invalid_baton_is_answered_by_400(run: Run) -> None:
    with pytest.raises(InvalidBaton) as raised:
        run(ORDER, {"order": {"items": []}})

    assert str(raised.value) == "order.items: expected array of length >= 1, got []"
    assert raised.value.http_status == 400


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": ["string", "null"]}, 5, "expected string or null, got 5"),
        ({"type": "integer"}, True, "expected integer, got True"),
        ({"type": "integer"}, 1.5, "expected integer, got 1.5"),
        ({"type": "number"}, float("nan"), "expected number, got nan"),
        ({"type": "number"}, float("inf"), "expected number, got inf"),
        ({"enum": ["a"]}, "b", "expected 'a', got 'b'"),
        ({"const": 1}, 2, "expected 1, got 2"),
        ({"exclusiveMinimum": 0}, 0, "expected number > 0, got 0"),
        ({"maximum": 9}, 10, "expected number <= 9, got 10"),
        ({"exclusiveMaximum": 9}, 9, "expected number < 9, got 9"),
        ({"multipleOf": 0.01}, 0.075, "expected number that is a multiple of 0.01, got 0.075"),
        ({"minLength": 2}, "a", "expected string of length >= 2, got 'a'"),
        ({"maxLength": 2}, "abc", "expected string of length <= 2, got 'abc'"),
        ({"maxItems": 1}, [1, 2], "expected array of length <= 1, got [1, 2]"),
        ({"minProperties": 1}, {}, "expected object of length >= 1, got {}"),
        ({"uniqueItems": True}, [1, 1], "expected array without repetitions, got [1, 1]"),
        ({"pattern": "^x"}, "a", "expected string matching '^x', got 'a'"),
        ({"format": "date"}, "2026-02-30", "expected date, got '2026-02-30'"),
        ({"not": {"type": "string"}}, "a", "expected anything else, got 'a'"),
        ({"properties": {"a": False}}, {"a": 1}, "a: expected nothing here, got 1"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "needs 'b', as there is 'a'"),
        (
            {"propertyNames": {"maxLength": 1}},
            {"ab": 1},
            "expected string of length <= 1, got 'ab'",
        ),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            {"xa": 1, "ya": 1},
            "unexpected 'ya'",
        ),
        ({"unevaluatedProperties": False}, {"a": 1}, None),
        ({"contains": {"const": 1}}, [2], "[2] does not contain items matching the given schema"),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1}
            | {"exclusiveMinimum": True},
            1,
            "expected number > 1, got 1",
        ),
    ],
)
def test_validate_says_what_was_expected(
    run: Run, schema: Any, value: Any, problem: str | None
) -> None:
    expected = problem or "unevaluated properties are not allowed ('a' was unexpected)"

    assert told(run, by(schema), value) == [expected]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1.5, "expected string or integer or object, got 1.5"),
        ({"kind": "a"}, "needs 'n'"),
    ],
)
def test_a_choice_is_told_by_the_alternative_that_can_be_meant(
    run: Run, value: Any, problem: str
) -> None:
    alternatives = [{"type": "string"}, {"type": "integer"}, {"type": "object", "required": ["n"]}]

    assert told(run, by({"anyOf": alternatives}), value) == [problem.replace(" or ", ", ", 1)]


def test_a_choice_is_told_by_the_constant_that_fits(run: Run) -> None:
    a = {"properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}}
    b = {"properties": {"kind": {"const": "b"}, "n": {"type": "string"}}}

    problems = told(run, by({"oneOf": [a, b]}), {"kind": "b", "n": 1})

    assert problems == ["n: expected string, got 1"]
    assert told(run, by({"oneOf": [a, b]}), {"kind": "c"}) == [
        "fits none of 2 alternatives, got {'kind': 'c'}"
    ]
    assert told(run, by({"oneOf": [{}, {}]}), 5) == ["fits more than one of 2 alternatives, got 5"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date-time", "2026-01-31T23:59:59.5+01:00", "2026-01-31 23:59:59"),
        ("date-time", "2026-01-31t23:59:59z", "2026-13-31T23:59:59Z"),
        ("date-time", "2026-01-31T23:59:59-12:00", "2026-01-31T23:59:59+24:00"),
        ("date", "2026-01-31", "20260131"),
        ("email", "ada@example.org", "ada"),
        ("uri", "https://example.org/?a=1#b", "example.org/a b"),
        ("uri", "urn:isbn:1", "https://[::1"),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", "127.0.0.1"),
        ("regex", "^a$", "["),
    ],
)
def test_formats_are_asserted(run: Run, name: str, right: str, wrong: str) -> None:
    schema = by({"format": name})

    assert run(schema, right) == right
    assert run(schema, 5) == 5
    expected = "regular expression" if name == "regex" else name
    assert told(run, schema, wrong) == [f"expected {expected}, got {wrong!r}"]


def test_a_format_that_nobody_knows_is_not_asserted(run: Run) -> None:
    assert run(by({"format": "colour"}), "x") == "x"


@pytest.mark.parametrize(("value", "step"), [(0.07, 0.01), (10**400, 0.01), (1e308, 0.1), (9, 3)])
def test_multiples_are_those_of_people(run: Run, value: Any, step: Any) -> None:
    assert run(by({"multipleOf": step}), value) == value


@pytest.mark.parametrize(
    ("items", "are_different"),
    [
        ([1, True, "1", None, "None", [1], [True], {"a": 1}, {"a": True}, {}, [], "", 0, False], 1),
        ([1, 1.0], 0),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], 0),
        ([[1, {}], [1, {}]], 0),
        ([10**30, 10**30 + 1, float(10**30)], 1),
        ([0.5, 0.5], 0),
    ],
)
def test_repetitions_are_equal_as_json_has_it(run: Run, items: Any, are_different: int) -> None:
    schema = by({"uniqueItems": True})

    if are_different:
        assert run(schema, items) is items
    else:
        assert told(run, schema, items)


@pytest.mark.parametrize(
    "items",
    [[{"id": n} for n in range(50_000)], [n * (2**61 - 1) for n in range(50_000)]],
    ids=["dicts", "numbers with one hash"],
)
def test_repetitions_are_looked_for_in_no_time(run: Run, items: Any) -> None:
    assert run(by({"uniqueItems": True}), items) is items


def test_repetitions_may_be_allowed(run: Run) -> None:
    assert run(by({"uniqueItems": False}), [1, 1]) == [1, 1]


def test_tuples_are_arrays(run: Run) -> None:
    assert run(by({"type": "array", "items": {"type": "integer"}}), (1, 2)) == (1, 2)


def test_values_are_cut_in_what_is_told(run: Run) -> None:
    secret = "s" * 81

    problems = told(run, by({"type": "object", "additionalProperties": False}), {secret: 1})
    problems += told(run, by({"type": "integer"}), secret)
    problems += told(run, by({"contains": {"const": 1}}), [secret])
    problems += told(run, by({"additionalProperties": {"type": "string"}}), {secret: 1})

    assert len(problems) == 4
    assert all(secret not in each for each in problems)


def test_no_more_problems_are_told_than_asked_for(run: Run) -> None:
    text = "validate: {schema: {items: {type: string}}, max_problems: 2}"

    assert told(run, text, [1, 2]) == ["[0]: expected string, got 1", "[1]: expected string, got 2"]
    assert told(run, text, [1, 2, 3])[2:] == ["and more"]


@pytest.mark.parametrize("schema", [{"items": {"$ref": "#"}}, {"type": "object"}])
def test_a_baton_that_is_nested_too_deep_is_an_error(run: Run, schema: Any) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    assert told(run, by(schema), nested) == ["nested too deep to be checked"]


def test_keys_that_are_no_text_are_an_error(run: Run) -> None:
    assert told(run, by({"patternProperties": {"^a": {}}}), {1: 2}) == [
        "cannot be checked: expected string or bytes-like object, got 'int'"
    ]


def test_validate_checks_what_is_at_the_input_path(run: Run) -> None:
    text = "validate: {input_path: body, schema: {type: object, required: [n]}}"

    assert run(text, {"other": 1}) == {"other": 1}
    assert told(run, text, {"body": {}}) == ["needs 'n'"]


def test_validate_needs_exactly_one_way(problems: Problems) -> None:
    assert problems("validate: {}") == [
        "expected exactly one of 'schema', 'schema_file' and 'model', got none"
    ]
    assert problems("validate: {schema: {}, model: a.B}") == [
        "expected exactly one of 'schema', 'schema_file' and 'model', got 'schema' and 'model'"
    ]


def test_a_wrong_schema_is_told_with_its_line() -> None:
    problem = only("validate:\n  schema:\n    properties:\n      n:\n        type: intger\n")

    assert str(problem) == (
        "test.yaml:5:15: error[wrong-schema]: expected one of 'array', 'boolean', 'integer',"
        " 'null', 'number', 'object', 'string', got 'intger'\n"
        "    at: validate.schema.properties.n.type\n"
        "    hint: did you mean 'integer'?"
        " known: array, boolean, integer, null, number, object, string"
    )


@pytest.mark.parametrize(
    ("schema", "at", "what"),
    [
        ({"required": "n"}, ".required", "expected array, got 'n'"),
        ({"allOf": [{"minimum": "x"}]}, ".allOf[0].minimum", "expected number, got 'x'"),
        ({"pattern": "["}, ".pattern", "expected regular expression, got '['"),
        (
            {"pattern": "a{9999999999}"},
            ".pattern",
            "expected regular expression, got 'a{9999999999}'",
        ),
        (
            {"properties": {"n": {"$ref": "#/$defs/m"}}, "$defs": {"n": {}}},
            ".properties.n.$ref",
            "nothing is at '#/$defs/m' in the schema",
        ),
        (
            {"items": {"$ref": "https://example.org/schema.json"}},
            ".items.$ref",
            "no schema is fetched from elsewhere: 'https://example.org/schema.json'",
        ),
        (
            {"$ref": "file:///etc/passwd"},
            ".$ref",
            "no schema is fetched from elsewhere: 'file:///etc/passwd'",
        ),
        ({"allOf": [{"$ref": "#"}]}, "", "the schema refers to itself without end"),
        ({"$schema": "x"}, ".$schema", "expected a draft of JSON Schema that is known, got 'x'"),
    ],
)
def test_a_schema_is_checked_before_anything_runs(schema: Any, at: str, what: str) -> None:
    problem = only(by(schema))

    assert (problem.code, problem.at, problem.what) == (
        "wrong-schema",
        f"validate.schema{at}",
        what,
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"$ref": {"type": "string"}, "enum": {}}, "const": {"$ref": "https://x"}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$id": "https://a.test/s", "items": {"$ref": "/t"}, "$defs": {"t": {"$id": "t"}}},
        {"$dynamicAnchor": "node", "items": {"$dynamicRef": "#node"}},
        {"properties": {"inner": {"$ref": "#"}}},
    ],
)
def test_references_inside_of_a_schema_are_right(schema: Any) -> None:
    assert decoded(by(schema))[1] == []


def test_a_schema_may_be_the_text_of_a_file(run: Run) -> None:
    text = 'validate: {schema: \'{"type": "integer"}\'}'

    assert run(text, 5) == 5
    assert told(run, text, "x") == ["expected integer, got 'x'"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"required": 5}', "required: expected array, got 5"),
        ('{"type": ', "not JSON: it ends too early at line 1, column 10"),
        ("type: [", "not YAML: did not find expected node content at line 2, column 1"),
        ("- type", "expected a mapping as the schema, got list"),
        ("", "expected a mapping as the schema, got NoneType"),
        ("schema.json", "expected a mapping as the schema, got 'schema.json'"),
        (
            '{"items": ' * 100_000 + "{}" + "}" * 100_000,
            "not JSON that can be read: it is nested too deep",
        ),
    ],
)
def test_a_file_that_is_no_schema_is_a_problem(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)

    problem = only(f"validate: {{schema_file: {path}}}")

    assert (problem.code, problem.at, problem.what) == (
        "wrong-schema",
        "validate.schema_file",
        what,
    )


def test_a_file_is_read_once_from_the_working_directory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("order.yaml").write_text("type: object\nrequired: [n]\n")
    made, problems = decoded("validate: {schema_file: order.yaml}")
    Path("order.yaml").unlink()

    step = made.step()

    assert problems == []
    with pytest.raises(InvalidBaton, match=r"^needs 'n'$"):
        step({})


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")

    missing = only(f"validate: {{schema_file: {tmp_path}/none}}")
    folder = only(f"validate: {{schema_file: {tmp_path}}}")
    latin = only(f"validate: {{schema_file: {tmp_path}/latin}}")
    stranger = only("validate: {schema_file: ~no-such-user/a.json}")

    assert (missing.code, missing.what) == ("missing-file", f"no file '{tmp_path}/none'")
    assert (folder.code, folder.what) == (
        "unreadable-file",
        f"cannot read '{tmp_path}': is a directory",
    )
    assert (latin.code, latin.what) == ("not-utf-8", f"'{tmp_path}/latin' is not UTF-8")
    assert stranger.what == "no file '~no-such-user/a.json'"


def test_a_pipe_is_no_schema_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    problem = only(f"validate: {{schema_file: {tmp_path}/pipe}}")

    assert problem.what == f"expected a regular file, got '{tmp_path}/pipe'"


class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    price: float
    count: int = 1

    @pydantic.field_validator("count")
    @classmethod
    def is_some(cls, count: int) -> int:
        if count < 1:
            raise ValueError("Nothing is ordered")
        return count


class Order(pydantic.BaseModel):
    items: list[Item]
    day: datetime.date | None = None


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    y: int = 0
    others: list[Point] = []


@dataclasses.dataclass
class Person:
    name: str
    born: datetime.date | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    points: tuple[Point, ...] = ()
    by_name: dict[str, Point] = dataclasses.field(default_factory=dict)


def model(name: str) -> str:
    return f"validate: {{model: {__name__}.{name}}}"


def test_a_pydantic_model_gives_its_plain_dict(run: Run) -> None:
    order = run(model("Order"), {"items": [{"price": "2.5"}], "day": "2026-01-31"})

    assert order == {"items": [{"price": 2.5, "count": 1}], "day": datetime.date(2026, 1, 31)}


def test_a_pydantic_model_tells_all_that_is_wrong(run: Run) -> None:
    items = [{"price": "x"}, {}, {"price": 1, "prise": 2}, {"price": 1, "count": 0}]

    assert told(run, model("Order"), {"items": items}) == [
        "items[0].price: expected a valid number, unable to parse string as a number, got 'x'",
        "items[1]: needs 'price'",
        "items[2]: unexpected 'prise'",
        "items[3].count: nothing is ordered, got 0",
    ]


def test_no_more_problems_of_a_model_are_told_than_asked_for(run: Run) -> None:
    text = f"validate: {{model: {__name__}.Order, max_problems: 1}}"

    assert told(run, text, {"items": [{}, {}]}) == ["items[0]: needs 'price'", "and more"]


def test_a_struct_gives_its_plain_dict(run: Run) -> None:
    point = run(model("Point"), {"x": 1, "others": [{"x": 2, "y": 3}]})

    assert point == {"x": 1, "y": 0, "others": [{"x": 2, "y": 3, "others": []}]}


def test_a_dataclass_gives_its_plain_dict(run: Run) -> None:
    given = {"name": "Ada", "born": "1815-12-10", "points": [{"x": 1}], "by_name": {"a": {"x": 2}}}

    assert run(model("Person"), given) == {
        "name": "Ada",
        "born": datetime.date(1815, 12, 10),
        "tags": [],
        "points": [{"x": 1, "y": 0, "others": []}],
        "by_name": {"a": {"x": 2, "y": 0, "others": []}},
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"x": "1"}, "x: expected int, got str"),
        ({"x": 1, "others": [{"x": 1}, {}]}, "others[1]: needs 'x'"),
        ({"x": 1, "z": 2}, "unexpected 'z'"),
        (5, "expected object, got int"),
    ],
)
def test_a_struct_tells_what_is_wrong(run: Run, value: Any, problem: str) -> None:
    assert told(run, model("Point"), value) == [problem]


def test_a_struct_is_not_nested_without_end(run: Run) -> None:
    value: dict[str, Any] = {"x": 1}
    for _ in range(100_000):
        value = {"x": 1, "others": [value]}

    assert told(run, model("Point"), value) == ["nested too deep to be checked"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such.Model", "no module 'no_such'"),
        ("json.Model", "'json' has no 'Model'"),
        ("json.dumps", "expected a model of pydantic, a Struct of msgspec or a dataclass"),
    ],
)
def test_what_is_no_model_is_a_problem(problems: Problems, name: str, reason: str) -> None:
    assert problems(f"validate: {{model: {name}}}") == [f"'{name}' cannot be the model: {reason}"]


def test_a_model_without_pydantic_is_a_problem_with_a_hint(
    problems: Problems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'pydantic'\", name='pydantic')"
    (tmp_path / "shop_of_test.py").write_text(missing)
    monkeypatch.syspath_prepend(tmp_path)

    [problem] = problems("validate: {model: shop_of_test.Order}")

    assert problem.startswith("'shop_of_test.Order' cannot be the model: cannot import")
    assert problem.endswith("(install pydantic)")
