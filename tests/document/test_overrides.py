from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piped.document import Mapping, Scalar, plain
from tests.document.conftest import Folder, told


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("web.port:8081", {"web": {"port": 8081, "tags": ["a"]}}),
        ("web.port: 8081", {"web": {"port": 8081, "tags": ["a"]}}),
        ("web:5", {"web": 5}),
        ("web:", {"web": None}),
        ("web.tags:[b, c]", {"web": {"port": 1, "tags": ["b", "c"]}}),
        ("web:{k: v}", {"web": {"k": "v"}}),
        ("new.deep.key:5", {"web": {"port": 1, "tags": ["a"]}, "new": {"deep": {"key": 5}}}),
        ("web.host:a:b", {"web": {"port": 1, "tags": ["a"], "host": "a:b"}}),
        ("{web.port: 2, x.y: 3}", {"web": {"port": 2, "tags": ["a"]}, "x": {"y": 3}}),
        ("web.port:'2'", {"web": {"port": "2", "tags": ["a"]}}),
    ],
)
def test_an_override_replaces_what_is_there(
    folder: Folder, override: str, expected: object
) -> None:
    document = folder.load("web: {port: 1, tags: [a]}", overrides=[override])

    assert told(document) == []
    assert plain(document.root) == expected


def test_overrides_are_applied_in_order(folder: Folder) -> None:
    document = folder.load("a: 1", overrides=["a:{b: 2}", "a.c:3", "a.b:4"])

    assert plain(document.root) == {"a": {"b": 4, "c": 3}}


def test_an_empty_parent_is_filled(folder: Folder) -> None:
    document = folder.load("a:\n", overrides=["a.b:1"])

    assert told(document) == []
    assert plain(document.root) == {"a": {"b": 1}}


def test_an_override_beats_includes_and_the_copies_of_aliases(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nx: !alias y\ny: {k: 1}\n", a="z: 1", overrides=["x.k:2", "z:2"]
    )

    assert plain(document.root) == {"x": {"k": 2}, "y": {"k": 1}, "z": 2}


def test_keys_that_contain_dots_are_preferred(folder: Folder) -> None:
    document = folder.load("a: {b.c: {d: 1}, b: {c: 2}}", overrides=["a.b.c:3"])

    assert told(document) == []
    assert plain(document.root) == {"a": {"b.c": 3, "b": {"c": 2}}}


def test_keys_that_are_numbers_are_found(folder: Folder) -> None:
    document = folder.load("codes: {404: {x: 1}}", overrides=["codes.404.x:2", "codes.500:3"])

    assert plain(document.root) == {"codes": {404: {"x": 2}, "500": 3}}


def test_items_of_lists_are_named_as_problems_name_them(folder: Folder) -> None:
    document = folder.load(
        "p: [{a: {b: 1}}, [2, 3]]\nq: {r.s: [4]}",
        overrides=["p[0].a.b:9", "p[1][0]: 8", "p[0].a.c: 7", "q.r.s[0]: 6", "t[x]: 5"],
    )

    assert told(document) == []
    assert plain(document.root) == {
        "p": [{"a": {"b": 9, "c": 7}}, [8, 3]],
        "q": {"r.s": [6]},
        "t[x]": 5,
    }


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("a.b[1]", "expected one of the 1 items at 'a.b', got [1]"),
        ("a.b[0][0]", "expected a list at 'a.b[0]' to override in, got 1"),
        ("a[0]", "expected a list at 'a' to override in, got a mapping"),
        ("c[0].d", "expected a list at 'c' to override in, got nothing"),
    ],
)
def test_items_that_are_not_there_cannot_be_overridden(
    folder: Folder, path: str, what: str
) -> None:
    document = folder.load("a: {b: [1]}", overrides=[f"{path}: 2"])

    assert told(document) == [f"-O:1:1: error[bad-override]: {what}\n    at: {path}"]
    assert plain(document.root) == {"a": {"b": [1]}}


def test_tags_are_allowed(folder: Folder) -> None:
    document = folder.load(
        "a: {k: [1]}",
        overrides=["b:!env PORT", "c:!alias a.k", "d: !alias:a {l: 2}", "e:!path x.y"],
        environment={"PORT": "80"},
    )

    assert told(document) == []
    assert plain(document.root) == {
        "a": {"k": [1]},
        "b": "80",
        "c": [1],
        "d": {"l": 2, "k": [1]},
        "e": "x.y",
    }


def test_a_later_override_reaches_into_the_copy_of_an_alias(folder: Folder) -> None:
    document = folder.load("a: {k: 1, l: 2}", overrides=["b:!alias a", "b.k:3", "a.l:4"])

    assert told(document) == []
    assert plain(document.root) == {"a": {"k": 1, "l": 4}, "b": {"k": 3, "l": 2}}


def test_the_places_are_those_of_the_text_as_it_was_given(folder: Folder) -> None:
    document = folder.load("{}", overrides=["web.port:8080", "x: 1"])

    web = document.root.get("web")
    assert isinstance(web, Mapping)
    port = web.entries["port"]
    assert (str(web.place), str(port.key_place)) == ("-O:1:1", "-O:1:1")
    assert str(port.node.place) == "-O:1:10"
    x = document.root.get("x")
    assert isinstance(x, Scalar)
    assert str(x.place) == "-O:1:4"


@pytest.mark.parametrize("text", ["web", "", "[a]", "- a", "'web:1'"])
def test_an_override_is_a_mapping(folder: Folder, text: str) -> None:
    document = folder.load("a: 1", overrides=[text, "b:2"])

    shown = repr("'web:1'") if text == "'web:1'" else repr(text)
    assert told(document) == [
        "-O:1:1: error[bad-override]: "
        f"invalid override specification: expected 'path:value', got {shown}"
    ]
    assert plain(document.root) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a.b.c:1",
            "-O:1:1: error[bad-override]: expected a mapping at 'a.b' to override in, got a list\n"
            "    at: a.b.c",
        ),
        (
            "a.e.c:1",
            "-O:1:1: error[bad-override]: expected a mapping at 'a.e' to override in, got '!env'\n"
            "    at: a.e.c",
        ),
        (
            "a..b:1",
            "-O:1:1: error[bad-override]: "
            "invalid override specification: expected a dotted path, got 'a..b'",
        ),
        (
            "5:1",
            "-O:1:1: error[bad-override]: "
            "invalid override specification: expected a dotted path, got 5",
        ),
        (
            "includes:[a.yaml]",
            "-O:1:1: error[bad-override]: "
            "includes cannot be overridden: they are read before overrides are applied",
        ),
        (
            "a:{k:v}}",
            "-O:1:8: error[yaml-syntax]: did not find expected key\n"
            "    hint: check the indentation, and that all quotes and brackets are closed",
        ),
        (
            "a:!evn X",
            "-O:1:3: error[unknown-tag]: unknown tag '!evn'\n"
            "    at: a\n"
            "    hint: did you mean '!env'?"
            " known: !alias, !env, !file, !filepath, !path, !pipedpath, !secret",
        ),
        (
            "a:!alias nope",
            "-O:1:3: error[missing-alias-target]: "
            "nothing is at 'nope', where the alias points to\n"
            "    at: a\n"
            "    hint: known: a",
        ),
    ],
)
def test_overrides_that_are_wrong_say_so(folder: Folder, text: str, expected: str) -> None:
    document = folder.load("a: {b: [1], e: !env {name: E, default: 1}}", overrides=[text])

    assert told(document) == [expected]


def test_an_override_has_the_bounds_of_a_file(folder: Folder) -> None:
    path = ".".join("a" * 64)

    document = folder.load("{}", overrides=[f"{path}:[]", f"{path}:1", "x:" + "y" * 1024 * 1024])

    assert [each.code for each in document.problems] == ["too-deep", "bad-override"]
    assert document.problems[1].what == "an override is larger than 1048576 characters"


def test_overrides_of_the_environment_come_first(folder: Folder) -> None:
    document = folder.load(
        "a: 1",
        overrides=["a.b:3"],
        environment={"PIPED_CONFIGURATION_OVERRIDES": json.dumps(["a:{b: 2, c: 2}", "d:[]"])},
    )

    assert told(document) == []
    assert plain(document.root) == {"a": {"b": 3, "c": 2}, "d": []}
    node = document.root.get("d")
    assert node is not None
    assert str(node.place) == "PIPED_CONFIGURATION_OVERRIDES:1:3"


@pytest.mark.parametrize("text", ["a:1", '{"a": 1}', "[1]", "[" * 5000])
def test_overrides_of_the_environment_are_a_json_list(folder: Folder, text: str) -> None:
    document = folder.load("a: 1", environment={"PIPED_CONFIGURATION_OVERRIDES": text})

    shown = repr(text) if len(text) < 60 else f"'{'[' * 56}..."
    assert told(document) == [
        "PIPED_CONFIGURATION_OVERRIDES:1:1: error[bad-override]: "
        f"expected a JSON list of texts in 'PIPED_CONFIGURATION_OVERRIDES', got {shown}\n"
        '    hint: write it like this: ["web.site.port:8080"]'
    ]


PIECES = st.sampled_from(["a", ".", ":", " ", "b", "[", "]", "{", "}", "!env X", "!alias a", "1"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.lists(PIECES).map("".join), st.text()), max_size=3))
def test_no_override_raises(folder: Folder, overrides: list[str]) -> None:
    folder.load("a: {b: 1}", overrides=overrides)
