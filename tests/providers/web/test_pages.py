from __future__ import annotations

import json

from piped.providers.web.pages import HTML, PROBLEM, page, traceback_page


def test_a_problem_names_the_status_and_the_request() -> None:
    kind, body = page(404, 1 << 62)

    assert kind == PROBLEM
    assert json.loads(body) == {"status": 404, "title": "Not Found", "id": "z1ci99jj7474"}


def test_a_browser_gets_html() -> None:
    kind, body = page(503, 7, "text/HTML;q=0.9")

    assert kind == HTML
    assert b"<title>503 Service Unavailable</title>" in body
    assert b"request 7" in body


def test_a_status_without_a_name_is_an_error() -> None:
    _, body = page(599, 7)

    assert json.loads(body)["title"] == "Error"


def test_a_traceback_cannot_break_out_of_its_page() -> None:
    _, body = traceback_page(500, 7, ValueError("</pre><script> {x} \ud800"))

    assert b"ValueError: &lt;/pre&gt;&lt;script&gt; {x} \\ud800" in body
