"""`piped new`: a service that runs and passes its tests at once, to be changed into another."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import click

from piped.cli.options import reason

TEMPLATES: Final = Path(__file__).parent.parent / "templates" / "service"
FILES: Final = {  # what is made, of which template; no template ends in .py, since none is Python
    "README.md": "README.md",
    "service.yaml": "service.yaml",
    "test.yaml": "test.yaml",
    "%package%_bundle/__init__.py": "bundle.py.txt",
    "%package%_bundle/greeting.py": "greeting.py.txt",
    "%package%_tests/__init__.py": "tests.py.txt",
    "%package%_tests/answers.py": "answers.py.txt",
    ".gitignore": "gitignore",
}
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@click.command("new")
@click.argument("name")
def command(name: str) -> None:
    """Make a folder NAME with a service in it.

    It has a site, a pipeline, a Python package with one processor, tests, and a README.md that
    tells how to run, check, call and test it. NAME is made of letters, digits, '-' and '_'.
    """
    if not NAME.fullmatch(name):
        what = f"expected a name of letters, digits, '-' and '_', a letter first, got {name!r}"
        raise click.UsageError(what)
    folder = Path(name)
    try:
        fail_if_taken(folder)
        make(folder, name)
    except OSError as error:
        raise click.UsageError(f"cannot make '{folder}': {reason(error)}") from error
    click.echo(f"made {folder}/ with {len(FILES)} files: README.md tells what is in them")
    click.echo(f"run it:   cd {folder} && piped run --watch service.yaml")
    click.echo("test it:  piped run test.yaml")


def fail_if_taken(folder: Path) -> None:
    """Refuse what is there already, unless it is an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise click.UsageError(f"'{folder}' is there already, and is no folder")
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"'{folder}' is there already, and is not empty")


def make(folder: Path, name: str) -> None:
    """Write all files beside a folder, and put them into its place when they are complete."""
    words = {"%name%": name, "%package%": name.replace("-", "_").lower()}
    apart = tempfile.mkdtemp(prefix=".piped-new-", dir=folder.parent)
    try:
        made = Path(apart, "service")  # not `apart` itself, which only its owner may read
        for file, template in FILES.items():
            path = made / filled(file, words)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (TEMPLATES / template).read_text(encoding="utf-8")
            path.write_text(filled(text, words), encoding="utf-8")
        made.rename(folder)
    finally:
        shutil.rmtree(apart, ignore_errors=True)


def filled(text: str, words: dict[str, str]) -> str:
    """Return a text with words put into their places."""
    for place, word in words.items():
        text = text.replace(place, word)
    return text
