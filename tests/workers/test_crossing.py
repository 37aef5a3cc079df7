"""What crosses to workers and arrives equal, what does not cross, and what cannot be read."""

from __future__ import annotations

import contextlib
import datetime
import enum
import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piped.batons import BatonPath
from piped.document import Secret
from piped.engine import Results
from piped.errors import BatonError
from piped.resources.context import Context
from piped.workers.crossing import MAX_DEPTH, MAX_DIGITS, Crossing, Format
from piped.workers.errors import CannotCross, Garbled
from piped.workers.frames import MAX_PAYLOAD

FORMATS: Final = get_args(Format)

Point = namedtuple("Point", "x y")


class Colour(enum.StrEnum):
    RED = "red"


@pytest.fixture(params=FORMATS)
def crossing(request: pytest.FixtureRequest) -> Crossing:
    return Crossing(request.param)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def plain(*more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(), *more)
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
    )


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal and of the same types, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@given(plain())
def test_plain_data_arrives_equal_as_json(value: Any) -> None:
    crossing = Crossing("json")

    assert same(crossing.decode(crossing.encode(value)), value)


@given(plain(st.binary(), st.just(math.inf)))
def test_plain_data_and_bytes_arrive_equal_as_messagepack(value: Any) -> None:
    crossing = Crossing("msgpack")

    assert same(crossing.decode(crossing.encode(value)), value)


@given(st.binary(), st.sampled_from(FORMATS))
@settings(max_examples=500)
def test_whatever_comes_is_plain_data_or_garbled(data: bytes, format_: Format) -> None:
    crossing = Crossing(format_)

    try:
        value = crossing.decode(data)
    except Garbled:
        return
    assert same(crossing.decode(crossing.encode(value)), value) or value != value


@given(plain(st.binary()), st.data())
def test_messagepack_that_was_changed_on_the_way_is_plain_data_or_garbled(
    value: Any, changes: st.DataObject
) -> None:
    crossing = Crossing("msgpack")
    data = bytearray(crossing.encode(value))
    data[changes.draw(st.integers(0, len(data) - 1))] = changes.draw(st.integers(0, 255))

    with contextlib.suppress(Garbled):
        crossing.encode(crossing.decode(bytes(data)))


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ((1, (2,)), [1, [2]]),
        (Context(a=Context(b=1)), {"a": {"b": 1}}),
        (OrderedDict(a=1), {"a": 1}),
        (Results([1, 2]), [1, 2]),
        ({"-": -0.0}, {"-": -0.0}),
    ],
    ids=["tuples", "contexts", "ordered dicts", "results", "negative zero"],
)
def test_containers_arrive_as_plain_ones(crossing: Crossing, value: Any, arrives: Any) -> None:
    arrived = crossing.decode(crossing.encode(value))

    assert same(arrived, arrives)
    assert repr(arrived) == repr(arrives)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"request": object()}, "request: expected plain data, got object"),
        (object(), "expected plain data, got object"),
        ({"a": [1, {"b": {2}}]}, "a.1.b: expected plain data, got set"),
        ({"at": datetime.datetime.min}, "at: expected plain data, got datetime"),
        ({"password": Secret("x")}, "password: expected plain data, got Secret"),
        ({"path": BatonPath("a.b")}, "path: expected plain data, got BatonPath"),
        ({"colour": Colour.RED}, "colour: expected plain data, got Colour"),
        ({"point": Point(1, 2)}, "point: expected plain data, got Point"),
        ([bytearray(b"x")], "0: expected plain data, got bytearray"),
        ({"a": {1: 2}}, "a: expected text as keys, got int"),
        ({"a": {None: 2}}, "a: expected text as keys, got NoneType"),
        ({Secret("x"): 2}, "expected text as keys, got Secret"),
        ({"a": "x\ud800"}, r"a: expected text, got half a sign, '\ud800'"),
        ({"\udfff": 1}, r"expected text as keys, got half a sign, '\udfff'"),
        ({"\n": {1}}, r"\n: expected plain data, got set"),
        (nested(101), "expected at most 100 lists and dicts one in the other, got more"),
    ],
)
def test_what_does_not_arrive_as_what_it_is_does_not_cross(
    crossing: Crossing, value: Any, what: str
) -> None:
    with pytest.raises(CannotCross) as raised:
        crossing.encode(value)

    assert str(raised.value) == f"cannot cross to a worker: {what}"
    assert isinstance(raised.value, BatonError)
    assert raised.value.http_status == 500


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_does_not_cross_as_json(number: float) -> None:
    for value in ({"a": [1.5, number]}, [number, [1]], {"a": number}):
        with pytest.raises(CannotCross, match=f"expected a number that JSON knows, got {number}"):
            Crossing("json").encode(value)

    assert repr(Crossing("msgpack").decode(Crossing("msgpack").encode(number))) == repr(number)


def test_bytes_cross_as_messagepack_only() -> None:
    what = "cannot cross to a worker: body: expected plain data, got bytes: they cross with"

    with pytest.raises(CannotCross) as raised:
        Crossing("json").encode({"body": b"x"})

    assert str(raised.value) == f"{what} 'format: msgpack'"


@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 10**5000], ids=["64 bits", "-63 bits", "vast"]
)
def test_ints_of_more_than_64_bits_do_not_cross_as_messagepack(number: int) -> None:
    with pytest.raises(CannotCross) as raised:
        Crossing("msgpack").encode({"n": number})

    what = "expected an int of 64 bits, got a longer one"
    assert str(raised.value) == f"cannot cross to a worker: n: {what}"


def test_ints_cross_as_json_up_to_as_many_digits_as_python_reads() -> None:
    crossing = Crossing("json")
    longest = 10**MAX_DIGITS - 1

    assert crossing.decode(crossing.encode(longest)) == longest
    with pytest.raises(CannotCross) as raised:
        crossing.encode({"n": [-longest - 1]})

    what = "n.0: expected an int of at most 4300 digits, got a longer one"
    assert str(raised.value) == f"cannot cross to a worker: {what}"


def test_as_deep_as_may_be_arrives_and_one_deeper_is_not_read(crossing: Crossing) -> None:
    encoder = msgspec.json if crossing.format == "json" else msgspec.msgpack

    assert crossing.decode(crossing.encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(Garbled, match=r"^expected at most 100 lists and dicts one in the other"):
        crossing.decode(encoder.encode(nested(MAX_DEPTH + 1)))


def test_what_contains_itself_does_not_cross(crossing: Crossing) -> None:
    tree: dict[str, Any] = {"children": []}
    tree["children"] = [{"parent": tree}, {"parent": tree}]

    with pytest.raises(CannotCross, match="expected at most 100 lists and dicts one in the other"):
        crossing.encode(tree)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON: input data was truncated"),
        (b"1 2", "not JSON: JSON is malformed: trailing characters (byte 3)"),
        (b"NaN", "not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"1e400", "not JSON: number out of range"),
        (b"1" * 5000, "not JSON: integer value out of range"),
        (
            b"[" * 150 + b"]" * 150,
            "expected at most 100 lists and dicts one in the other, got more",
        ),
    ],
    ids=lambda each: repr(each[:8]),
)
def test_broken_json_is_garbled(data: bytes, what: str) -> None:
    with pytest.raises(Garbled) as raised:
        Crossing("json").decode(data)

    assert str(raised.value) == what


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xd6\xff\0\0\0\0", "expected plain data, got datetime"),
        (b"\x91\xd4\x05\0", "0: expected plain data, got Ext"),
        (b"\x81\x01\x02", "expected text as keys, got int"),
        (b"\x81\x91\x01\x02", "expected text as keys, got tuple"),
        (b"\x81\xc4\x01a\x02", "expected text as keys, got bytes"),
        (b"\xdd\xff\xff\xff\xff", "not MessagePack: input data was truncated"),
        (b"\xa1\xff", "not MessagePack: 'utf-8' codec can't decode byte 0xff in position 0:"),
        (
            b"\x91" * 150 + b"\x01",
            "expected at most 100 lists and dicts one in the other, got more",
        ),
    ],
    ids=lambda each: repr(each[:8]),
)
def test_extensions_and_broken_messagepack_are_garbled(data: bytes, what: str) -> None:
    with pytest.raises(Garbled) as raised:
        Crossing("msgpack").decode(data)

    assert str(raised.value).startswith(what)
    assert raised.value.http_status == 502


@pytest.mark.parametrize(("name", "data"), [("json", b"[" * 50_000), ("msgpack", b"\x91" * 50_000)])
def test_a_bomb_of_brackets_is_garbled(name: Any, data: bytes) -> None:
    with pytest.raises(Garbled):  # how it is told depends on how deep Python goes
        Crossing(name).decode(data)


@pytest.mark.parametrize("make", [list, tuple, Results])
def test_results_of_any_kind_of_list_arrive(
    crossing: Crossing, make: Callable[[list[int]], Any]
) -> None:
    data = crossing.encode(make([1, 2]))

    assert crossing.decode(data) == [1, 2]
    assert repr(crossing) == f"<Crossing in {crossing.format}>"


def test_what_is_too_long_for_a_frame_does_not_cross(crossing: Crossing) -> None:
    longest = "x" * (MAX_PAYLOAD - 5)

    with pytest.raises(CannotCross) as raised:
        crossing.encode(longest + 6 * "x")

    assert len(crossing.encode(longest)) <= MAX_PAYLOAD
    assert str(raised.value).startswith(
        "cannot cross to a worker: expected at most 8323072 bytes, got 83230"
    )
