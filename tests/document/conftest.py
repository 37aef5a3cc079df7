"""What the tests of documents share: a folder with files in it, and both of PyYAML's parsers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from piped.document import Document, load, reader

PARSERS = ["CSafeLoader", "SafeLoader"]


class Folder:
    """A working directory: write files into it, and load the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")

    def load(
        self,
        *texts: str,
        overrides: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        **files: str,
    ) -> Document:
        """Load ``main.yaml``, the one text given; ``a="..."`` writes ``a.yaml`` beside it."""
        for text in texts:
            self.write("main.yaml", text)
        for name, text in files.items():
            self.write(f"{name}.yaml", text)
        return load("main.yaml", overrides, environment=environment or {})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with each of PyYAML's parsers."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(reader, "LOADER", getattr(yaml, request.param))
    return str(request.param)


def told(document: Document) -> list[str]:
    """Return the texts of all problems of a document."""
    return [str(problem) for problem in document.problems]
