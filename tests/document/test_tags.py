from __future__ import annotations

import pytest

from piped.batons import BatonPath
from piped.document import Scalar, parse
from piped.document.pending import Alias, Outside


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text)[1]]


@pytest.mark.parametrize(
    ("text", "path"),
    [("!path a.b", "a.b"), ("!path", ""), ("!path ''", ""), ("!path 12", "12")],
)
def test_path_points_into_the_baton(text: str, path: str) -> None:
    node, found = parse(text)

    assert found == []
    assert isinstance(node, Scalar)
    assert isinstance(node.value, BatonPath)
    assert node.value == path


def test_an_alias_may_have_two_forms() -> None:
    for text in ("!alias:a.b_c-d", "!alias a.b_c-d"):
        node, found = parse(text)

        assert found == []
        assert isinstance(node, Alias)
        assert node.value == "a.b_c-d"
        assert node.defaults is None


def test_values_from_outside_wait() -> None:
    for text, name in (("!env A", "A"), ("!env {name: A}", "A"), ("!file a/b", "a/b")):
        node, found = parse(text)

        assert found == []
        assert isinstance(node, Outside)
        assert node.value == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!path [a]", "1:1: error[bad-tag]: expected a path after '!path', got a list"),
        ("!alias", "1:1: error[bad-tag]: expected a dotted path after '!alias', got ''"),
        (
            "!alias {a: 1}",
            "1:1: error[bad-tag]: expected a dotted path after '!alias', got a mapping\n"
            "    hint: defaults are written with the other form: !alias:dotted.path {key: value}",
        ),
        (
            "!alias: x",
            "1:1: error[bad-tag]: expected a dotted path after the colon of '!alias:'",
        ),
        (
            "!alias:a b",
            "1:1: error[bad-tag]: expected nothing or a mapping of defaults after '!alias:a', "
            "got 'b'",
        ),
        ("!env", "1:1: error[bad-tag]: expected the name of a variable after '!env', got ''"),
        (
            "!env [A]",
            "1:1: error[bad-tag]: expected the name of a variable after '!env', got a list",
        ),
        (
            "!env {nme: A}",
            "1:7: error[bad-tag]: '!env' has no option 'nme'\n"
            "    hint: did you mean 'name'? known: default, name",
        ),
        (
            "!env {default: 1}",
            "1:1: error[bad-tag]: '!env' needs the option 'name'\n"
            "    hint: write !env {name: PORT, default: 8080}",
        ),
        (
            "!env {name: 5}",
            "1:13: error[bad-tag]: expected the name of a variable after '!env {name:', got 5",
        ),
        (
            "!env {name: !env A}",
            "1:13: error[bad-tag]: expected the name of a variable after '!env {name:', got '!env'",
        ),
        ("!file", "1:1: error[bad-tag]: expected a path after '!file', got ''"),
        ("!filepath {}", "1:1: error[bad-tag]: expected a path after '!filepath', got a mapping"),
        ("!secret []", "1:1: error[bad-tag]: expected a name after '!secret', got a list"),
        (
            "!secret ../shadow",
            "1:1: error[bad-tag]: expected a name that is no path after '!secret', "
            "got '../shadow'\n"
            "    hint: the folder is set by PIPED_SECRETS",
        ),
        (
            "!secret ..",
            "1:1: error[bad-tag]: expected a name that is no path after '!secret', got '..'\n"
            "    hint: the folder is set by PIPED_SECRETS",
        ),
        (
            "!evn A",
            "1:1: error[unknown-tag]: unknown tag '!evn'\n"
            "    hint: did you mean '!env'?"
            " known: !alias, !env, !file, !filepath, !path, !pipedpath, !secret",
        ),
        (
            "!python/name:os.system x",
            "1:1: error[unknown-tag]: unknown tag '!python/name:os.system'\n"
            "    hint: known: !alias, !env, !file, !filepath, !path, !pipedpath, !secret",
        ),
        (
            "!!python/object/apply:os.system [id]",
            "1:1: error[unknown-tag]: unknown tag '!!python/object/apply:os.system'\n"
            "    hint: known: !!bool, !!float, !!int, !!map, !!null, !!seq, !!str",
        ),
        (
            "!!binary aGk=",
            "1:1: error[unknown-tag]: unknown tag '!!binary'\n"
            "    hint: known: !!bool, !!float, !!int, !!map, !!null, !!seq, !!str",
        ),
        (
            "!!set {a}",
            "1:1: error[unknown-tag]: unknown tag '!!set'\n"
            "    hint: known: !!bool, !!float, !!int, !!map, !!null, !!seq, !!str",
        ),
    ],
)
def test_tags_that_are_wrong_say_so(text: str, expected: str) -> None:
    assert problems(text) == [f"<text>:{expected}"]


def test_a_wrong_tag_is_told_with_its_path() -> None:
    assert problems("web: {site: [{port: !evn PORT}]}") == [
        "<text>:1:21: error[unknown-tag]: unknown tag '!evn'\n"
        "    at: web.site[0].port\n"
        "    hint: did you mean '!env'?"
        " known: !alias, !env, !file, !filepath, !path, !pipedpath, !secret"
    ]
