from __future__ import annotations

import datetime
import enum
import io
import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piped.batons import BatonPath
from piped.errors import BatonError
from tests.processors.conftest import Problems, Run, made_of

DIGITS = "9" * 30
LONG = 10**4299


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    RED = "red"


class Money:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __json__(self) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"sum": 385, "square": 3025}, '{"sum":385,"square":3025}'),
        ([1, 2.5, True, None, "é"], '[1,2.5,true,null,"é"]'),
        ((1, [2, (3,)]), "[1,[2,[3]]]"),
        (int(DIGITS), DIGITS),
        (LONG, str(LONG)),
        ({1: "a", 2.5: "b", None: "c", False: "d"}, '{"1":"a","2.5":"b","null":"c","false":"d"}'),
        (datetime.datetime(2026, 1, 31, 23, 59, 58, 9), '"2026-01-31 23:59:58"'),
        ({"day": datetime.date(2026, 1, 31)}, '{"day":"2026-01-31"}'),
        (Path("/a/b"), '"/a/b"'),
        ([BatonPath("a.b"), Colour.RED], '["a.b","red"]'),
        (Money({"cents": [Money(1)]}), '{"cents":[1]}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ([{}, [], ""], '[{},[],""]'),
    ],
)
def test_encode_json_says_what_json_can(run: Run, value: Any, expected: str) -> None:
    assert run("encode-json: {}", value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "cannot encode set as JSON"),
        ({"a": [1, {2}]}, "cannot encode set as JSON at 'a[1]'"),
        ({"a": {"b": b"x"}}, "cannot encode bytes as JSON at 'a.b'"),
        ([object()], "cannot encode object as JSON at '[0]'"),
        ([Money], "cannot encode type as JSON at '[0]'"),
        ({"a": Money(math.nan)}, "cannot encode nan as JSON at 'a'"),
        ([1.5, math.inf], "cannot encode inf as JSON at '[1]'"),
        (-math.inf, "cannot encode -inf as JSON"),
        ({(1, 2): 3}, "cannot encode a key that is tuple as JSON"),
        ({"a": {1: 2, "1": 3}}, "cannot encode two keys '1' as JSON at 'a'"),
        (["\ud800"], "cannot encode as JSON text that is no Unicode: '\\ud800'"),
        ([10**5000], "cannot encode as JSON a whole number of more than 4300 digits"),
    ],
)
def test_encode_json_refuses_what_json_cannot_say(run: Run, value: Any, message: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("encode-json: {}", value)

    assert str(raised.value) == message


def test_encode_json_finds_what_contains_itself(run: Run) -> None:
    baton: dict[str, Any] = {"id": 1}
    baton["pending"] = {"batons": [baton]}

    with pytest.raises(BatonError) as raised:
        run("encode-json: {}", baton)

    assert str(raised.value) == "cannot encode as JSON what contains itself at 'pending.batons[0]'"


def test_encode_json_finds_a_list_that_contains_itself_twice(run: Run) -> None:
    endless: list[Any] = []
    endless += [endless, endless]

    with pytest.raises(BatonError) as raised:
        run("encode-json: {}", endless)

    assert str(raised.value) == "cannot encode as JSON what contains itself at '[0]'"


def test_encode_json_says_again_what_stands_twice(run: Run) -> None:
    twice = [1]

    assert run("encode-json: {}", {"a": twice, "b": [twice]}) == '{"a":[1],"b":[[1]]}'


def test_encode_json_refuses_what_is_nested_so_deep(run: Run) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(BatonError) as raised:
        run("encode-json: {}", nested)

    assert str(raised.value) == "cannot encode as JSON what is nested so deep"


def test_encode_json_lets_the_errors_of_others_pass(run: Run) -> None:
    class Broken:
        def __json__(self) -> Any:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run("encode-json: {}", [Broken()])


def test_encode_json_indents(run: Run) -> None:
    assert run("encode-json: {indent: 2}", {"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'


def test_encode_json_takes_another_encoder(run: Run) -> None:
    assert run("encode-json: {encoder: json.JSONEncoder}", {"a": [1]}) == '{"a": [1]}'
    assert run("encode-json: {encoder: json.JSONEncoder, indent: 1}", [1]) == "[\n 1\n]"
    assert run("encode-json: {encoder: msgspec.json.Encoder}", {"a": [1]}) == '{"a":[1]}'
    assert run("encode-json: {encoder: msgspec.json}", {"a": [1]}) == '{"a":[1]}'


def test_codecs_that_do_not_exist_are_found_before_anything_runs(problems: Problems) -> None:
    assert problems("encode-json: {encoder: json.Encoder}") == [
        "'json.Encoder' cannot be the encoder: 'json' has no 'Encoder'"
    ]
    assert problems("decode-json: {decoder: json.dumps}") == [
        "'json.dumps' cannot be the decoder: it has no decode()"
    ]


@pytest.mark.parametrize(
    "source",
    [
        '{"n": [1]}',
        b'{"n": [1]}',
        bytearray(b'{"n": [1]}'),
        io.StringIO('{"n": [1]}'),
        io.BytesIO(b'{"n": [1]}'),
    ],
)
def test_decode_json_takes_text_bytes_and_files(run: Run, source: Any) -> None:
    assert run("decode-json: {}", source) == {"n": [1]}


@pytest.mark.parametrize("source", ['{"n": [1]}', b'{"n": [1]}'])
def test_decode_json_takes_another_decoder(run: Run, source: Any) -> None:
    assert run("decode-json: {decoder: json.JSONDecoder}", source) == {"n": [1]}


def test_decode_json_keeps_whole_numbers_exact(run: Run) -> None:
    assert run("decode-json: {}", DIGITS) == int(DIGITS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "not JSON: it ends too early at line 1, column 1"),
        ('{"n": 1', "not JSON: it ends too early at line 1, column 8"),
        ('{\n  "é": ?}', "not JSON: invalid character at line 2, column 8"),
        (b'{\n  "n": NaN}', "not JSON: invalid character at line 2, column 8"),
        ('{"n": 1} x', "not JSON: trailing characters at line 1, column 10"),
        ("[" * 100_000, "not JSON that can be read: it is nested too deep"),
        ("1" * 5000, "not JSON that can be read: integer value out of range"),
        (
            b'"\xff"',
            "not JSON: it is not UTF-8"
            " ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)",
        ),
        ({"n": 1}, "expected JSON as text or bytes, got dict"),
        (None, "expected JSON as text or bytes, got NoneType"),
    ],
)
def test_decode_json_tells_where_it_is_no_json(run: Run, source: Any, message: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("decode-json: {}", source)

    assert str(raised.value) == message


def test_decode_json_with_another_decoder_needs_utf8(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("decode-json: {decoder: json.JSONDecoder}", b"\xff")

    assert str(raised.value) == (
        "not JSON: it is not UTF-8"
        " ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"
    )


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
encode = made_of("encode-json: {}", {}).step()
decode = made_of("decode-json: {}", {}).step()


@given(values)
def test_what_is_encoded_can_be_decoded_by_anybody(value: Any) -> None:
    text = encode(value)

    assert json.loads(text) == value
    assert decode(text) == value
