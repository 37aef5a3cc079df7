from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped import Service
from piped.spec import INVALID
from tests.conftest import until
from tests.processors.conftest import decoded
from tests.providers.web.support import Client, request_bytes

pytestmark = pytest.mark.anyio

DOCUMENT = """\
web: {{site: {{port: 0, routing: {{__config__: {{processor: pipeline.answer}}}}}}}}
pipelines:
    answer:
        - eval-lambda:
            input_path: request
            output_path: content
            namespace: {{made: {module}.made}}
            lambda: "request: made(request)"
        - stream-web-response{parameters}
"""


@asynccontextmanager
async def streaming(
    folder: Path, code: str, parameters: str = ": {}"
) -> AsyncIterator[tuple[Client, Any]]:
    """Run a site that streams what ``made(request)`` returns; yield a client, and the module."""
    module = f"made_{folder.name}".replace("-", "_")
    (folder / f"{module}.py").write_text(f"import asyncio\n{textwrap.dedent(code)}")
    document = folder / "service.yaml"
    document.write_text(DOCUMENT.format(module=module, parameters=parameters))
    async with Service.load(document) as service:
        [brought] = [e.brought for e in service.lives if e.provider.label == "web.site"]
        assert brought is not None
        client = Client(*await asyncio.open_connection("127.0.0.1", brought["web.site"].port))
        yield client, __import__(module)
        client.close()


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (*pieces, b""))


async def answer_of(client: Client, method: str = "GET") -> tuple[bytes, bytes]:
    """Ask, and return the head of the answer and all that follows until the client is closed."""
    await client.send(request_bytes("/", "connection: close", method=method))
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    return head, body


GENERATORS = {
    "list": "def made(request): return ['a', b'bc', bytearray(b'd')]",
    "generator": """
        def made(request):
            yield 'a'
            yield b'bc'
            yield memoryview(b'd')
    """,
    "async generator": """
        async def made(request):
            yield 'a'
            await asyncio.sleep(0)
            yield b'bc'
            yield 'd'
    """,
}


@pytest.mark.parametrize("kind", GENERATORS)
async def test_what_content_yields_is_sent_in_pieces(tmp_path: Path, kind: str) -> None:
    async with streaming(tmp_path, GENERATORS[kind]) as (client, _):
        head, body = await answer_of(client)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-type: application/octet-stream\r\n" in head
    assert b"\r\ntransfer-encoding: chunked\r\n" in head
    assert body == chunked(b"a", b"bc", b"d")


async def test_status_type_and_encoding_are_chosen(tmp_path: Path) -> None:
    parameters = ": {content_type: text/csv, response_code: 203, encoding: latin-1}"
    code = "def made(request): return ['é']"

    async with streaming(tmp_path, code, parameters) as (client, _):
        head, body = await answer_of(client)

    assert head.startswith(b"HTTP/1.1 203 ")
    assert b"\r\ncontent-type: text/csv\r\n" in head
    assert body == chunked(b"\xe9")


async def test_a_file_is_read_in_pieces_and_closed(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    (tmp_path / "content").write_bytes(content)
    code = f"""
        opened = []
        def made(request):
            opened.append(open({str(tmp_path / "content")!r}, "rb"))
            return opened[-1]
    """

    async with streaming(tmp_path, code) as (client, made):
        _, body = await answer_of(client)
        [file] = made.opened

    pieces = [content[at : at + (64 << 10)] for at in range(0, len(content), 64 << 10)]
    assert body == chunked(*pieces)
    assert file.closed


async def test_nothing_yielded_is_an_empty_answer(tmp_path: Path) -> None:
    async with streaming(tmp_path, "def made(request): return []") as (client, _):
        head, body = await answer_of(client)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == chunked()


async def test_head_is_answered_without_a_look_at_the_content(tmp_path: Path) -> None:
    code = """
        class made:
            closed = 0
            def __init__(self, request): pass
            def __iter__(self): raise AssertionError
            def close(self): made.closed += 1
    """

    async with streaming(tmp_path, code) as (client, module):
        head, body = await answer_of(client, "HEAD")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert (body, module.made.closed) == (b"", 1)


async def test_an_error_before_the_first_piece_is_answered_as_any_other(tmp_path: Path) -> None:
    code = """
        async def made(request):
            raise LookupError("no rows")
            yield
    """

    async with streaming(tmp_path, code) as (client, _):
        head, _ = await answer_of(client)

    assert head.startswith(b"HTTP/1.1 500 ")


async def test_a_later_error_cuts_the_answer_off_and_is_logged(tmp_path: Path) -> None:
    code = """
        async def made(request):
            yield "a"
            raise LookupError("no more rows")
    """

    with capture_logs() as logs:
        async with streaming(tmp_path, code) as (client, _):
            _, body = await answer_of(client)

    assert body == b"1\r\na\r\n"
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert line["event"] == "pipeline failed after the answer"
    assert line["error"] == "LookupError: no more rows"


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("'text'", "str"),
        ("b'bytes'", "bytes"),
        ("{'a': 1}", "dict"),
        ("7", "int"),
        ("None", "NoneType"),
    ],
)
async def test_what_has_no_pieces_is_refused(tmp_path: Path, content: str, got: str) -> None:
    with capture_logs() as logs:
        async with streaming(tmp_path, f"def made(request): return {content}") as (client, _):
            head, _ = await answer_of(client)

    what = "expected an iterable of bytes or text, or an open file"
    assert head.startswith(b"HTTP/1.1 500 ")
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert line["error"] == f"BatonError: {what}, got {got}"


async def test_pieces_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with streaming(tmp_path, "def made(request): return [7]") as (client, _):
            head, _ = await answer_of(client)

    assert head.startswith(b"HTTP/1.1 500 ")
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert line["error"] == "BatonError: expected pieces of bytes or text, got int"


async def test_nothing_piles_up_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    code = """
        count = 0
        closed = asyncio.Event()
        async def made(request):
            global count
            try:
                while True:
                    count += 1
                    yield bytes(64 << 10)
            finally:
                closed.set()
    """

    async with streaming(tmp_path, code) as (client, module):
        await client.send(request_bytes())
        await until(lambda: module.count > 4)
        before = -1
        while before != module.count:  # the system has room for some megabytes
            before = module.count
            for _ in range(1000):
                await asyncio.sleep(0)
        client.reset_when_closed()
        client.close()
        await asyncio.wait_for(module.closed.wait(), 10)

    assert module.count < 1000


async def test_a_file_that_is_being_read_when_its_client_leaves_holds_up_nobody(
    tmp_path: Path,
) -> None:
    code = """
        import io, os, threading
        asked, is_reading, (end, other_end) = [], threading.Event(), os.pipe()
        class Pipe(io.FileIO):
            def readinto(self, room):
                is_reading.set()
                return super().readinto(room)
        file = io.BufferedReader(Pipe(end))
        def made(request):
            asked.append(request)
            return file
    """

    async with streaming(tmp_path, code) as (client, module):
        await client.send(request_bytes())
        await until(module.is_reading.is_set)
        client.reset_when_closed()
        client.close()
        await until(lambda: module.asked[0].is_disconnected)
        for _ in range(10):
            await asyncio.sleep(0)
        is_closed_early = module.file.closed
        os.close(module.other_end)
        await until(lambda: module.file.closed)

    assert not is_closed_early


async def test_many_small_pieces_leave_others_their_turn(tmp_path: Path) -> None:
    code = """
        seen = []
        def made(request):
            asyncio.get_running_loop().call_soon(seen.append, 1)
            while not seen:
                yield b""
            yield "over"
    """

    async with streaming(tmp_path, code) as (client, _):
        _, body = await answer_of(client)

    assert body == chunked(b"over")


async def test_a_request_that_is_answered_is_left_alone(tmp_path: Path) -> None:
    code = """
        closed = []
        def made(request):
            request.answer(b"first")
            return ["second"]
    """

    async with streaming(tmp_path, code) as (client, _):
        _, body = await answer_of(client)

    assert body == b"first"


def test_what_is_no_type_is_refused() -> None:
    made, problems = decoded('stream-web-response: {content_type: "a\\nb"}')

    assert made is INVALID
    [problem] = problems
    assert problem.what == r"expected a type such as text/csv, got 'a\nb'"
