from __future__ import annotations

import time

import pytest

from piped.document import Mapping, plain
from tests.document.conftest import Folder, told


def test_an_alias_stands_for_a_mapping_a_list_or_a_scalar(folder: Folder) -> None:
    document = folder.load(
        """\
        a: !alias:data.mapping
        b: [!alias data.list]
        c: !alias:data.number
        d: !alias data.nothing
        data: {mapping: {k: {l: 1}}, list: [1, 2], number: 10, nothing: ~}
        """
    )

    assert told(document) == []
    assert plain(document.root) == {
        "a": {"k": {"l": 1}},
        "b": [[1, 2]],
        "c": 10,
        "d": None,
        "data": {"mapping": {"k": {"l": 1}}, "list": [1, 2], "number": 10, "nothing": None},
    }


def test_a_copy_keeps_the_places_of_the_target(folder: Folder) -> None:
    document = folder.load("a: !alias b\nb:\n  k: [1]\n")

    copied, target = document.root.find("a"), document.root.find("b")
    assert isinstance(copied, Mapping)
    assert copied == target
    assert copied is not target
    assert copied.get("k") is not document.root.find("b.k")
    assert str(copied.place) == "main.yaml:3:3"


def test_the_keys_of_the_target_win_over_the_defaults(folder: Folder) -> None:
    document = folder.load(
        """\
        a: !alias:b {k: {x: 1}, extra: !alias n}
        b: {k: {y: 2}, l: 3}
        n: 4
        """
    )

    assert told(document) == []
    assert plain(document.root)["a"] == {"k": {"y": 2}, "extra": 4, "l": 3}


def test_defaults_need_a_mapping_to_complete(folder: Folder) -> None:
    document = folder.load("a: !alias:b {k: 1}\nb: [1]\n")

    assert told(document) == [
        "main.yaml:1:4: error[bad-alias]: expected a mapping at 'b' to complete, got a list\n"
        "    at: a\n"
        "    hint: remove the defaults of the alias"
    ]


def test_an_alias_reaches_across_files_after_they_are_merged(folder: Folder) -> None:
    document = folder.load(
        "includes: [a.yaml]\nx: !alias:data\ndata: {port: 2}", a="data: {port: 1, host: h}"
    )

    assert told(document) == []
    assert plain(document.root)["x"] == {"port": 2, "host": "h"}


def test_an_alias_may_point_to_and_through_other_aliases(folder: Folder) -> None:
    document = folder.load(
        """\
        a: !alias b
        b: !alias c.k
        c: !alias d
        d: {k: {e: !alias f}}
        e: !alias c.k.e.deep
        f: {deep: [1]}
        """
    )

    assert told(document) == []
    assert plain(document.root)["a"] == {"e": {"deep": [1]}}
    assert plain(document.root)["e"] == [1]


def test_an_alias_reaches_keys_that_are_numbers(folder: Folder) -> None:
    document = folder.load("a: !alias codes.404\nb: !alias codes.true\ncodes: {404: x, true: y}")

    assert told(document) == []
    assert plain(document.root)["a"] == "x"
    assert plain(document.root)["b"] == "y"


def test_a_missing_target_is_an_error_with_a_suggestion(folder: Folder) -> None:
    document = folder.load("a: !alias web.sites.port\nweb: {site: {port: 1}}\nc: !alias a.b")

    assert told(document) == [
        "main.yaml:1:4: error[missing-alias-target]: "
        "nothing is at 'web.sites.port', where the alias points to\n"
        "    at: a\n"
        "    hint: did you mean 'web.site'?"
    ]


def test_a_scalar_has_nothing_below_it(folder: Folder) -> None:
    document = folder.load("a: !alias:b.c.d\nb: {c: 5}")

    assert told(document) == [
        "main.yaml:1:4: error[missing-alias-target]: "
        "nothing is at 'b.c.d', where the alias points to\n"
        "    at: a\n"
        "    why: 'b.c' is 5"
    ]


def test_a_number_too_long_to_hold_is_no_key(folder: Folder) -> None:
    document = folder.load(f"a: !alias '{'9' * 5000}'\n")

    assert [problem.code for problem in document.problems] == ["missing-alias-target"]


def test_a_target_that_may_stand_in_a_missing_file_is_not_told(folder: Folder) -> None:
    document = folder.load("includes: [nope.yaml]\na: !alias:b")

    assert [problem.code for problem in document.problems] == ["missing-include"]
    assert plain(document.root) == {"a": None}


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("a: !alias a", "a", "a (main.yaml:1:4) -> a"),
        ("a: !alias a.b", "a.b", "a (main.yaml:1:4) -> a.b"),
        (
            "a: !alias b\nb: !alias c\nc: !alias a",
            "a",
            "a (main.yaml:1:4) -> b (main.yaml:2:4) -> c (main.yaml:3:4) -> a",
        ),
        ("a: {b: [{c: !alias a}]}", "a", "a.b[0].c (main.yaml:1:13) -> a"),
        (
            "x: !alias a\na: {k: !alias b}\nb: {l: !alias a}",
            "a",
            "a.k (main.yaml:2:8) -> b.l (main.yaml:3:8) -> a",
        ),
        (
            "a: !alias:b {k: !alias a}\nb: {}",
            "a",
            "a (main.yaml:1:4) -> a.k (main.yaml:1:17) -> a",
        ),
    ],
)
def test_a_circle_is_an_error_that_shows_the_chain(
    folder: Folder, text: str, what: str, why: str
) -> None:
    document = folder.load(text)

    assert [(each.code, each.what, each.why) for each in document.problems] == [
        ("circular-alias", f"the alias of '{what}' contains itself", why)
    ]


def test_a_long_circle_is_shown_in_short(folder: Folder) -> None:
    document = folder.load("\n".join(f"k{i}: !alias k{(i + 1) % 5000}" for i in range(5000)))

    assert len(document.problems) == 1
    assert document.problems[0].why.endswith("k9 (main.yaml:10:5) -> ... -> k0")


def test_a_long_chain_of_aliases_is_followed(folder: Folder) -> None:
    chain = [f"k{i}: !alias k{i + 1}" for i in range(5000)]

    document = folder.load("\n".join([*chain, "k5000: the end"]))

    assert told(document) == []
    assert set(plain(document.root).values()) == {"the end"}


# Each takes well below a second; a tracer makes it slower, and without bounds it takes hours.
PATIENCE_S = 5

LAUGHS = "a0: {k: [x, x, x, x, x, x, x, x, x, x]}\n" + "\n".join(
    f"a{i}: {{{', '.join(f'k{j}: !alias a{i - 1}' for j in range(10))}}}" for i in range(1, 10)
)
DEEP = "\n".join(f"a{i}: {{x: !alias a{i + 1}}}" for i in range(2_000)) + "\na2000: 1"
CIRCLES = (
    "x: {"
    + ", ".join(f"a{i}: !alias y" for i in range(8_000))
    + "}\ny: {"
    + ", ".join(f"b{i}: !alias x" for i in range(8_000))
    + "}"
)
SELVES = "x: {" + ", ".join(f"a{i}: !alias x" for i in range(8_000)) + "}"
MISSING = "\n".join(f"{i}: !alias n{i}" for i in range(20_000))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(LAUGHS, "too-many-nodes", id="billion laughs"),
        pytest.param(DEEP, "too-deep", id="deep"),
        pytest.param(CIRCLES, "circular-alias", id="circles"),
        pytest.param(SELVES, "circular-alias", id="selves"),
        pytest.param(MISSING, "too-many-problems", id="missing"),
    ],
)
def test_bombs_of_aliases_are_refused_quickly(folder: Folder, text: str, code: str) -> None:
    begin = time.process_time()
    document = folder.load(text)

    assert code in [problem.code for problem in document.problems]
    assert time.process_time() - begin < PATIENCE_S


def test_no_alias_is_left_when_there_are_too_many(folder: Folder) -> None:
    document = folder.load(LAUGHS)

    assert [problem.code for problem in document.problems] == ["too-many-nodes"]
    assert document.problems[0].at == "a4.k5"
    assert plain(document.root)["a9"]["k9"] is None
