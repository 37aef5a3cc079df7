from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document.nodes import Entry, Mapping, Scalar
from piped.errors import Misconfigured, Place, unwrapped
from piped.providers.stdin import Stdin
from piped.resources import Resource
from piped.spec import Decoder, Size, dependencies_of, spec_of
from tests.conftest import turn
from tests.providers.conftest import Pipeline, bound
from tests.stories.processes import PIPED

HERE = Place("service.yaml", 3, 5)

pytestmark = pytest.mark.anyio


class FakeService:
    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for each in ends:
        try:
            os.close(each)
        except OSError:
            pass


Make = Callable[..., Stdin]


@pytest.fixture
def make(pipeline: Pipeline, service: FakeService) -> Make:
    def made(descriptor: int, **settings: Any) -> Stdin:
        stdin = Stdin(processor=bound(pipeline), **settings)
        stdin._service = bound(service, "service")
        stdin._descriptor = descriptor
        return stdin

    return made


async def test_each_line_is_a_baton_and_at_the_end_the_service_ends(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline, service: FakeService
) -> None:
    reading, writing = pipe

    with capture_logs() as lines:
        async with make(reading).running() as resources:
            os.write(writing, b"one\ntw")
            first = await pipeline.came.get()
            os.write(writing, b"o\r\nlast")
            os.close(writing)
            await service.stopped.wait()

    assert first == {"line": "one"}
    assert pipeline.batons == [{"line": "one"}, {"line": "two"}, {"line": "last"}]
    assert resources == {}
    assert lines == [{"event": "end of input", "lines": 3, "dropped": 0, "log_level": "info"}]


async def test_all_lines_are_treated_before_the_service_ends(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline, service: FakeService
) -> None:
    reading, writing = pipe
    pipeline.gate.clear()

    async with make(reading, in_flight=2).running():
        os.write(writing, b"a\nb\n")
        os.close(writing)
        await pipeline.came.get()
        await pipeline.came.get()
        before = service.stopped.is_set()
        pipeline.gate.set()
        await service.stopped.wait()

    assert not before


async def test_the_service_may_stay_after_the_end_and_be_told_of_it(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline, service: FakeService
) -> None:
    reading, writing = pipe

    async with make(reading, end="stay", mark_end=True).running():
        os.write(writing, b"a\n")
        os.close(writing)
        batons = [await pipeline.came.get(), await pipeline.came.get()]

    assert batons == [{"line": "a"}, {"line": None}]
    assert not service.stopped.is_set()


@pytest.mark.parametrize(
    ("content", "expected"), [(b"a\nb\n", [{"line": "a"}, {"line": "b"}]), (b"", [])]
)
async def test_a_file_is_read_to_its_end(
    make: Make,
    tmp_path: Path,
    pipeline: Pipeline,
    service: FakeService,
    content: bytes,
    expected: list[Any],
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(content)

    with file.open("rb") as opened:
        async with make(opened.fileno()).running():
            await service.stopped.wait()

    assert pipeline.batons == expected


async def test_the_null_device_has_no_lines(
    make: Make, pipeline: Pipeline, service: FakeService
) -> None:
    with open(os.devnull, "rb") as null:  # noqa: ASYNC230 - it cannot block
        async with make(null.fileno()).running():
            await service.stopped.wait()

    assert pipeline.batons == []


async def test_a_terminal_is_read_until_its_user_ends_it(
    make: Make, pipeline: Pipeline, service: FakeService
) -> None:
    user, terminal = pty.openpty()

    async with make(terminal).running():
        os.write(user, b"hello\n")
        await pipeline.came.get()
        os.write(user, b"\x04")
        await service.stopped.wait()
    os.close(user)
    os.close(terminal)

    assert pipeline.batons == [{"line": "hello"}]


async def test_a_terminal_that_is_gone_is_the_end(make: Make, service: FakeService) -> None:
    user, terminal = pty.openpty()

    async with make(terminal).running():
        os.close(user)
        await service.stopped.wait()
    os.close(terminal)


async def test_the_descriptor_stays_as_it_was_for_those_who_share_it(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline
) -> None:
    reading, writing = pipe

    async with make(reading).running():
        os.write(writing, b"a\n")
        await pipeline.came.get()
        during = os.get_blocking(reading)

    assert during
    assert os.get_blocking(reading)


async def test_a_descriptor_that_others_made_non_blocking_is_read_too(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline
) -> None:
    reading, writing = pipe
    os.set_blocking(reading, False)

    async with make(reading).running():
        os.write(writing, b"a\n")
        await pipeline.came.get()

    assert pipeline.batons == [{"line": "a"}]


async def test_nothing_more_is_read_while_a_line_is_treated(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline, service: FakeService
) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    pipeline.gate.clear()

    async with make(reading).running():
        os.write(writing, b"first\n")
        await pipeline.came.get()
        while True:
            try:
                os.write(writing, b"x" * 4095 + b"\n")
            except BlockingIOError:
                break
        await turn(50)
        with pytest.raises(BlockingIOError):
            os.write(writing, b"x" * 4095 + b"\n")
        before = len(pipeline.batons)
        pipeline.gate.set()
        os.close(writing)
        await service.stopped.wait()

    assert before == 1
    assert len(pipeline.batons) > 10


async def test_leaving_waits_for_the_line_that_is_being_treated_and_reads_no_more(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline, service: FakeService
) -> None:
    reading, writing = pipe
    pipeline.gate.clear()

    with capture_logs() as lines:
        async with make(reading).running():
            os.write(writing, b"a\nb\n")
            await pipeline.came.get()
            asyncio.get_running_loop().call_soon(pipeline.gate.set)

    assert pipeline.batons == [{"line": "a"}]
    assert lines == [
        {"event": "lines not treated", "source": "stdin", "count": 1, "log_level": "warning"}
    ]
    assert not service.stopped.is_set()


async def test_leaving_gives_up_a_line_that_does_not_end(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline
) -> None:
    reading, writing = pipe
    pipeline.gate.clear()
    stdin = make(reading)
    stdin.drain_s = 0.01

    with capture_logs() as lines:
        async with stdin.running():
            os.write(writing, b"a\n")
            await pipeline.came.get()

    assert lines == [{"event": "lines given up", "after_s": 0.01, "log_level": "warning"}]


async def test_it_can_be_left_and_entered_again_without_losing_what_comes_meanwhile(
    make: Make, pipe: tuple[int, int], pipeline: Pipeline
) -> None:
    reading, writing = pipe
    stdin = make(reading)

    async with stdin.running():
        pass
    os.write(writing, b"a\n")
    async with stdin.running():
        await pipeline.came.get()

    assert pipeline.batons == [{"line": "a"}]


async def test_no_descriptor_stays_open(make: Make, pipe: tuple[int, int]) -> None:
    async with make(pipe[0]).running():
        pass
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        async with make(pipe[0]).running():
            pass

    assert len(os.listdir("/proc/self/fd")) <= before + 2  # the last thread may still close its


async def test_what_cannot_be_read_has_failed_for_good(make: Make, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with make(folder).running():
            await asyncio.Event().wait()
    os.close(folder)

    error = unwrapped(caught.value)
    assert isinstance(error, Misconfigured)
    assert str(error) == "standard input cannot be read: is a directory"


async def test_without_anybody_who_could_treat_its_lines_it_has_failed_for_good(
    make: Make, pipe: tuple[int, int]
) -> None:
    reading, writing = pipe
    stdin = make(reading)
    stdin.processor.resource = resource = Resource("pipeline.x")
    resource.failed("the file is no JSON")
    os.write(writing, b"one\n")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with stdin.running():
            await asyncio.Event().wait()

    error = unwrapped(caught.value)
    assert isinstance(error, Misconfigured)
    assert str(error) == "'pipeline.x' has failed for good: the file is no JSON"


async def test_standard_input_that_is_closed_has_failed_for_good(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "__stdin__", None)

    with pytest.raises(Misconfigured) as caught:
        async with make(0).running():
            pass

    assert str(caught.value) == "standard input is closed"


async def test_it_needs_its_processor_and_the_service(make: Make) -> None:
    stdin = make(0)

    assert [each.name for each in dependencies_of(stdin)] == ["pipeline.x", "service"]
    assert stdin.feeds()
    assert not make(0, enabled=False).feeds()
    assert stdin.essential
    assert stdin.max_line == Size(1024 * 1024)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("format", "xml", "expected 'lines', 'json' or 'bytes', got 'xml'"),
        ("end", "restart", "expected 'shutdown' or 'stay', got 'restart'"),
        ("in_flight", 0, "expected int >= 1, got 0"),
        ("max_line", 0, "expected size >= 1, got 0"),
        ("max_line", "long", "expected a size such as 64KiB or 1MiB, got 'long'"),
        ("delimiter", "", "expected str of length >= 1, got ''"),
    ],
)
async def test_wrong_parameters_are_problems(key: str, value: Any, what: str) -> None:
    spec = spec_of(Stdin)
    assert spec is not None
    decoder = Decoder()
    given = {"processor": Scalar(HERE, "pipeline.x"), key: Scalar(HERE, value)}

    decoder.section(spec, Mapping(HERE, {k: Entry(HERE, v) for k, v in given.items()}), "stdin")

    assert [str(each) for each in decoder.problems] == [
        f"service.yaml:3:5: error[wrong-value]: {what}\n    at: stdin.{key}"
    ]


FILTER = """
stdin: {processor: pipeline.shout, format: json}
pipelines:
  shout:
    - eval-lambda: {input_path: data.name, output_path: null, lambda: "name: print(name.upper())"}
"""


def test_a_service_is_a_filter_in_a_pipe_of_the_shell(tmp_path: Path) -> None:
    (tmp_path / "shout.yaml").write_text(FILTER)
    names = '{"name": "ada"}\nnope\n\n{"name": 7}\n{"name": "grace"}'

    done = subprocess.run(
        [PIPED, "run", "shout.yaml"],
        cwd=tmp_path, input=names, capture_output=True, text=True, timeout=20,
    )  # fmt: skip

    assert done.stdout == "ADA\nGRACE\n"
    assert done.returncode == 0
    assert done.stderr.count('"event":"line failed"') == 2
    assert '"number":2' in done.stderr
    assert '"number":4' in done.stderr
