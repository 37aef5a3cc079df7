"""What is wrong with a route for files is said before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from piped.app import blueprint_of
from piped.blueprint import Blueprint
from piped.errors import Misconfigured
from tests.providers.web.static.support import ask
from tests.providers.web.support import make_site, problems_of

AT = "web.site.routing.__config__"


def problems_with(static: Any, **config: Any) -> list[str]:
    return problems_of(routing={"__config__": {"static": static, **config}})


def test_a_folder_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    assert problems_with(str(tmp_path / "none")) == [
        f"{AT}.static: missing-file: static: no file or folder '{tmp_path}/none'"
    ]
    assert problems_with({"path": str(tmp_path / "none"), "listing": True}) == [
        f"{AT}.static: missing-file: static: no file or folder '{tmp_path}/none'"
    ]


def test_a_pipe_is_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert problems_with(str(tmp_path / "pipe")) == [
        f"{AT}.static: unreadable-file: static: expected a file or a folder, got '{tmp_path}/pipe'"
    ]


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_a_problem(path: str) -> None:
    assert problems_with(path) == [
        f"{AT}.static: wrong-value: static: expected the path of a folder or a file, got {path!r}"
    ]


@pytest.mark.parametrize("index", ["", "..", "a/b.html"])
def test_an_index_is_the_name_of_a_file(tmp_path: Path, index: str) -> None:
    assert problems_with({"path": str(tmp_path), "index": index}) == [
        f"{AT}.static.index: wrong-value: index: expected the name of a file, got {index!r}"
    ]


def test_a_path_does_one_thing(tmp_path: Path) -> None:
    assert problems_with(str(tmp_path), redirect="/new") == [
        f"{AT}: exactly-one: expected one thing that a path does, got 'redirect' and 'static'"
    ]
    assert problems_with(str(tmp_path), no_resource_processor="pipeline.root") == [
        f"{AT}.static: exactly-one: expected one thing that takes what is below,"
        " got 'static' and 'no_resource_processor'"
    ]


def test_an_unknown_option_is_a_problem(tmp_path: Path) -> None:
    assert problems_with({"path": str(tmp_path), "lsiting": True}) == [
        f"{AT}.static.lsiting: unknown-parameter: static has no parameter 'lsiting'"
        " (did you mean 'listing'? known: follow_links, hidden, index, listing, max_age, path)"
    ]


DOCUMENT = """\
web:
  site:
    port: 0
    routing:
      __config__:
        static: {path: %s}
"""


def drawn(folder: Path, path: str) -> Blueprint:
    (folder / "site.yaml").write_text(DOCUMENT % path)
    return blueprint_of(folder / "site.yaml")


@pytest.mark.anyio
async def test_a_path_begins_at_the_folder_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("conf", "conf/public", "here", "here/public", "here/other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")

    roots = []
    for path in ("./public", "other", str(tmp_path), "none"):
        blueprint = drawn(tmp_path / "conf", path)
        roots.append([str(each) for each in blueprint.errors])

    assert roots == [
        [],
        [],
        [],
        [
            f"{tmp_path}/conf/site.yaml:6:17:"
            " error[missing-file]: static: no file or folder 'none'\n"
            "    at: web.site.routing.__config__.static\n"
            f"    why: looked for {tmp_path}/conf/none, {tmp_path}/here/none:"
            " no such file or directory"
        ],
    ]


def test_a_folder_with_the_document_in_it_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    blueprint = drawn(tmp_path, ".")

    assert [str(each) for each in blueprint.problems] == [
        "site.yaml:6:17: warning[public-document]: static: everybody can read 'site.yaml',"
        " which is in '.'\n"
        "    at: web.site.routing.__config__.static\n"
        "    hint: put what is meant for everybody into a folder of its own"
    ]


@pytest.mark.anyio
async def test_a_site_does_not_start_without_its_files(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    site = make_site({"a": {"__config__": {"static": str(tmp_path / "public")}}}, {})
    (tmp_path / "public").rmdir()

    with pytest.raises(Misconfigured) as caught:
        async with site.running():
            pass

    assert str(caught.value) == f"static: no file or folder '{tmp_path}/public'"


@pytest.mark.anyio
async def test_the_short_form_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    answer = await ask({"__config__": {"static": str(tmp_path)}}, "/a.txt")

    assert answer.body == b"a"
