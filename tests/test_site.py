"""The site: each page can be reached, links are right, and nothing is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
LOADED_BY_CSS = re.compile(r"(?:url\(|@import\s)\s*['\"]?((?:[a-z]+:)?//[^'\")]*)", re.IGNORECASE)
LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}


class Loads(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if LOADING.get(tag) == name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning, such as one of a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder


def named(nav: Any) -> Iterator[str]:
    """Yield the pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from named(each)


def test_the_navigation_names_every_page_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    pages = [path.relative_to(ROOT / "docs") for path in ROOT.glob("docs/**/*.md")]
    pages += [path.relative_to(ROOT) for path in ROOT.glob("examples/**/README.md")]
    pages += [Path(name) for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    assert sorted(named(nav)) == sorted(path.as_posix() for path in pages)


def test_every_page_is_built(site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}

    assert {"index.html", "reference/processors/index.html", "examples/sum-square/index.html"} <= (
        built
    )
    assert not [*site.rglob("generate.py"), *site.rglob("hooks.py")]


def test_links_lead_to_pages_of_the_site_and_blocks_are_blocks(site: Path) -> None:
    tutorial = (site / "tutorial.html").read_text(encoding="utf-8")
    flow = (site / "reference" / "processors" / "flow.html").read_text(encoding="utf-8")

    assert 'href="examples/sum-square/index.html"' in tutorial
    assert "```" not in flow
    assert 'class="language-yaml highlight"' in flow


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    found = []
    for page in site.rglob("*.html"):
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        found += [(page.name, each) for each in loads.found if ELSEWHERE.match(each)]
    for sheet in site.rglob("*.css"):
        css = sheet.read_text(encoding="utf-8")
        found += [(sheet.name, each) for each in LOADED_BY_CSS.findall(css)]

    assert found == []
