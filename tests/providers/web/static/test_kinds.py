"""The type of a file by its name."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import pytest

from tests.providers.web.static.support import ask, routing_of, write

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("A.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.min.js.map", "application/json"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.jpeg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.ico", "image/vnd.microsoft.icon"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.pdf", "application/pdf"),
        ("a.xml", "application/xml"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.mp4", "video/mp4"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/octet-stream"),
        ("a.unheard", "application/octet-stream"),
        ("html", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        (".html", "application/octet-stream"),
    ],
)
async def test_the_end_of_a_name_tells_the_type(tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path / name, b"<h1>")

    answer = await ask(routing_of(tmp_path, hidden=True), f"/{name}")

    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_no_table_of_the_machine_says_another_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".unheard", "text/html")
    write(tmp_path / "a.unheard", b"<script>")

    answer = await ask(routing_of(tmp_path), "/a.unheard")

    assert answer.headers["content-type"] == "application/octet-stream"
