from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piped.errors import suggest
from piped.providers.web import RouteConfig
from piped.providers.web.routing import Router
from piped.providers.web.targets import PipelineEndpoint, Target
from piped.spec import dependencies_of, spec_of
from tests.providers.web.support import Pipeline, make_site, problems_of

KNOWN = spec_of(RouteConfig).parameters  # type: ignore[union-attr] # it is a part


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


def router(tree: Any = TREE) -> Router:
    site = make_site(tree, defaultdict(lambda: Pipeline(lambda request: None)))
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
    found = router()
    match = found.find(path)

    assert (match and name_of(match.target)) == name
    assert ([] if match is None else match.postpath) == postpath
    assert found.exact.get(path.encode()) in (None, match and (match.target, (*match.prepath,)))


def name_of(target: Target) -> str:
    assert isinstance(target.endpoint, PipelineEndpoint)
    return target.endpoint.pipeline.name.removeprefix("pipeline.")


def test_a_match_knows_the_way_to_it() -> None:
    match = router().find("/rest/own/deep/x")

    assert match is not None
    assert match.prepath == ["rest", "own", "deep"]


def test_errors_and_deadlines_hold_for_what_is_below() -> None:
    tree = {
        "a": {
            "__config__": {"deadline": "2s", "errors": {"ValueError": 400, "KeyError": 404}},
            "b": {"__config__": {"processor": "pipeline.x", "errors": {"ValueError": 422}}},
        }
    }

    match = router(tree).find("/a/b")

    assert match is not None
    assert match.target.deadline_s == 2
    statuses = {kind: answer.status for kind, answer in match.target.errors.items()}
    assert statuses == {ValueError: 422, KeyError: 404}


PATTERNS: dict[Any, Any] = {
    "orders": {
        "{id:int}": {**config(processor="int"), "lines": {"{line}": config(processor="line")}},
        "{weight:float}": config(processor="float"),
        "{key:uuid}": config(processor="uuid"),
        "{name}": {**config(processor="str"), "me": config(processor="of-me")},
        "me": config(processor="me"),
        "{rest:path}": config(processor="path"),
    },
    "files": {"{rest:path}": config(no_resource_processor="files")},
    "{top}": {"{below}": config(no_resource_processor="below")},
}
KEY = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest.mark.parametrize(
    ("path", "name", "params"),
    [
        ("/orders/7", "int", {"id": 7}),
        ("/orders/-7/", "int", {"id": -7}),
        ("/orders/%37", "int", {"id": 7}),
        ("/orders/7/lines/a%20b", "line", {"id": 7, "line": "a b"}),
        ("/orders/7.5", "float", {"weight": 7.5}),
        (f"/orders/{KEY}", "uuid", {"key": UUID(KEY)}),
        (f"/orders/{KEY.upper()}", "uuid", {"key": UUID(KEY)}),
        ("/orders/abc", "str", {"name": "abc"}),
        ("/orders/+7", "str", {"name": "+7"}),
        ("/orders/%D9%A7", "str", {"name": "\u0667"}),
        ("/orders/1e5", "str", {"name": "1e5"}),
        ("/orders/" + "9" * 400, "str", {"name": "9" * 400}),
        ("/orders/me", "me", {}),
        ("/orders/me/me", "of-me", {"name": "me"}),
        ("/orders/7/me", "of-me", {"name": "7"}),
        ("/orders/7/nope", "path", {"rest": "7/nope"}),
        ("/orders/a/b/c/", "path", {"rest": "a/b/c"}),
        ("/orders/a//c", "below", {"top": "orders", "below": "a"}),
        ("/orders", None, None),
        ("/orders/", None, None),
        ("/orders//me", None, None),
        ("/orders/../me", None, None),
        ("/files/a/b", "files", {"rest": "a/b"}),
        ("/files", None, None),
        ("/x/y", "below", {"top": "x", "below": "y"}),
        ("/x/y/z", "below", {"top": "x", "below": "y"}),
        ("/x", None, None),
        ("//y", None, None),
        ("/{top}/{below}", "below", {"top": "{top}", "below": "{below}"}),
    ],
)
def test_a_path_has_parameters(path: str, name: str | None, params: dict[str, Any] | None) -> None:
    match = router(PATTERNS).find(path)

    assert (match and name_of(match.target)) == name
    assert (match and match.params) == params
    if match is not None and params is not None:  # 7 is not 7.0
        assert [*map(type, match.params.values())] == [*map(type, params.values())]


def test_the_rest_of_a_path_is_what_is_beyond_its_node() -> None:
    match = router(PATTERNS).find("/files/a/b")

    assert match is not None
    assert (match.prepath, match.postpath) == (["files"], ["a", "b"])


ROUTER = router(PATTERNS)


@given(st.lists(st.text(st.sampled_from("a7.-%2F/{}é"), max_size=6), max_size=6))
def test_no_path_breaks_the_tree(segments: list[str]) -> None:
    path = "/" + "/".join(segments)

    match = ROUTER.find(path)

    if match is not None:
        sent = [unquote(each) for each in path.removesuffix("/")[1:].split("/")]
        assert [*match.prepath, *match.postpath] == sent


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
            " route-config has no parameter 'procesor' (did you mean 'processor'?)",
        ),
        (
            {"a": {"__config__": {"colour": "red"}}},
            "web.site.routing.a.__config__.colour: unknown-parameter:"
            f" route-config has no parameter 'colour' ({suggest('colour', KNOWN)})",
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
            "web.site.routing.a.__config__.errors.ValueEror: unknown-exception:"
            " errors: no module 'ValueEror'"
            " (did you mean 'ValueError'?)",
        ),
        (
            {"__config__": {"errors": {"json.JSONDecodeError": 200}}},
            "web.site.routing.__config__.errors.json.JSONDecodeError: wrong-value: errors:"
            " expected a status from 400 to 599 for 'json.JSONDecodeError', got 200",
        ),
        (
            {"__config__": {"errors": {"json.dumps": 400}}},
            "web.site.routing.__config__.errors.json.dumps: unknown-exception:"
            " errors: 'json.dumps' is no exception",
        ),
        (
            {"{id:number}": {}},
            "web.site.routing.{id:number}: wrong-value:"
            " expected float, int, path, str, uuid as the kind of 'id', got 'number'",
        ),
        (
            {"{id": {}},
            "web.site.routing.{id: wrong-value:"
            " expected a parameter such as {id} or {id:int}, got '{id'",
        ),
        (
            {"order-{id}": {}},
            "web.site.routing.order-{id}: wrong-value:"
            " expected a parameter such as {id} or {id:int}, got 'order-{id}'",
        ),
        (
            {"{}": {}},
            "web.site.routing.{}: wrong-value: expected a name such as id for a parameter, got ''",
        ),
        (
            {"a": {"{id}": {}, "{name:str}": {}}},
            "web.site.routing.a.{name:str}: ambiguous-route:"
            " '{name:str}' takes the same paths as '{id}'",
        ),
        (
            {7: {}, "7": {}},
            "web.site.routing.7: ambiguous-route: '7' takes the same paths as '7'",
        ),
        (
            {"{id}": {"a": {"{id:int}": {}}}},
            "web.site.routing.{id}.a.{id:int}: wrong-value: the path has a parameter 'id' already",
        ),
        (
            {"{rest:path}": {"a": {}}},
            "web.site.routing.{rest:path}.a: wrong-value:"
            " nothing is left of a path for 'a', below its rest",
        ),
        (
            {"__config__": {"processor": "pipeline.a", "redirect": "/b"}},
            "web.site.routing.__config__: exactly-one:"
            " expected one thing that a path does, got 'processor' and 'redirect'",
        ),
    ],
)
def test_what_is_wrong_with_a_tree_is_said(routing: Any, problem: str) -> None:
    assert problems_of(routing=routing) == [problem]


def test_all_problems_of_a_tree_are_found() -> None:
    routing = {"a": 1, "b": {"c": {"__config__": {"x": 1, "y": 2}}}, "ok": {}}

    assert len(problems_of(routing=routing)) == 3
