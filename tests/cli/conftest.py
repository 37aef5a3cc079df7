"""The command line, from inside (fast) and as processes (where signals and streams matter)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import structlog
from click.testing import CliRunner, Result

from piped.cli import piped
from tests.stories.processes import Processes, processes

Invoke: TypeAlias = Callable[..., Result]
Write: TypeAlias = Callable[..., str]

SERVICE = """\
web:
    site:
        port: 0
        routing:
            __config__: {processor: pipeline.web.hello}
            slow: {__config__: {processor: pipeline.web.slow}}
pipelines:
    web:
        hello:
            - log: {message: hello asked}
            - set-value: {path: content, value: hello}
            - write-web-response
        slow:
            - log: {message: slow asked}
            - wait: {delay: !env {name: SLOW, default: 300ms}}
            - set-value: {path: content, value: slow}
            - write-web-response
"""


@pytest.fixture
def start() -> Iterator[Processes]:
    """Start a process of `piped`: `start("run", "service.yaml", cwd=folder)`."""
    yield from processes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a file into the working directory; it is service.yaml unless named."""

    def write(text: str, name: str = "service.yaml") -> str:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Run a command inside the process of the tests, and leave no trace of it there."""
    root, raise_exceptions = logging.getLogger(), logging.raiseExceptions
    handlers, level, settings = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.setattr(sys, "path", sys.path[:])
    modules = set(sys.modules)

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(piped, list(arguments), input=stdin)

    yield invoke
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raise_exceptions
    structlog.configure(**settings)
    for name in set(sys.modules) - modules:
        if name.partition(".")[0].startswith("bundle_"):
            del sys.modules[name]
