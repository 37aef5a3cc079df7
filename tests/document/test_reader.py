from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piped.document import Mapping, Node, Scalar, Sequence, parse, plain
from piped.document.report import MAX_NODES
from piped.errors import Place

pytestmark = pytest.mark.usefixtures("parser")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text)[1]]


def places(node: Node) -> object:
    """Return the places of a node in its own shape."""
    match node:
        case Mapping():
            return {
                f"{key}@{entry.key_place.line}:{entry.key_place.column}": places(entry.node)
                for key, entry in node.items()
            }
        case Sequence():
            return [places(item) for item in node.items]
    return f"{node.place.line}:{node.place.column}"


def test_every_key_and_value_has_its_place() -> None:
    node, found = parse("web:\n  site: {port: 8080}\n  hosts:\n    - a\n    - |\n      b\n")

    assert found == []
    assert places(node) == {
        "web@1:1": {
            "site@2:3": {"port@2:10": "2:16"},
            "hosts@3:3": ["4:7", "5:7"],
        }
    }


def test_columns_count_characters() -> None:
    node, _ = parse("{å: 1, 𝄞: 2}")

    assert places(node) == {"å@1:2": "1:5", "𝄞@1:8": "1:11"}


def test_keys_may_be_text_numbers_and_truths() -> None:
    node, found = parse("{a: 1, 404: 2, 1.5: 3, true: 4, '': 5}")

    assert found == []
    assert plain(node) == {"a": 1, 404: 2, 1.5: 3, True: 4, "": 5}


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("? [a]\n: 1", "a list"),
        ("? {a: b}\n: 1", "a mapping"),
        ("~: 1", "nothing"),
        ("!path a: 1", "'!path'"),
        ("!env a: 1", "'!env'"),
        ("!alias a: 1", "'!alias'"),
    ],
)
def test_other_keys_are_errors_and_their_values_are_dropped(text: str, got: str) -> None:
    node, found = parse(f"{text}\nb: 2")

    assert [problem.what for problem in found] == [
        f"expected text, a number or a truth as a key, got {got}"
    ]
    assert [problem.code for problem in found] == ["bad-key"]
    assert plain(node) == {"b": 2}


def test_a_duplicate_key_names_both_lines_and_the_first_one_counts() -> None:
    node, found = parse("web:\n  port: 1\n  host: a\n  port: {deep: [1, 2]}\n")

    assert list(map(str, found)) == [
        "<text>:4:3: error[duplicate-key]: the key 'port' is written in lines 2 and 4\n"
        "    at: web.port\n"
        "    hint: remove one of them"
    ]
    assert plain(node) == {"web": {"port": 1, "host": "a"}}


def test_a_duplicate_key_may_stand_in_one_line() -> None:
    assert problems("{a: 1, a: 2}") == [
        "<text>:1:8: error[duplicate-key]: the key 'a' is written twice in line 1\n"
        "    at: a\n"
        "    hint: remove one of them"
    ]


def test_an_alias_gives_each_place_its_own_copy() -> None:
    node, found = parse("a: &x {b: [1]}\nc: *x\n")

    assert found == []
    assert plain(node) == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert places(node) == {"a@1:1": {"b@1:8": ["1:12"]}, "c@2:1": {"b@1:8": ["1:12"]}}
    assert isinstance(node, Mapping)
    assert node.find("a.b") is not node.find("c.b")


def test_what_waits_is_copied_whole() -> None:
    node, found = parse(
        "a: &a !alias:x {k: 1}\n"
        "b: &b !env {name: X, default: [1]}\n"
        "c: &c !alias x\n"
        "d: &d !env X\n"
        "e: [*a, *b, *c, *d]"
    )

    assert found == []
    assert isinstance(node, Mapping)
    copies = node.get("e")
    assert isinstance(copies, Sequence)
    assert copies.items == [node.get(name) for name in "abcd"]
    assert all(copy is not node.get(name) for copy, name in zip(copies.items, "abcd", strict=True))


def test_an_alias_may_be_a_key() -> None:
    node, found = parse("- &x a\n- *x : 1")

    assert found == []
    assert plain(node) == ["a", {"a": 1}]
    assert places(node) == ["1:3", {"a@2:3": "2:8"}]


def test_an_anchor_can_be_set_again() -> None:
    node, _ = parse("[&x 1, *x, &x 2, *x]")

    assert plain(node) == [1, 1, 2, 2]


def test_an_unknown_anchor_is_an_error() -> None:
    assert problems("a: &first 1\nb: *frist") == [
        "<text>:2:4: error[unknown-anchor]: unknown anchor 'frist'\n"
        "    at: b\n"
        "    hint: did you mean 'first'?"
    ]
    assert problems("files: *py") == [
        "<text>:1:8: error[unknown-anchor]: unknown anchor 'py'\n"
        "    at: files\n"
        "    hint: put text that begins with '*' in quotes"
    ]


@pytest.mark.parametrize("text", ["&a [*a, *a]", "&a {b: {c: *a}}", "&a [&b [*a]]"])
def test_an_anchor_that_contains_itself_is_an_error(text: str) -> None:
    _, found = parse(text)

    assert [(each.code, each.what) for each in found] == [
        ("recursive-anchor", "the anchor 'a' contains itself")
    ]


def test_merged_keys_yield_to_the_keys_of_the_mapping() -> None:
    node, found = parse(
        "one: &one {a: 1, b: 1}\n"
        "two: &two {b: 2, c: 2}\n"
        "x: {a: 9, <<: *one}\n"
        "y: {<<: [*one, *two], c: 9}\n"
        "z: {<<: {a: 5}}\n"
    )

    assert found == []
    assert isinstance(node, Mapping)
    assert plain(node)["x"] == {"a": 9, "b": 1}
    assert plain(node)["y"] == {"a": 1, "b": 1, "c": 9}
    assert plain(node)["z"] == {"a": 5}


def test_a_mapping_merges_once() -> None:
    node, found = parse("one: &one {a: 1}\ntwo: {<<: *one, b: 2, <<: {c: 3}}")

    assert list(map(str, found)) == [
        "<text>:2:23: error[duplicate-key]: the key '<<' is written twice in line 2\n"
        "    at: two.<<\n"
        "    hint: remove one of them"
    ]
    assert plain(node) == {"one": {"a": 1}, "two": {"a": 1, "b": 2}}


def test_only_mappings_merge() -> None:
    assert problems("a: {<<: [{b: 1}, text, !env X]}") == [
        "<text>:1:18: error[bad-merge-key]: expected a mapping after '<<', got 'text'\n"
        "    at: a.<<",
        "<text>:1:24: error[bad-merge-key]: expected a mapping after '<<', got '!env'\n"
        "    at: a.<<",
    ]


def test_the_merge_key_is_text_elsewhere() -> None:
    node, found = parse("- '<<': 1\n- <<\n- [<<]")

    assert found == []
    assert plain(node) == [{"<<": 1}, "<<", ["<<"]]


def test_one_file_holds_one_document() -> None:
    node, found = parse("---\na: 1\n---\nb: 2\n---\nc: 3")

    assert list(map(str, found)) == [
        "<text>:3:1: error[several-documents]: expected one document in a file, got a second one\n"
        "    hint: remove the second '---'"
    ]
    assert plain(node) == {"a": 1}


def test_the_end_of_a_document_may_be_marked() -> None:
    assert problems("%YAML 1.2\n---\na: 1\n...\n") == []


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_sixty_four_levels_are_deep_enough() -> None:
    assert problems(nested(64)) == []
    assert [each.split("\n")[0] for each in problems(nested(65))] == [
        "<text>:1:65: error[too-deep]: nested deeper than 64 levels"
    ]


def test_aliases_count_for_the_depth() -> None:
    chain = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 64)]

    assert problems("\n".join(chain[:63])) == []
    assert [each.split("\n")[0] for each in problems("\n".join(chain))] == [
        "<text>:64:12: error[too-deep]: nested deeper than 64 levels"
    ]


# Each takes well below a second; a tracer makes it slower, and without bounds it takes hours.
PATIENCE_S = 5

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "\n".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
TOO_MANY = (
    "error[too-many-nodes]: the document has more than 100000 nodes, aliases included",
    "    hint: split the service, or keep its data outside the document",
)


@pytest.mark.parametrize(
    ("bomb", "code"),
    [
        pytest.param(LAUGHS, "too-many-nodes", id="billion laughs"),
        pytest.param(MERGES, "too-many-nodes", id="merge keys"),
        pytest.param("&a [" + "*a," * 50_000 + "]", "recursive-anchor", id="recursive"),
        pytest.param("[" * 50_000, "too-deep", id="brackets"),
        pytest.param("{a: " * 50_000, "too-deep", id="braces"),
        pytest.param("- " * 50_000, "too-deep", id="dashes"),
        pytest.param("? " * 50_000, "too-deep", id="question marks"),
        pytest.param("a: &a x\nb: [" + "*b," * 50_000, "too-many-problems", id="unknown anchors"),
        pytest.param("a: &x !y z\n" * 5_000, "too-many-problems", id="duplicates"),
    ],
)
def test_bombs_are_refused_quickly(bomb: str, code: str) -> None:
    begin = time.process_time()
    _, found = parse(bomb)

    assert code in [each.code for each in found]
    assert time.process_time() - begin < PATIENCE_S


def test_too_many_nodes_are_told_once_and_where() -> None:
    found = problems(LAUGHS)

    assert len(found) == 1
    what, at, hint = found[0].split("\n")
    assert what == f"<text>:6:8: {TOO_MANY[0]}"
    assert (at, hint) == ("    at: f[0]", TOO_MANY[1])


def test_a_document_of_the_greatest_size_is_read() -> None:
    items = MAX_NODES - 1
    node, found = parse("[" + "1," * items + "]")

    assert found == []
    assert isinstance(node, Sequence)
    assert len(node.items) == items


def test_too_many_problems_end_the_reading() -> None:
    text = "\n".join("a: 1" for _ in range(300))
    _, found = parse(text)

    assert len(found) == 201
    assert str(found[-1]) == (
        "<text>:202:1: error[too-many-problems]: "
        "more than 200 problems; the rest of them is not shown"
    )


def test_long_names_are_shortened_in_messages() -> None:
    name = "x" * 500
    _, found = parse(f"{name}: &a{name} 1\n{name}: *b{name}")

    assert [len(each.what) < 120 and len(each.at) < 120 for each in found] == [True, True]


FOR_EACH_PARSER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@FOR_EACH_PARSER
@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    parse(text)


PIECES = st.sampled_from(
    [
        *"-?:,[]{}#&*!|>'\"%@`\t\n\\ ~<=.0a",
        *("\n  ", "\n- ", ": ", "<<: ", "*a", "&a ", "---", "...", "!env ", "!alias:a ", "!!int "),
        *("!path", '"\\ud800"', '"\\U00110000"', "%YAML 1.2\n", "\x00", "\ufeff", "\x85", "\u2028"),
        *("\ud800", "{a: ", "0x", "1e", "!<", "!e!x ", "%TAG !e! !\n", "1e999", "!secret "),
    ]
)


@FOR_EACH_PARSER
@given(st.lists(PIECES, max_size=30).map("".join))
def test_anything_like_yaml_is_read_without_an_exception(text: str) -> None:
    parse(text)


def test_a_text_knows_where_its_first_sign_stands() -> None:
    text = "plain: a\nquoted: 'b'\nblock: |\n\n    c\n"

    root, _ = parse(text, "x.yaml")

    assert isinstance(root, Mapping)
    contents = [entry.node.content for _, entry in root.items() if isinstance(entry.node, Scalar)]
    assert contents == [None, Place("x.yaml", 2, 10), Place("x.yaml", 4, 5)]
