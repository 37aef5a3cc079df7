from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piped.cli.render import rendered
from piped.document import Document, Mapping, parse, plain
from tests.cli.conftest import Invoke, Write


def test_render_prints_the_merged_document(invoke: Invoke, write: Write) -> None:
    write(
        "includes: [more.yaml]\n"
        "web: {site: {port: !env {name: NOPE, default: 8080}}}\n"
        "other: !alias web\n"
    )
    write("web: {site: {port: 1, essential: no}}\n", "more.yaml")

    result = invoke("render", "-O", "other.site.port:8081", "service.yaml")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "web:\n  site:\n    port: 8080\n    essential: 'no'\n"
        "other:\n  site:\n    port: 8081\n    essential: 'no'\n"
    )


def test_render_tells_where_each_value_comes_from(invoke: Invoke, write: Write) -> None:
    write("includes: [more.yaml]\na: [1, {}]\nb: |\n    one\n    two\n")
    write("c: {d: one}\n", "more.yaml")

    result = invoke("render", "--origins", "-O", "c.e:2", "service.yaml")

    assert result.stdout == (
        "c:\n"
        "  d: one  # more.yaml:1:8\n"
        "  e: 2  # -O:1:5\n"
        "a:\n"
        "- 1  # service.yaml:2:5\n"
        "- {}  # service.yaml:2:8\n"
        "b: |  # service.yaml:3:4\n"
        "  one\n"
        "  two\n"
    )


def test_render_shows_no_secret(
    invoke: Invoke, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    write("token: !secret TOKEN\n")

    result = invoke("render", "--origins", "service.yaml")

    assert result.stdout == "token: '***'  # service.yaml:1:8\n"


def test_render_prints_what_could_be_read_beside_the_problems(invoke: Invoke, write: Write) -> None:
    write("a: 1\nb: !env NOPE_NOPE\n")

    result = invoke("render", "service.yaml")

    assert result.exit_code == 1
    assert result.stdout == "a: 1\nb: null\n"
    assert result.stderr.startswith("service.yaml:2:4: error[missing-variable]: ")


def test_render_of_an_empty_document_is_an_empty_mapping(invoke: Invoke, write: Write) -> None:
    write("")

    assert invoke("render", "service.yaml").stdout == "{}\n"


texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]) | st.just("\n"), max_size=20
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@given(st.dictionaries(texts, values, max_size=3))
def test_what_is_rendered_means_the_same(value: dict[str, Any]) -> None:
    root, problems = parse(msgspec.json.encode(value).decode())
    assert isinstance(root, Mapping)
    assert problems == []

    text = rendered(Document(Path("x.yaml"), root, (), ()), origins=True)

    again, problems = parse(text)
    assert problems == []
    assert plain(again) == plain(root)
