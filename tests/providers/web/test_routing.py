from __future__ import annotations

import builtins
from typing import Any

import pytest

from piped.providers.web.routing import Router
from piped.spec import dependencies_of
from tests.providers.web.support import Pipeline, make_site, problems_of

ERRORS = [each for each in dir(builtins) if each.endswith(("Error", "Exception"))]


def config(**keys: str) -> dict[str, Any]:
    return {"__config__": {key: f"pipeline.{value}" for key, value in keys.items()}}


TREE: dict[Any, Any] = {
    **config(processor="root"),
    "a": config(processor="a"),
    "nested": {"b": config(processor="b")},
    "rest": {
        **config(no_resource_processor="rest"),
        "own": {**config(processor="own"), "deep": config(no_resource_processor="deep")},
        "empty": {"leaf": config(processor="leaf")},
    },
    "both": config(processor="exact", no_resource_processor="below"),
    7: config(processor="seven"),
    True: config(processor="truth"),
    "ä b": config(processor="umlaut"),
}


NAMES = ["root", "a", "b", "rest", "own", "deep", "leaf", "exact", "below"]
NAMES += ["seven", "truth", "umlaut"]


def router(tree: Any = None) -> Router:
    tree = TREE if tree is None else tree
    site = make_site(tree, {name: Pipeline(lambda request: None) for name in (*NAMES, "x")})
    return Router(site.routing, site.errors, site.deadline)


@pytest.mark.parametrize(
    ("path", "name", "postpath"),
    [
        ("/", "root", []),
        ("/a", "a", []),
        ("/a/", "a", []),
        ("/a/x", None, []),
        ("/a//", None, []),
        ("//a", None, []),
        ("/nope", None, []),
        ("/nested", None, []),
        ("/nested/", None, []),
        ("/nested/b", "b", []),
        ("/rest", "rest", []),
        ("/rest/", "rest", []),
        ("/rest/x", "rest", ["x"]),
        ("/rest/x/y", "rest", ["x", "y"]),
        ("/rest/x/y/", "rest", ["x", "y"]),
        ("/rest/own", "own", []),
        ("/rest/own/x", "rest", ["own", "x"]),
        ("/rest/own/deep", "deep", []),
        ("/rest/own/deep/x", "deep", ["x"]),
        ("/rest/empty", "rest", ["empty"]),
        ("/rest/empty/leaf", "leaf", []),
        ("/rest/empty/no", "rest", ["empty", "no"]),
        ("/both", "exact", []),
        ("/both/x%20y", "below", ["x y"]),
        ("/7", "seven", []),
        ("/true", "truth", []),
        ("/%C3%A4%20b", "umlaut", []),
        ("/%61/", "a", []),
        ("/rest/..", None, []),
        ("/rest/%2e%2e/a", None, []),
        ("/rest/./x", None, []),
        ("/rest/x%2Fy", None, []),
        ("/rest/x%00", None, []),
        ("/nested%2Fb", None, []),
        ("*", None, []),
        ("", None, []),
    ],
)
def test_a_path_leads_to_a_pipeline(path: str, name: str | None, postpath: list[str]) -> None:
    target, rest = router().find(path)

    assert (target and target.pipeline.name) == (f"pipeline.{name}" if name else None)
    assert rest == postpath


def test_a_target_knows_the_way_to_it() -> None:
    target, _ = router().find("/rest/own/deep/x")

    assert target is not None
    assert target.prepath == ("rest", "own", "deep")


def test_errors_and_deadlines_hold_for_what_is_below() -> None:
    tree = {
        "a": {
            "__config__": {"deadline": "2s", "errors": {"ValueError": 400, "KeyError": 404}},
            "b": {"__config__": {"processor": "pipeline.x", "errors": {"ValueError": 422}}},
        }
    }

    target, _ = router(tree).find("/a/b")

    assert target is not None
    assert target.deadline_s == 2
    assert target.errors == {ValueError: 422, KeyError: 404}


def test_the_pipelines_of_a_tree_are_found() -> None:
    site = make_site(TREE, dict.fromkeys(NAMES))

    names = {each.name.removeprefix("pipeline.") for each in dependencies_of(site)}
    assert names == set(NAMES)


@pytest.mark.parametrize(
    ("routing", "problem"),
    [
        (
            {"__config__": {"procesor": "pipeline.a"}},
            "web.site.routing.__config__.procesor: unknown-parameter:"
            " route-config has no parameter 'procesor' (did you mean 'processor'?"
            " known: deadline, errors, no_resource_processor, processor)",
        ),
        (
            {"a": {"__config__": {"static": "files"}}},
            "web.site.routing.a.__config__.static: unknown-parameter:"
            " route-config has no parameter 'static'"
            " (known: deadline, errors, no_resource_processor, processor)",
        ),
        (
            {"a/b/c": {}},
            "web.site.routing.a/b/c: wrong-value: expected one segment of a path, got 'a/b/c'"
            " (nest them: a: {b: {c: ...}})",
        ),
        (
            {"/a": {}},
            "web.site.routing./a: wrong-value: expected one segment of a path, got '/a'",
        ),
        (
            {None: {}},
            "web.site.routing.None: wrong-value: expected one segment of a path, got null",
        ),
        (
            {"a": "pipeline.a"},
            "web.site.routing.a: wrong-value:"
            " expected a mapping of path segments, got 'pipeline.a'",
        ),
        (
            {"a": {"__config__": {"errors": {"ValueEror": 400}}}},
            "web.site.routing.a.__config__: unknown-exception: errors: no module 'ValueEror'"
            " (did you mean 'ValueError'?)",
        ),
        (
            {"__config__": {"errors": {"json.JSONDecodeError": 200}}},
            "web.site.routing.__config__: wrong-value: errors:"
            " expected a status from 400 to 599 for 'json.JSONDecodeError', got 200",
        ),
        (
            {"__config__": {"errors": {"json.dumps": 400}}},
            "web.site.routing.__config__: unknown-exception: errors: 'json.dumps' is no exception",
        ),
    ],
)
def test_what_is_wrong_with_a_tree_is_said(routing: Any, problem: str) -> None:
    assert problems_of(routing=routing) == [problem]


def test_all_problems_of_a_tree_are_found() -> None:
    routing = {"a": 1, "b": {"c": {"__config__": {"x": 1, "y": 2}}}, "ok": {}}

    assert len(problems_of(routing=routing)) == 3
