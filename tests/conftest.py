"""What all tests share: the event loops they run on, and a clock that can be moved."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from piped.document import load
from piped.drawing import draw

LOOPS = ["uvloop", "asyncio"]


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each async test on uvloop and on plain asyncio."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class MovableLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test can move: timers fire as if the seconds had passed."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self._ahead = 0.0

    def time(self) -> float:
        return super().time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock; what was due in between is called in the next turns of the loop."""
        self._ahead += seconds


async def turn(turns: int = 20) -> None:
    """Let the running loop turn: what is ready in it goes on."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], object]) -> None:
    """Let the running loop turn until something is so."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - nobody sets an event for what tests look at
            await asyncio.sleep(0)


class Clock:
    """Moves the clock of the running loop, and lets the loop turn."""

    async def advance(self, seconds: float, turns: int = 20) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MovableLoop), "mark the test with @pytest.mark.usefixtures('clock')"
        loop.advance(seconds)
        await turn(turns)


@pytest.fixture
def movable_loop() -> tuple[str, dict[str, Any]]:
    """The anyio backend of tests that move the clock: `anyio_backend = movable_loop`."""
    return "asyncio", {"loop_factory": MovableLoop}


@pytest.fixture
def clock() -> Clock:
    """A clock to move; needs a module or class whose `anyio_backend` is the movable loop."""
    return Clock()


class Gate:
    """Keeps threads until it is opened, and tells when one has come."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._opened = threading.Event()

    def wait(self, value: Any = "") -> Any:
        self._loop.call_soon_threadsafe(self.came.put_nowait, value)
        assert self._opened.wait(10)
        return value

    def open(self) -> None:
        self._opened.set()


def has_ended(process: int, within_s: float = 15.0) -> bool:
    """Wait until a process ends, which a descriptor stands for, and close that."""
    try:
        return bool(select.select([process], [], [], within_s)[0])
    finally:
        os.close(process)


Told: TypeAlias = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Tell what is wrong with `service.yaml`, which is made of lines; other files by keyword."""
    monkeypatch.chdir(tmp_path)

    def told(*lines: str, **files: str) -> list[str]:
        for name, text in files.items():
            Path(f"{name}.yaml").write_text(text)
        Path("service.yaml").write_text("\n".join(lines))
        return [str(each) for each in draw(load("service.yaml")).problems]

    return told


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail a skipped test where nothing may be skipped: in `make test-all` and in CI."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PIPED_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is not allowed here: {report.longrepr}"
