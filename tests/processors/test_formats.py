from __future__ import annotations

import base64
import contextlib
import datetime
import gzip
import json
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piped.errors import BatonError, InvalidBaton
from tests.processors.conftest import Problems, Run, decoded, made_of, run_in

FORMATS = ["base64", "csv", "form", "gzip", "json", "msgpack", "text", "yaml"]


def decode(value: Any, name: str, **options: Any) -> Any:
    return run_in(made_of(json.dumps({"decode": {"format": name, **options}}), {}), value)


def encode(value: Any, name: str, **options: Any) -> Any:
    return run_in(made_of(json.dumps({"encode": {"format": name, **options}}), {}), value)


def invalid(value: Any, name: str, **options: Any) -> str:
    with pytest.raises(InvalidBaton) as raised:
        decode(value, name, **options)
    return str(raised.value)


def refused(value: Any, name: str, **options: Any) -> str:
    with pytest.raises(BatonError) as raised:
        encode(value, name, **options)
    assert not isinstance(raised.value, InvalidBaton)
    return str(raised.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [5, None, ["a"]])
def test_decode_takes_text_or_bytes(name: str, value: Any) -> None:
    with pytest.raises(BatonError) as raised:
        decode(value, name)

    kinds = "bytes" if name in ("gzip", "msgpack") else "text or bytes"
    assert str(raised.value) == f"expected {kinds}, got {type(value).__name__}"
    assert not isinstance(raised.value, InvalidBaton)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("base64", b""), ("csv", []), ("form", {}), ("text", ""), ("yaml", None)],
)
def test_what_nothing_means_in_a_format(name: str, expected: Any) -> None:
    assert decode("", name) == expected
    assert decode(b"", name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gzip", "not gzip: it ends too early"),
        ("json", "not JSON: it ends too early at line 1, column 1"),
        ("msgpack", "not MessagePack: it ends too early"),
    ],
)
def test_in_some_formats_nothing_is_no_value(name: str, message: str) -> None:
    assert invalid(b"", name) == message


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("name", FORMATS)
def test_decode_takes_any_bytes(name: str, kind: Any) -> None:
    samples = {"csv": [{"a": "1"}], "form": {"a": "1"}, "gzip": b"a", "base64": b"a"}
    value = samples.get(name, "abc")
    encoded = encode(value, name)

    source = kind(encoded.encode() if isinstance(encoded, str) else encoded)

    assert decode(source, name) == value


def test_invalid_data_is_answered_by_400(run: Run) -> None:
    with pytest.raises(InvalidBaton) as raised:
        run("decode: {format: json, input_path: body}", {"body": "{"})

    assert raised.value.http_status == 400


# options


def test_options_of_other_formats_are_problems(problems: Problems) -> None:
    assert problems("decode: {format: json, delimiter: ';'}") == [
        "the format 'json' has no parameter 'delimiter' (known: none)"
    ]
    assert problems("encode: {format: text, urlsafe: true, header: false}") == [
        "the format 'text' has no parameter 'header' (known: encoding)",
        "the format 'text' has no parameter 'urlsafe' (known: encoding)",
    ]
    [problem] = problems("encode: {format: gzip, max_size: 1MiB}")
    assert problem.startswith("encode has no parameter 'max_size'")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("delimiter: ''", "expected str of length >= 1, got ''"),
        ("delimiter: '\"'", "expected a sign between fields, got '\"'"),
        ("header: []", "expected the names of the columns, got []"),
        ("header: [a, b, a]", "two columns are named 'a'"),
        ("encoding: utf-9", "expected an encoding such as utf8, got 'utf-9'"),
        ("encoding: base64", "expected an encoding such as utf8, got 'base64'"),
    ],
)
def test_wrong_options_are_problems(problems: Problems, options: str, what: str) -> None:
    assert problems(f"decode: {{format: csv, {options}}}") == [what]


def test_problems_of_options_point_at_them() -> None:
    [problem] = decoded("decode:\n  format: csv\n  header: [a, a]\n")[1]

    assert str(problem) == (
        "test.yaml:3:15: error[wrong-value]: two columns are named 'a'\n    at: decode.header[1]"
    )


# csv


def test_csv_is_named_by_its_first_line() -> None:
    assert decode("name,age\r\nAda,36\r\n\r\nBob,\r\n", "csv") == [
        {"name": "Ada", "age": "36"},
        {"name": "Bob", "age": ""},
    ]
    assert decode("name,age\n", "csv") == []


def test_csv_without_names_is_lists_or_gets_names() -> None:
    assert decode("a,b\nc,d", "csv", header=False) == [["a", "b"], ["c", "d"]]
    assert decode("a,b", "csv", header=["x", "y"]) == [{"x": "a", "y": "b"}]


def test_csv_has_delimiters_quotes_and_a_mark_of_unicode() -> None:
    text = '\ufeffa;b\n"1;""2""\n3";é\n'.encode()

    assert decode(text, "csv", delimiter=";") == [{"a": '1;"2"\n3', "b": "é"}]
    assert decode("a\tb\n1\t2", "csv", delimiter="\t") == [{"a": "1", "b": "2"}]
    assert decode("a\né".encode("latin-1"), "csv", encoding="latin-1") == [{"a": "é"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3", "not CSV: expected 2 fields, got 1 at line 3"),
        ("a,b\n1,2,3", "not CSV: expected 2 fields, got 3 at line 2"),
        ("a,b,a\n", "not CSV: two columns are named 'a'"),
        ('a\n"1"2\n', "not CSV: ',' expected after '\"' at line 2"),
        ('a\n"1\n\n', "not CSV: unexpected end of data at line 3"),
        (f"a\n{'x' * 131073}", "not CSV: field larger than field limit (131072) at line 2"),
        (b"a\n\xff", "not text in 'utf-8': byte 0xff at position 2"),
    ],
)
def test_what_is_no_csv_is_told_with_its_line(text: Any, message: str) -> None:
    assert invalid(text, "csv") == message


def test_a_wide_header_is_no_trap() -> None:
    names = [str(n) for n in range(100_000)]

    assert decode(",".join(names), "csv") == []


def test_csv_writes_all_keys_in_the_order_they_are_met() -> None:
    rows = [{"b": 1, "a": None}, {"a": "x", "c": True}]

    assert encode(rows, "csv") == "b,a,c\r\n1,,\r\n,x,true\r\n"
    assert encode(rows, "csv", header=False) == "1,,\r\n,x,true\r\n"
    assert encode(rows, "csv", header=["a", "b", "c"]) == "a,b,c\r\n,1,\r\nx,,true\r\n"
    assert encode([], "csv") == ""
    assert encode([], "csv", header=["a"]) == "a\r\n"


def test_csv_writes_lists() -> None:
    assert encode([[1, "a"], (2, None)], "csv") == "1,a\r\n2,\r\n"
    assert encode([[1, 2]], "csv", header=["a", "b"], delimiter=";") == "a;b\r\n1;2\r\n"
    assert encode([["é"]], "csv", encoding="latin-1") == b"\xe9\r\n"


def test_csv_writes_single_values_as_text() -> None:
    row = [10**30, 0.1, Decimal("1.10"), datetime.date(2026, 1, 31), PurePath("a/b"), float("nan")]

    assert encode([row], "csv") == f"{10**30},0.1,1.10,2026-01-31,a/b,nan\r\n"


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        ({"a": 1}, {}, "expected a list of rows, got dict"),
        ([{"a": 1}, 5], {}, "expected a dict as row 2, got int"),
        ([[1]], {"header": True}, "expected a dict as row 1, got list"),
        ([{"a": []}], {}, "cannot encode list as a field of CSV: row 1, 'a'"),
        ([[b"a"]], {}, "cannot encode bytes as a field of CSV: row 1, 0"),
        ([[1], []], {}, "cannot encode as CSV a row without fields: row 2"),
        ([{}], {}, "cannot encode as CSV a row without fields: row 1"),
        ([{"b": 1}], {"header": ["a"]}, "row 1 has 'b', which is no column of the header"),
        ([[1, 2]], {"header": ["a"]}, "expected 1 fields in row 1, got 2"),
        ([["€"]], {"encoding": "latin-1"}, "cannot encode '€' at position 0 in 'latin-1'"),
        (
            [[10**5000]],
            {},
            "cannot encode a whole number of so many digits as a field of CSV: row 1, 0",
        ),
    ],
)
def test_csv_refuses_what_it_cannot_say(value: Any, options: Any, message: str) -> None:
    assert refused(value, "csv", **options) == message


# yaml


def test_yaml_says_values_by_the_rules_of_1_1() -> None:
    text = "a: [1, 0.5, yes, null, 2026-01-31, =]\nb: &b {c: d}\ne: {<<: *b, f: .nan}\n"

    value = decode(text, "yaml")

    assert value["a"] == [1, 0.5, True, None, datetime.date(2026, 1, 31), "="]
    assert value["e"]["c"] == "d"
    assert value["e"]["f"] != value["e"]["f"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "not YAML: mapping values are not allowed in this context at line 1, column 5"),
        ("a: 1\nb: *c", "not YAML: found undefined alias at line 2, column 4"),
        ("a: 1\na: 2", "not YAML: the key 'a' is there twice at line 2, column 1"),
        ("a: &a [*a]", "not YAML: the anchor 'a' contains itself at line 1, column 8"),
        ("a\n---\nb", "not YAML: but found another document at line 2, column 1"),
        ("? [a]\n: 1", "not YAML: found unhashable key at line 1, column 3"),
        (
            "!!python/object/apply:os.getcwd []",
            "not YAML: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/object/apply:os.getcwd' at line 1, column 1",
        ),
        ("\x00", "not YAML: control characters are not allowed at position 0"),
        ("2026-13-45", "not YAML: a value cannot be read (month must be in 1..12)"),
        ("!!bool x", "not YAML: a value cannot be read ('x')"),
        ("[" * 900, "not YAML: nested deeper than 100 levels at line 1, column 101"),
        (
            "[" + "1," * 100_000 + "]",
            "not YAML: more than 100000 values, aliases counted at line 1, column 200000",
        ),
        (
            "a: 1" + ":1" * 50_000,
            "not YAML: a number of more than 4300 digits at line 1, column 4",
        ),
        (b"\xff", "not text in 'utf-8': byte 0xff at position 0"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: Any, message: str) -> None:
    assert invalid(text, "yaml") == message


def test_a_bomb_of_brackets_does_not_go_off() -> None:
    message = invalid("[" * 50_000, "yaml")

    assert message.startswith("not YAML: nested deeper than 100 levels at line 1, column 1")


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    message = invalid("\n".join(lines), "yaml")

    assert message == "not YAML: more than 100000 values, aliases counted at line 6, column 10"


def test_yaml_writes_plain_values_without_anchors() -> None:
    class Name(str):
        __slots__ = ()

    shared = [1]

    text = encode({"b": shared, "a": shared, "n": Name("no"), "t": (1,), "é": None}, "yaml")

    assert text == "b:\n- 1\na:\n- 1\nn: 'no'\nt:\n- 1\né: null\n"


def test_yaml_refuses_what_it_cannot_say() -> None:
    inside: list[Any] = []
    inside.append(inside)

    assert refused({"a": object()}, "yaml") == "cannot encode object as YAML"
    assert refused(inside, "yaml") == "cannot encode as YAML what is nested so deep"
    assert refused("\ud800", "yaml").startswith("cannot encode as YAML: 'utf-8' codec can't encode")


# json


def test_json_is_exact() -> None:
    assert decode(str(10**30), "json") == 10**30
    assert encode({"n": 10**30}, "json") == f'{{"n":{10**30}}}'
    assert refused([float("nan")], "json") == "cannot encode nan as JSON at '[0]'"
    assert invalid("[NaN]", "json") == "not JSON: invalid character at line 1, column 2"


# msgpack


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\x92\x01", "it ends too early"),
        (b"\x01\x02", "trailing characters at position 1"),
        (b"\x92\xc1", "invalid opcode '\\xc1' at position 1"),
        (b"\xdd\xff\xff\xff\xff", "it ends too early"),
        (b"\x81\x80\x01", "map keys must be hashable at position 3"),
        (
            b"\xa1\xff",
            "text that is not UTF-8"
            " ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)",
        ),
    ],
)
def test_what_is_no_msgpack_is_told_with_its_place(value: bytes, message: str) -> None:
    assert invalid(value, "msgpack") == f"not MessagePack: {message}"


def test_msgpack_takes_bytes_alone() -> None:
    with pytest.raises(BatonError, match=r"^expected bytes, got str$"):
        decode("abc", "msgpack")


def test_msgpack_is_not_nested_without_end() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    assert invalid(b"\x91" * 100_000 + b"\x01", "msgpack") == (
        "not MessagePack that can be read: nested too deep"
    )
    assert refused(nested, "msgpack") == "cannot encode as MessagePack what is nested so deep"


def test_msgpack_refuses_what_it_cannot_say() -> None:
    assert refused(2**64, "msgpack") == (
        "cannot encode as MessagePack a whole number of more than 64 bits"
    )
    assert refused(object(), "msgpack") == (
        "cannot encode as MessagePack: encoding objects of type object is unsupported"
    )


# form


def test_a_form_has_names_once_or_several_times() -> None:
    text = "a=1&b=x+y&b=%C3%A9&c&&=z&d=a%3Db;c"

    assert decode(text, "form") == {"a": "1", "b": ["x y", "é"], "c": "", "": "z", "d": "a=b;c"}


def test_what_is_no_form_is_told() -> None:
    assert invalid("a=%FF", "form") == "not a form: byte 0xff is not UTF-8"
    assert invalid("a&" * 10_000, "form") == "not a form: more than 10000 values"


def test_a_form_writes_single_values() -> None:
    value = {"a": 1, "b": ["x y", "é"], "c": None, "d": True, "e": [], "f": 0.5}

    assert encode(value, "form") == "a=1&b=x+y&b=%C3%A9&c=&d=true&f=0.5"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "expected a dict of names and values, got list"),
        ({"a": {"b": 1}}, "cannot encode dict as a form at 'a'"),
        ({("a",): 1}, "cannot encode tuple as the name of a form"),
    ],
)
def test_a_form_refuses_what_it_cannot_say(value: Any, message: str) -> None:
    assert refused(value, "form") == message


def test_a_form_refuses_half_a_sign() -> None:
    assert refused({"a": "\ud800"}, "form").startswith("cannot encode as a form: 'utf-8' codec")


# base64


def test_base64_has_two_alphabets() -> None:
    assert encode(b"\xfb\xff", "base64") == "+/8="
    assert encode(b"\xfb\xff", "base64", urlsafe=True) == "-_8="
    assert encode("é", "base64") == "w6k="
    assert decode("-_8=", "base64", urlsafe=True) == b"\xfb\xff"
    assert decode("-_8", "base64", urlsafe=True) == b"\xfb\xff"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("+/8", {}, "incorrect padding"),
        ("-_8=", {}, "'-' at position 0"),
        ("+/8=", {"urlsafe": True}, "'+' at position 0"),
        ("YWJj\nYWJj", {}, "'\\n' at position 4"),
        ("YWé=", {}, "'é' at position 2"),
        (b"YW\xff=", {}, "'ÿ' at position 2"),
        ("YQ==YQ==", {}, "excess data after padding"),
        (
            "a",
            {"urlsafe": True},
            "invalid base64-encoded string: number of data characters (1)"
            " cannot be 1 more than a multiple of 4",
        ),
    ],
)
def test_what_is_no_base64_is_told(text: Any, options: Any, message: str) -> None:
    assert invalid(text, "base64", **options) == f"not base64: {message}"


def test_base64_takes_text_or_bytes() -> None:
    assert refused(5, "base64") == "expected text or bytes, got int"
    assert refused("\ud800", "base64") == "cannot encode '\\ud800' at position 0 in 'utf-8'"


# gzip


def test_gzip_has_several_members_and_zeros_behind_them() -> None:
    members = gzip.compress(b"a") + gzip.compress(b"") + b"\0" * 70_000 + gzip.compress(b"b")

    assert decode(members + b"\0" * 512, "gzip") == b"ab"


def test_gzip_is_read_in_pieces() -> None:
    content = bytes(range(256)) * 4096

    assert decode(gzip.compress(content, 0), "gzip") == content


def test_gzip_says_the_same_each_time() -> None:
    assert encode("é", "gzip") == encode("é".encode(), "gzip")


@pytest.mark.parametrize("cut", range(1, len(gzip.compress(b"abc", mtime=0))))
def test_gzip_that_is_cut_is_an_error(cut: int) -> None:
    assert invalid(gzip.compress(b"abc")[:cut], "gzip") == "not gzip: it ends too early"


def test_a_bomb_of_gzip_does_not_go_off() -> None:
    bomb = gzip.compress(bytes(10 << 20))

    assert len(decode(bomb, "gzip")) == 10 << 20
    assert (
        invalid(bomb + gzip.compress(b"a"), "gzip") == "more than 10485760 bytes when decompressed"
    )
    assert invalid(gzip.compress(b"abc"), "gzip", max_size=2) == (
        "more than 2 bytes when decompressed"
    )
    assert decode(gzip.compress(b"abc"), "gzip", max_size=3) == b"abc"


def test_gzip_has_not_any_number_of_members() -> None:
    assert invalid(gzip.compress(b"") * 10_001, "gzip") == (
        "not gzip that can be read: more than 10000 members"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"abc", "incorrect header check"),
        (gzip.compress(b"abc", mtime=0)[:-8] + b"\0" * 8, "incorrect data check"),
        (gzip.compress(b"abc", mtime=0) + b"xy", "incorrect header check"),
    ],
)
def test_what_is_no_gzip_is_told(data: bytes, reason: str) -> None:
    assert invalid(data, "gzip") == f"not gzip: {reason}"


# text


def test_text_is_in_an_encoding() -> None:
    assert encode("é", "text") == b"\xc3\xa9"
    assert encode("é", "text", encoding="latin-1") == b"\xe9"
    assert decode(b"\xe9", "text", encoding="latin-1") == "é"
    assert decode("é", "text") == "é"


def test_what_is_no_text_is_told() -> None:
    assert invalid(b"a\xff", "text") == "not text in 'utf-8': byte 0xff at position 1"
    assert refused(b"a", "text") == "expected text, got bytes"
    assert refused("a€", "text", encoding="latin-1") == (
        "cannot encode '€' at position 1 in 'latin-1'"
    )


# round trips

unicode = st.text(st.characters(exclude_categories=["Cs"]))
names = unicode.filter(bool)
floats = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers() | floats | unicode
trees = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(unicode, inner), max_leaves=20
)
small = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
packed = st.recursive(
    small | unicode | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(unicode | st.integers(0, 9), inner),
    max_leaves=20,
)


@given(st.lists(st.lists(unicode, min_size=1)), st.sampled_from(",;\t|"))
def test_rows_of_csv_come_back(rows: Any, delimiter: str) -> None:
    text = encode(rows, "csv", delimiter=delimiter)

    assert decode(text, "csv", header=False, delimiter=delimiter) == (
        [[cell.removeprefix("\ufeff") if not (i or j) else cell for j, cell in enumerate(row)]
         for i, row in enumerate(rows)]
    )  # fmt: skip


@given(st.lists(unicode, min_size=1, unique=True).flatmap(
    lambda keys: st.lists(st.fixed_dictionaries(dict.fromkeys(keys, unicode)), min_size=1)
))  # fmt: skip
def test_dicts_of_csv_come_back(rows: Any) -> None:
    text = encode(rows, "csv", encoding="utf-8-sig")

    assert decode(text, "csv") == rows


@given(trees)
def test_values_of_json_come_back(value: Any) -> None:
    assert decode(encode(value, "json"), "json") == value


@given(trees)
def test_values_of_yaml_come_back(value: Any) -> None:
    assert decode(encode(value, "yaml"), "yaml") == value


@given(packed)
def test_values_of_msgpack_come_back(value: Any) -> None:
    assert decode(encode(value, "msgpack"), "msgpack") == value


@given(st.dictionaries(unicode, unicode | st.lists(unicode, min_size=2)))
def test_values_of_forms_come_back(value: Any) -> None:
    assert decode(encode(value, "form"), "form") == value


@given(st.binary(), st.booleans())
def test_bytes_of_base64_come_back(value: bytes, urlsafe: bool) -> None:
    text = encode(value, "base64", urlsafe=urlsafe)

    assert decode(text, "base64", urlsafe=urlsafe) == value
    assert text == (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(value).decode()


@given(st.binary())
def test_bytes_of_gzip_come_back(value: bytes) -> None:
    assert decode(encode(value, "gzip"), "gzip") == value


@given(unicode, st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_text_comes_back(value: str, encoding: str) -> None:
    assert decode(encode(value, "text", encoding=encoding), "text", encoding=encoding) == value


@given(st.sampled_from(FORMATS), st.binary() | st.text())
def test_any_input_is_decoded_or_is_an_error_of_batons(name: str, value: Any) -> None:
    with contextlib.suppress(BatonError):
        decode(value, name)


def test_msgpack_of_other_kinds() -> None:
    extension = msgspec.msgpack.Ext(5, b"a")

    assert decode(encode(extension, "msgpack"), "msgpack") == extension
