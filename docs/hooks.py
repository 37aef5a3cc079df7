"""What the site has beside `docs/`: the examples, and the pages at the root of the repository.

Their places on the site are those that they have in the repository, and `docs/` is its root. A page
links to what is beside it on the disk, as GitHub shows it; here such links are made to lead there
on the site as well.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md")
SUFFIXES = (".jinja", ".json", ".md", ".py", ".yaml")
FENCE = re.compile(r"^```([a-z]*)[^\n]*(\n.*?^```)$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in `docs/`."""
    examples = (each for each in ROOT.glob("examples/**/*") if each.suffix in SUFFIXES)
    for path in [*(ROOT / name for name in BESIDE), *sorted(examples)]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(
    markdown: str,
    page: Page,
    config: MkDocsConfig,  # noqa: ARG001  # mkdocs gives them by name
    files: Files,  # noqa: ARG001
) -> str:
    """Lead the links of a page to where their targets are on the site.

    What a block is to the tests, as in ``yaml fragment``, is nothing to the reader.
    """
    path, start = Path(str(page.file.abs_src_path)), Path(page.file.src_uri).parent
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [relinked(markdown[end : fence.start()], path, start), f"```{fence[1]}{fence[2]}"]
        end = fence.end()
    return "".join([*parts, relinked(markdown[end:], path, start)])


def relinked(text: str, path: Path, start: Path) -> str:
    """Return text with links that fit the site; what leads to a folder is a link no more."""

    def on_the_site(link: re.Match[str]) -> str:
        target = (path.parent / link[2]).resolve()
        if re.match(r"[a-z]+:", link[2]) or not target.is_relative_to(ROOT):
            return link[0]
        if target.is_dir():
            return link[1]
        place = target.relative_to(DOCS if target.is_relative_to(DOCS) else ROOT)
        return f"[{link[1]}]({os.path.relpath(place, start)}{link[3] or ''})"

    return LINK.sub(on_the_site, text)
