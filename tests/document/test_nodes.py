from __future__ import annotations

from piped.document import Mapping, Scalar, Secret, parse, plain


def test_a_node_is_found_by_its_dotted_path() -> None:
    node, _ = parse("a: {b: [1], c: text}")

    assert isinstance(node, Mapping)
    assert node.find("") is node
    found = node.find("a.c")
    assert isinstance(found, Scalar)
    assert found.value == "text"
    for path in ("x", "a.x", "a.c.d", "a.b.c"):
        assert node.find(path) is None


def test_the_plain_value_of_a_node_is_freshly_made() -> None:
    node, _ = parse("a: {b: [1, ~]}")

    assert plain(node) == {"a": {"b": [1, None]}}
    assert plain(node) is not plain(node)


def test_a_secret_is_not_shown() -> None:
    assert repr(Secret("hunter2")) == "***"
    assert Secret("hunter2") == "hunter2"
