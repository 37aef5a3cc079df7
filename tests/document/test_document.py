from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piped.document import Document, Mapping, Node, Scalar, Sequence, load, parse, plain
from tests.document.conftest import Folder, told

TUTORIAL = {
    "queues.yaml": "zmq: {queues: {sum_in: {type: PULL, connects: ['tcp://0.0.0.0:5000']}}}",
    "sum.yaml": "includes:\n    - queues.yaml\nzmq:\n  queues:\n    sum_in: {processor: sum}\n",
    "square.yaml": "includes:\n    - queues.yaml\npipelines: {square: [decode-json]}\n",
}


def test_a_whole_document_is_read(folder: Folder) -> None:
    for name, text in TUTORIAL.items():
        folder.write(name, text)

    document = folder.load(
        "includes: [sum.yaml, square.yaml]\ndone: True\nport: !env {name: PORT, default: 8080}",
        overrides=["port:8081"],
    )

    assert isinstance(document, Document)
    assert [problem.code for problem in document.problems] == ["repeated-include"]
    assert document.file == Path("main.yaml")
    assert plain(document.root) == {
        "zmq": {
            "queues": {
                "sum_in": {
                    "type": "PULL",
                    "connects": ["tcp://0.0.0.0:5000"],
                    "processor": "sum",
                }
            }
        },
        "pipelines": {"square": ["decode-json"]},
        "done": True,
        "port": 8081,
    }


def test_an_empty_file_is_an_empty_mapping(folder: Folder) -> None:
    for text in ("", "# nothing\n", "---\n", "~"):
        document = folder.load(text)

        assert told(document) == []
        assert plain(document.root) == {}
        assert str(document.root.place) == "main.yaml:1:1"


def test_parse_includes_nothing() -> None:
    node, found = parse("includes: [a.yaml]\nx: !env X", "here")

    assert found == []
    assert isinstance(node, Mapping)
    assert plain(node)["includes"] == ["a.yaml"]
    assert str(node.place) == "here:1:1"


def kinds(node: Node) -> set[type]:
    found: set[type] = {type(node)}
    match node:
        case Mapping():
            return found.union(*(kinds(entry.node) for _, entry in node.items()))
        case Sequence():
            return found.union(*map(kinds, node.items))
    return found


def test_only_final_nodes_are_left_whatever_is_wrong(folder: Folder) -> None:
    document = folder.load(
        """\
        a: !alias nope
        b: [!env NOPE, !secret NOPE, !file nope, !pipedpath ../x, !foo bar]
        c: !env {name: NOPE, default: !alias c}
        d: !alias:b {x: !env NOPE}
        e: !alias e
        """
    )

    assert kinds(document.root) == {Mapping, Sequence, Scalar}


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text("abc ", max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_leaves=8,
)
FILES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Merge as the documentation says it: later ones win, mappings merge, the rest is replaced."""
    result: dict[str, Any] = {}
    for value in values:
        for key, new in value.items():
            old = result.get(key)
            if isinstance(old, dict) and isinstance(new, dict):
                new = merged(old, new)
            result[key] = new
    return result


def load_files(**files: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as path:
        for name, content in files.items():
            (Path(path) / f"{name}.yaml").write_text(json.dumps(content))
        document = load(Path(path) / "main.yaml", environment={})
    assert document.problems == ()
    return plain(document.root)


@given(FILES, FILES, FILES, FILES)
def test_merging_is_what_a_naive_merge_of_dicts_is(
    main: dict[str, Any], a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    includes = {"includes": ["a.yaml", "b.yaml", "c.yaml"]}

    found = load_files(main=main | includes, a=a, b=b, c=c)

    assert found == merged(a, b, c, main)


@given(FILES, FILES, FILES, FILES)
def test_it_does_not_matter_how_includes_are_grouped(
    main: dict[str, Any], a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    flat = load_files(main=main | {"includes": ["a.yaml", "b.yaml", "c.yaml"]}, a=a, b=b, c=c)
    left = load_files(
        main=main | {"includes": ["d.yaml", "c.yaml"]},
        a=a,
        b=b,
        c=c,
        d={"includes": ["a.yaml", "b.yaml"]},
    )
    chain = load_files(
        main=main | {"includes": ["c.yaml"]},
        a=a,
        b=b | {"includes": ["a.yaml"]},
        c=c | {"includes": ["b.yaml"]},
    )

    assert flat == left == chain


@given(FILES, FILES, FILES)
def test_mounting_is_including_under_a_path(
    main: dict[str, Any], a: dict[str, Any], b: dict[str, Any]
) -> None:
    includes = {"includes": [{"a.b": "a.yaml", "b": "b.yaml"}, "b.yaml"]}

    with tempfile.TemporaryDirectory() as path:
        for name, content in {"main": main | includes, "a": a, "b": b}.items():
            (Path(path) / f"{name}.yaml").write_text(json.dumps(content))
        document = load(Path(path) / "main.yaml", environment={})

    assert [problem.code for problem in document.problems] == ["repeated-include"]
    assert plain(document.root) == merged({"a": {"b": a}}, {"b": b}, b, main)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)))
def test_no_content_of_a_file_raises(folder: Folder, content: bytes) -> None:
    (folder.path / "main.yaml").write_bytes(content)

    load("main.yaml", environment={})


PIECES = st.sampled_from(
    [
        *("a: ", "b: ", "\n", "  ", "- ", "{", "}", "[", "]", ", ", "1", "x", "&a ", "*a", "<<: "),
        *("includes: ", "main.yaml", "a.b: ", "!alias a", "!alias:b ", "!alias a.b", "!env X"),
        *("!env {name: X, default: ", "!file main.yaml", "!secret X", "!pipedpath ..", "!path "),
        *("!filepath main.yaml", "!alias c", "c: "),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_nothing_like_a_document_raises(folder: Folder, text: str) -> None:
    document = folder.load(text)

    assert kinds(document.root) <= {Mapping, Sequence, Scalar}


@pytest.mark.usefixtures("parser")
def test_both_parsers_read_the_same(folder: Folder) -> None:
    document = folder.load("a: &x {b: [1]}\nc: *x")

    assert told(document) == []
    assert plain(document.root) == {"a": {"b": [1]}, "c": {"b": [1]}}
