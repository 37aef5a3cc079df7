"""A folder with files, all of them changed at one time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.providers.web.static.support import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "public"
    write(made / "digits.txt", b"0123456789")
    write(made / "index.html", b"<h1>home</h1>")
    write(made / "docs" / "index.html", b"<h1>docs</h1>")
    write(made / "docs" / "a b.txt", b"a b")
    write(made / "bare" / "empty.bin", b"")
    write(made / ".secret", b"secret")
    write(tmp_path / "outside" / "index.html", b"outside")
    return made
