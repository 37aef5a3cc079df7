"""What a document says of mounted applications, and what is wrong with it."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest

from piped.app import blueprint_of
from piped.chart import chart_of
from tests.providers.web.asgi.support import Receive, Scope, Send, module

DOCUMENT = """\
web:
  site:
    port: 0
    routing:
      api:
        __config__: {node}
"""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do nothing."""


class Callable:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""


class Awaitable:
    """An application as Starlette's endpoints are: an object for each request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


def make() -> Any:
    raise AssertionError("nobody calls it to check a document")


SHOP = {
    "app": app,
    "applications": ("app",),
    "make": make,
    "wsgi": wsgi,
    "Nested": type("Nested", (), {"inner": Callable()}),
    "Awaitable": Awaitable,
    "partial": functools.partial(app),
}


def problems_of(tmp_path: Path, node: str, **options: Any) -> list[str]:
    file = tmp_path / "service.yaml"
    file.write_text(DOCUMENT.replace("{node}", node))
    with module(**SHOP):
        problems = blueprint_of(file, **options).problems
    return [
        str(each).partition("service.yaml:")[2].replace("    at: web.site.routing.api.", "at: ")
        for each in problems
    ]


@pytest.mark.parametrize(
    "node",
    [
        "{asgi: 'shop:app'}",
        "{asgi: 'shop:Nested.inner'}",
        "{asgi: 'shop:Awaitable'}",
        "{asgi: 'shop:partial'}",
        "{asgi: {app: 'shop:make', factory: true}}",
        "{asgi: {app: 'shop:app', max_message: 4KiB, startup_timeout: 10s}}",
        "{asgi: 'shop:app', methods: [GET], deadline: 3s, max_body: 10KiB}",
        "{asgi: 'shop:app', redirect: /docs}",
    ],
)
def test_an_application_is_named_by_its_module_and_its_name(tmp_path: Path, node: str) -> None:
    assert problems_of(tmp_path, node) == []


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (
            "{asgi: shop}",
            "6:28: error[wrong-value]: asgi: expected an application such as module:name,"
            " got 'shop'",
        ),
        (
            "{asgi: 'shop:ap'}",
            "6:28: error[unknown-application]: asgi: 'shop' has no 'ap'\n"
            "at: __config__.asgi\n    hint: did you mean 'app'?",
        ),
        (
            "{asgi: 'shop:zzz'}",
            "6:28: error[unknown-application]: asgi: 'shop' has no 'zzz'\nat: __config__.asgi",
        ),
        (
            "{asgi: 'email.mim.text:app'}",
            "6:28: error[unknown-application]: asgi: 'email' has no 'mim'\nat: __config__.asgi\n"
            "    hint: did you mean 'email.mime'?",
        ),
        (
            "{asgi: {app: 'shop:applications'}}",
            "6:28: error[wrong-value]: asgi: expected an ASGI application at 'shop:applications',"
            " got tuple",
        ),
        (
            "{asgi: 'shop:make'}",
            "6:28: error[wrong-value]: asgi: expected an ASGI application at 'shop:make',"
            " got make() -> 'Any'\nat: __config__.asgi\n"
            "    hint: say factory: true if it returns the application",
        ),
        (
            "{asgi: 'shop:wsgi'}",
            "6:28: error[wrong-value]: asgi: expected an ASGI application at 'shop:wsgi',"
            " got wsgi(environ: 'dict[str, Any]', start_response: 'Any') -> 'list[bytes]'",
        ),
        (
            "{asgi: {app: 'shop:wsgi', factory: true}}",
            "6:28: error[wrong-value]: asgi: expected a function without parameters at"
            " 'shop:wsgi', got wsgi(environ: 'dict[str, Any]', start_response: 'Any')"
            " -> 'list[bytes]'",
        ),
        (
            "{asgi: 'shop:app', no_resource_processor: pipeline.other}",
            "6:21: error[exactly-one]: expected one thing that takes all below,"
            " got 'no_resource_processor' and 'asgi'",
        ),
        (
            "{asgi: 'shop:app', static: .}",
            "6:21: error[exactly-one]: expected one thing that takes all below,"
            " got 'asgi' and 'static'",
        ),
    ],
)
def test_what_is_no_application_is_told_of(tmp_path: Path, node: str, problem: str) -> None:
    told = problems_of(tmp_path, node)

    assert told[0].startswith(problem), told


def test_a_module_that_is_not_there_has_a_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "piped_test_orders.py").write_text("app = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert problems_of(tmp_path, "{asgi: 'piped_test_order:app'}") == [
        "6:28: error[unknown-application]: asgi: no module 'piped_test_order'\n"
        "at: __config__.asgi\n    hint: did you mean 'piped_test_orders'?"
    ]


def test_a_module_that_breaks_is_told_of_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "piped_test_broken.py").write_text("\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert problems_of(tmp_path, "{asgi: 'piped_test_broken:app'}") == [
        "6:28: error[cannot-import]: asgi: cannot import 'piped_test_broken':"
        " ZeroDivisionError: division by zero (piped_test_broken.py:2)\nat: __config__.asgi"
    ]


def test_nothing_is_imported_that_must_not_be(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "{asgi: 'shop:ap'}", may_import=False) == []
    assert problems_of(tmp_path, "{asgi: 'no_such_module:app'}", may_import=False) == []


def test_a_chart_shows_what_a_path_leads_to(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(DOCUMENT.replace("{node}", "{asgi: 'shop:app'}"))
    with module(**SHOP):
        chart = chart_of(blueprint_of(file))

    assert [(box.kind, box.label) for box in chart.others] == [
        ("source", "web.site.routing.api"),
        ("resource", "asgi.shop:app"),
    ]
