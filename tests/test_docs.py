"""The documentation is true: its documents are right, its commands answer so, its links lead on.

Each page is read as a person reads it, in a folder of its own: a block whose first line names its
file (`# service.yaml`) becomes that file, and a `console` block is done.

* `yaml`: a document; it has no errors. `yaml wrong`: it has some. `yaml part`: a file for others to
  include. `yaml fragment`: lines of a document. `yaml other`: the YAML of somebody else.
* `python`: it is Python. `console`: `piped call`, `check` and `run` (`&`: a job that goes on),
  `python`, `curl`, `kill %1` are done. What they say is compared: `...` stands for anything, and
  log lines are left out.
"""

from __future__ import annotations

import ast
import importlib
import logging
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

import httpx
import pytest
import structlog
import yaml
from click.testing import CliRunner

from piped.app import blueprint_of
from piped.blueprint import OWN_KEYS
from piped.cli import piped
from piped.document import parse, plain
from piped.shipped import PROVIDERS
from tests.stories.processes import free_ports

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:yaml|py))$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LOG_LINE = re.compile(r'^\{"timestamp".*\n', re.MULTILINE)
PORTS = ("8080", "9090", "5000", "5001", "6000", "6001")
CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")


@dataclass
class Reader:
    """Does what a page says, block by block."""

    folder: Path
    ports: dict[str, str]
    jobs: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def take(self, kind: str, mark: str, text: str) -> None:
        text = re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda port: self.ports[port[1]], text)
        name = FILE_NAME.match(text)
        path = self.folder / (name[1] if name else "unnamed.yaml")
        if kind in ("yaml", "python") and mark != "fragment":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if kind == "console":
            self.do_all(text)
        elif kind == "python":
            ast.parse(text)
        elif kind == "yaml" and mark == "other":
            yaml.safe_load(text)
        elif kind == "yaml" and mark in ("fragment", "part"):
            assert parse(text)[1] == []
        elif kind == "yaml":
            errors = self.errors_in(path)
            assert bool(errors) is (mark == "wrong"), "\n".join(map(str, errors))

    def errors_in(self, path: Path) -> list[Any]:
        root = plain(parse(path.read_text())[0])
        is_whole = isinstance(root, dict) and not {*PROVIDERS, *OWN_KEYS}.isdisjoint(root)
        assert is_whole, f"mark it as a fragment: {root!r}"
        importlib.invalidate_caches()
        return blueprint_of(path).errors

    def do_all(self, text: str) -> None:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.replace("\\\n", " ").partition("\n")
            said = self.do(shlex.split(command))
            pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*?")
            assert re.fullmatch(pattern, said.strip(), re.DOTALL), f"{command}\nsaid: {said}"

    def do(self, words: list[str]) -> str:
        environment = dict(os.environ)
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        match words:
            case ["piped", *arguments, "&"]:
                number = 1 + max((int(job[1:]) for job in self.jobs), default=0)
                self.jobs[f"%{number}"] = start(arguments, self.folder, environment)
                return ""
            case ["piped", ("call" | "check") as name, *arguments]:
                done = CliRunner().invoke(piped, [name, *arguments], env=environment)
                return LOG_LINE.sub("", done.output)
            case ["piped", *arguments]:
                return run(["-m", "piped", *arguments], self.folder, environment)
            case ["python", *arguments]:
                return run(arguments, self.folder, environment)
            case ["curl", *arguments]:
                return ask(arguments)
            case ["kill", ("-STOP" | "-CONT") as name, job]:
                self.jobs[job].send_signal(signal.Signals[f"SIG{name[1:]}"])
                return ""
            case ["kill", *jobs]:
                self.end(*jobs)
                return ""
        raise AssertionError(f"nobody knows how to do {words}")

    def end(self, *names: str) -> None:
        jobs = [self.jobs.pop(name) for name in names or tuple(self.jobs)]
        for job in jobs:
            job.send_signal(signal.SIGCONT)
            job.terminate()
        codes = [job.communicate(timeout=20) and job.returncode for job in jobs]
        assert not any(codes)


def start(arguments: list[str], folder: Path, environment: dict[str, str]) -> Any:
    job = subprocess.Popen(
        [sys.executable, "-m", "piped", *arguments],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert job.stderr is not None
    told = ""
    for line in job.stderr:
        told += line
        if '"event":"started"' in line:
            return job
    raise AssertionError(f"{arguments} did not start:\n{told}")


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment, text=True, timeout=30,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return LOG_LINE.sub("", done.stdout)


def ask(arguments: list[str]) -> str:
    """Do what curl would do."""
    *options, url = arguments
    given = dict(zip(options[::2], options[1::2], strict=True))
    kind, data = {"content-type": "application/x-www-form-urlencoded"}, given.get("-d", "")
    with httpx.Client(trust_env=False, timeout=20) as client:
        if "-d" in given:
            return client.post(url, content=data, headers=kind).text
        return client.request(given.get("-X", "GET"), url).text


@pytest.fixture
def logs() -> Iterator[None]:
    """Leave the logs of this process as they were: commands configure them."""
    root = logging.getLogger()
    handlers, level, is_loud = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = is_loud
    structlog.reset_defaults()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    made = Reader(tmp_path, dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True)))
    yield made
    made.end()
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.usefixtures("logs")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_says_is_so(name: str, reader: Reader) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")

    for block in FENCE.finditer(page):
        kind, _, mark = block[1].partition(" ")
        try:
            reader.take(kind, mark, block[2])
        except AssertionError as error:
            line = page[: block.start()].count("\n") + 1
            pytest.fail(f"{name}:{line}: {error}")


@pytest.mark.parametrize("name", NAMES)
def test_all_links_of_a_page_lead_somewhere(name: str) -> None:
    page = ROOT / name
    broken = [
        link
        for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
        if not re.match(r"https?:|mailto:", link) and not leads_somewhere(page, link)
    ]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}


def test_the_reference_pages_are_what_the_declarations_say() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()

    processors = ROOT / "docs" / "reference" / "processors"
    left = [path.name for path in processors.glob("*.md") if path not in pages]
    old = [path.name for path, text in pages.items() if is_other(path, text)]

    assert left + old == [], "say 'make docs'"


def is_other(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8") != text


def test_every_problem_code_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "problems.md").read_text(encoding="utf-8")

    explained = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)

    codes = codes_in(ROOT / "src" / "piped")
    assert codes.symmetric_difference(explained) == set()
    assert explained == sorted(explained)


def test_every_public_name_is_listed() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names: list[str] = importlib.import_module("piped").__all__

    assert [name for name in names if f"`{name}`" not in page] == []


REPORTING: Final = ("Problem", "WrongApplication", "report", "_report")


def codes_in(folder: Path) -> set[str]:
    """Return the codes of all problems that the source can report."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node) in REPORTING:
                given = [*node.args, *(each.value for each in node.keywords if each.arg == "code")]
                found |= {str(each.value) for each in given if is_code(each)}
    return found


def called(node: ast.Call) -> str:
    function: Any = node.func
    return str(getattr(function, "attr", "") or getattr(function, "id", ""))


def is_code(node: ast.expr) -> TypeGuard[ast.Constant]:
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, str) and CODE.fullmatch(value) is not None
