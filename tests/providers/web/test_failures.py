from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.web import Request
from tests.providers.web.support import Answer, problems_of, request_bytes, serving

pytestmark = pytest.mark.anyio


def fail(request: Request) -> None:
    raise LookupError("a secret")


async def answered(answer: Any, *headers: str) -> Answer:
    async with serving(fail, errors={"LookupError": answer}) as served:
        client = await served.connect()
        got = await client.get("/", *headers)
        client.close()
    return got


async def test_an_error_may_have_a_title_of_its_own() -> None:
    with capture_logs() as logs:
        got = await answered({"status": 404, "title": "No such <order>"})

    said = json.loads(got.body)
    assert got.headers["content-type"] == "application/problem+json"
    assert (got.status, said["status"], said["title"]) == (404, 404, "No such <order>")
    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert line["error"] == "LookupError: a secret"


async def test_a_browser_is_shown_the_title_in_a_page() -> None:
    got = await answered({"status": 404, "title": "No such <order>"}, "accept: text/html")

    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<h1>No such &lt;order&gt;</h1>" in got.body
    assert b"secret" not in got.body


@pytest.mark.parametrize(
    ("answer", "kind", "body"),
    [
        ({"status": 410, "body": "gone for göod"}, "text/plain; charset=utf-8", "gone for göod"),
        ({"status": 410, "body": ""}, "text/plain; charset=utf-8", ""),
        ({"status": 410, "body": {"code": 7}}, "application/json", '{"code":7}'),
        ({"status": 410, "body": [1]}, "application/json", "[1]"),
        (
            {"status": 410, "body": "<p>gone", "content_type": "text/html"},
            "text/html",
            "<p>gone",
        ),
    ],
)
async def test_an_error_may_have_a_body_of_its_own(answer: Any, kind: str, body: str) -> None:
    got = await answered(answer, "accept: text/html")

    assert (got.status, got.headers["content-type"]) == (410, kind)
    assert got.body.decode() == body
    assert got.headers["cache-control"] == "no-store"


async def test_a_503_of_ones_own_is_answered_as_it_is_written() -> None:
    got = await answered({"status": 503, "title": "Closed on Sundays"})

    assert json.loads(got.body)["title"] == "Closed on Sundays"


async def test_the_nearest_node_and_the_nearest_type_win() -> None:
    routing = {
        "__config__": {"errors": {"Exception": {"status": 400, "title": "above"}}},
        "a": {
            "__config__": {
                "processor": "pipeline.root",
                "errors": {"LookupError": {"status": 404, "title": "here"}, "KeyError": 410},
            }
        },
    }
    async with serving(fail, routing, errors={"LookupError": 422}) as served:
        client = await served.connect()
        got = await client.get("/a")
        client.close()

    assert (got.status, json.loads(got.body)["title"]) == (404, "here")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/json, text/html;q=0.5", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html, application/json;q=0.1", "text/html; charset=utf-8"),
    ],
)
async def test_a_page_is_of_the_kind_that_the_client_would_rather_have(
    accept: str, kind: str
) -> None:
    got = await answered(404, f"accept: {accept}")

    assert got.headers["content-type"] == kind


@pytest.mark.parametrize(
    ("sent", "status", "event"),
    [
        (request_bytes("/nope"), 404, "no such path"),
        (request_bytes("/get", method="POST"), 405, "request failed"),
        (request_bytes("/lost"), 503, "request not served"),
        (request_bytes("/guarded"), 401, "request failed"),
        (request_bytes("/far"), 403, "request failed"),
        (request_bytes("/", method="POST", body="x" * 100), 413, "request refused"),
        (request_bytes("/", f"x: {'x' * 40_000}"), 431, "request refused"),
        (request_bytes("/" + "x" * 10_000), 414, "request refused"),
        (request_bytes("/", "host: y"), 400, "request refused"),
        (request_bytes("/"), 500, "request failed"),
    ],
)
async def test_whatever_goes_wrong_is_a_problem_with_an_id_and_logged(
    sent: bytes, status: int, event: str
) -> None:
    def node(**keys: Any) -> dict[str, Any]:
        return {"__config__": {"processor": "pipeline.root", **keys}}

    routing = {
        **node(),
        "get": node(methods=["GET"]),
        "lost": node(processor="pipeline.lost"),
        "guarded": node(auth={"bearer": "x"}),
        "far": node(auth={"ip_allow": ["10.0.0.1"]}),
    }
    with capture_logs() as logs:
        async with serving(fail, routing, {"lost": None}, max_body=64) as served:
            client = await served.connect()
            await client.send(sent)
            got = await client.answer()
            client.close()

    said = json.loads(got.body)
    assert (got.status, said["status"]) == (status, status)
    assert got.headers["content-type"] == "application/problem+json"
    assert set(said) == {"status", "title", "id"}
    assert said["title"]
    assert event in [each["event"] for each in logs if each["log_level"] != "debug"]


async def test_a_browser_is_shown_a_page_where_its_body_is_too_large() -> None:
    async with serving(max_body=64) as served:
        client = await served.connect()
        await client.send(request_bytes("/", "accept: text/html", method="PUT", body="x" * 100))
        got = await client.answer()
        client.close()

    assert (got.status, got.headers["content-type"]) == (413, "text/html; charset=utf-8")


ERRORS = "web.site.errors"


@pytest.mark.parametrize(
    ("errors", "problem"),
    [
        (
            {"KeyError": {"status": 200}},
            f"{ERRORS}.KeyError: wrong-value: errors:"
            " expected a status from 400 to 599 for 'KeyError', got 200",
        ),
        (
            {"KeyError": {"status": 404, "title": "x", "body": "y"}},
            f"{ERRORS}.KeyError: wrong-value: errors: expected 'title' or 'body', got both",
        ),
        (
            {"KeyError": {"status": 404, "content_type": "text/html"}},
            f"{ERRORS}.KeyError: wrong-value: errors:"
            " expected 'body' beside 'content_type', got none",
        ),
        (
            {"KeyError": {"status": 404, "body": "", "content_type": "a\nb"}},
            f"{ERRORS}.KeyError.content_type: wrong-value: errors:"
            " expected a type such as text/plain, got 'a\\nb'",
        ),
        (
            {"KeyError": {"title": "x"}},
            f"{ERRORS}.KeyError: missing-parameter: error-answer needs the parameter 'status'"
            " (add status: int)",
        ),
        (
            {"KeyError": "404"},
            f"{ERRORS}.KeyError: wrong-value: expected int or mapping, got '404'",
        ),
    ],
)
async def test_what_is_wrong_with_the_answers_of_errors_is_said(errors: Any, problem: str) -> None:
    assert problems_of(routing={}, errors=errors) == [problem]
