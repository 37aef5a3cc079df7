"""Pages for what goes wrong. They name the status and the request, and never show what is inside.

A browser gets a small page, everybody else ``application/problem+json`` (RFC 9457).
"""

from __future__ import annotations

import html
import traceback
from http import HTTPStatus
from typing import Final

import msgspec

from piped.engine.journey import journey_text

HTML: Final = "text/html; charset=utf-8"
PROBLEM: Final = "application/problem+json"

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{status} {title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 10vh auto; max-width: 40rem;
padding: 0 1rem }} pre {{ overflow: auto; font-size: 13px }} small {{ color: #777 }}</style>
<h1>{title}</h1>
<p>The server answered with status {status}.</p>
{more}<p><small>{id}</small></p>
</html>
"""


def title_of(status: int) -> str:
    """Return the phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def wants_html(accept: str) -> bool:
    """Tell whether a client would rather have HTML than JSON."""
    before, html_type, _ = accept.lower().partition("text/html")
    return bool(html_type) and "json" not in before


def page(status: int, number: int, accept: str = "", title: str = "") -> tuple[str, bytes]:
    """Return the content type and the body of an error page.

    Args:
        status: The status of the answer.
        number: The number of the request; shown as the journey that its lines in the log bear.
        accept: What the client says that it takes.
        title: What it says; the phrase of the status if there is none.
    """
    title = title or title_of(status)
    if wants_html(accept):
        return HTML, _html(status, title, number)
    problem = {"status": status, "title": title, "id": journey_text(number)}
    return PROBLEM, msgspec.json.encode(problem)


def traceback_page(status: int, number: int, error: BaseException) -> tuple[str, bytes]:
    """Return the content type and the body of a page that shows an error with its traceback."""
    lines = "".join(traceback.format_exception(error))
    return HTML, _html(status, title_of(status), number, f"<pre>{html.escape(lines)}</pre>\n")


def _html(status: int, title: str, number: int, more: str = "") -> bytes:
    text = _PAGE.format(
        status=status, title=html.escape(title), id=f"request {journey_text(number)}", more=more
    )
    return text.encode("utf-8", "backslashreplace")
