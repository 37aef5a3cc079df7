from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from piped.errors import Misconfigured
from piped.providers.web import Request
from piped.providers.web.access import log
from tests.conftest import until
from tests.providers.web.support import make_site, problems_of, request_bytes, serving
from tests.stories.processes import Processes, processes

pytestmark = pytest.mark.anyio

ROOT = {"__config__": {"processor": "pipeline.root"}}
TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def without_chance(line: str) -> str:
    """Return a line without its time, and without the length of error pages, which have an id."""
    line, times = re.subn(TIME, "[then]", line)
    assert times == 1, line
    return re.sub(r'" ([45]\d\d) \d+ "', r'" \1 n "', line)


def text_of(file: Path) -> str:
    return file.read_text()


def lines_of(file: Path) -> list[str]:
    return [without_chance(line) for line in text_of(file).splitlines()]


def objects_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(file).splitlines()]


def wanted(file: Path, form: str = "combined") -> dict[str, Any]:
    return {"access_log": {"format": form, "file": str(file)}}


async def answer_in_pieces(request: Request) -> None:
    request.start(201)
    for piece in (b"abc", b"de"):
        await request.send(piece)
    request.finish()


async def test_a_request_is_a_line_in_the_combined_format(file: Path) -> None:
    async with serving(**wanted(file)) as served:
        client = await served.connect()
        await client.get("/?q=a%20b", "referer: http://example.org/", "user-agent: curl/8")
        await client.get("/nowhere")
        client.close()

    assert lines_of(file) == [
        '127.0.0.1 - - [then] "GET /?q=a%20b HTTP/1.1" 200 5 "http://example.org/" "curl/8"',
        '127.0.0.1 - - [then] "GET /nowhere HTTP/1.1" 404 n "-" "-"',
    ]


async def test_a_request_is_a_json_object_a_line(file: Path) -> None:
    routing = {"orders": {"{id:int}": ROOT}}

    async with serving(routing=routing, **wanted(file, "json")) as served:
        client = await served.connect()
        await client.get("/orders/7?a=1", "referer: http://example.org/", "user-agent: curl/8")
        client.close()
    [request] = served.pipeline.seen

    [line] = objects_of(file)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 <= line.pop("duration_s") < 60
    assert f"{int(line.pop('journey'), 36)}" == f"{request.id}"
    assert line == {
        "site": "web.site",
        "client": "127.0.0.1",
        "user": None,
        "method": "GET",
        "target": "/orders/7?a=1",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 5,
        "complete": True,
        "referer": "http://example.org/",
        "user_agent": "curl/8",
        "route": "/orders/{id:int}",
    }


async def test_the_user_and_the_client_behind_a_proxy_are_named(file: Path) -> None:
    parameters: dict[str, Any] = {
        "auth": {"bearer": {"ann b": "t0ken"}},
        "trusted_proxies": ["127.0.0.1"],
    }
    parameters |= wanted(file)

    async with serving(**parameters) as served:
        client = await served.connect()
        await client.get("/", "authorization: Bearer t0ken", "x-forwarded-for: 192.0.2.7")
        await client.get("/", "authorization: Bearer wrong")
        await client.send(request_bytes("/", "x-forwarded-for: 192.0.2.7", "a: b", "host: twice"))
        await client.rest()
        client.close()

    assert lines_of(file) == [
        '192.0.2.7 - ann\\x20b [then] "GET / HTTP/1.1" 200 5 "-" "-"',
        '127.0.0.1 - - [then] "GET / HTTP/1.1" 401 n "-" "-"',
        '192.0.2.7 - - [then] "GET / HTTP/1.1" 400 n "-" "-"',
    ]


@pytest.mark.parametrize("form", ["combined", "json"])
async def test_what_a_client_sends_cannot_forge_a_line(file: Path, form: str) -> None:
    agent = 'x" 200 1\t\\n\u0085\u2028\u202e"'.encode() + b"\xff"

    async with serving(**wanted(file, form)) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nuser-agent: %b\r\n\r\n" % agent)
        await client.answer()
        client.close()

    text = text_of(file)
    assert text.isascii()
    assert text[:-1].isprintable()
    assert len(text.splitlines()) == 1
    if form == "json":
        assert json.loads(text)["user_agent"] == agent.decode("latin-1")
    else:
        escaped = r"x\" 200 1\x09\\n\xc2\x85\xe2\x80\xa8\xe2\x80\xae\"\xff"
        assert text.endswith(f'"-" "{escaped}"\n')


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"nonsense\r\n\r\n", '"-" 400 n'),
        (b"GET /a HTTP/1.1\r\n\r\n", '"GET /a HTTP/1.1" 400 n'),
        (b"GET /a HTTP/1.0\r\nhost : x\r\n\r\n", '"GET /a HTTP/1.0" 400 n'),
        (b"GET /a HTTP/1.1\r\nhost: y\r\n\r\n", '"GET /a HTTP/1.1" 421 n'),
        (b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", '"POST /a HTTP/1.1" 413 n'),
        (b"GET /a HTTP/1.1\r\nhost: x\r\na: %b\r\n\r\n" % (b"b" * 999), '"GET /a HTTP/1.1" 431 '),
        (b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % (b"b" * 9000), '"GET /bbb'),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " 505 "),
    ],
)
async def test_what_is_refused_is_a_line_as_far_as_it_is_known(
    file: Path, sent: bytes, line: str
) -> None:
    parameters = {"hosts": ["x"], "max_body": 8, "max_header": 900, **wanted(file)}

    async with serving(**parameters) as served:
        client = await served.connect()
        await client.send(sent)
        await client.rest()
        client.close()

    [found] = lines_of(file)
    assert found.startswith("127.0.0.1 - - [then] ")
    assert line in found
    assert served.pipeline.seen == []


async def test_the_bytes_of_a_refusal_are_those_of_its_page(file: Path) -> None:
    async with serving(**wanted(file, "json")) as served:
        client = await served.connect()
        await client.send(b"nonsense\r\n\r\n")
        answer = await client.answer()
        client.close()

    [line] = objects_of(file)
    assert line["bytes"] == len(answer.body)
    assert line["journey"] == json.loads(answer.body)["id"]


async def test_a_head_that_never_ends_is_a_line(file: Path) -> None:
    async with serving(header_timeout="50ms", **wanted(file)) as served:
        client = await served.connect()
        await client.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n")
        await client.rest()
        client.close()

    assert lines_of(file) == ['127.0.0.1 - - [then] "GET /slow HTTP/1.1" 408 n "-" "-"']


async def test_what_nobody_answers_is_a_line(file: Path) -> None:
    async with serving(lambda request: None, deadline="50ms", **wanted(file)) as served:
        client = await served.connect()
        await client.get()
        client.close()

    assert lines_of(file) == ['127.0.0.1 - - [then] "GET / HTTP/1.1" 504 n "-" "-"']


async def test_the_bytes_are_those_of_the_body(file: Path) -> None:
    async with serving(answer_in_pieces, **wanted(file)) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await client.reader.readuntil(b"0\r\n\r\n")
        await client.send(request_bytes(method="HEAD"))
        await client.answer(is_head=True)
        await client.send(request_bytes("/nowhere", method="HEAD"))
        await client.answer(is_head=True)
        client.close()

    assert lines_of(file) == [
        '127.0.0.1 - - [then] "GET / HTTP/1.1" 201 5 "-" "-"',
        '127.0.0.1 - - [then] "HEAD / HTTP/1.1" 201 - "-" "-"',
        '127.0.0.1 - - [then] "HEAD /nowhere HTTP/1.1" 404 - "-" "-"',
    ]


async def test_a_client_that_left_is_a_line(file: Path) -> None:
    async def wait(request: Request) -> None:
        if request.path == "/":
            request.start(200)
            await request.send(b"abc")
        await asyncio.Event().wait()

    everything = {"__config__": {"no_resource_processor": "pipeline.root"}}
    async with serving(wait, everything, **wanted(file, "json")) as served:
        for target in ("/", "/early"):
            client = await served.connect()
            await client.send(request_bytes(target))
            await until(lambda: served.pipeline.seen)
            served.pipeline.seen.clear()
            client.reset_when_closed()
            client.close()
            await until(lambda: not served.server.connections)

    lines = [(each["status"], each["bytes"], each["complete"]) for each in objects_of(file)]
    assert lines == [(200, 3, False), (499, 0, False)]


async def test_an_answer_that_its_pipeline_leaves_is_not_complete(file: Path) -> None:
    async def fail(request: Request) -> None:
        request.start(200, length=7)
        await request.send(b"abc")

    async with serving(fail, **wanted(file, "json")) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await client.rest()
        client.close()

    [line] = objects_of(file)
    assert (line["status"], line["bytes"], line["complete"]) == (200, 3, False)


async def test_a_session_is_a_line_when_it_begins(file: Path) -> None:
    routing = {"__config__": {"websocket": {"processor": "pipeline.root"}}}
    opening = ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13")

    async with serving(routing=routing, **wanted(file)) as served:
        client = await served.connect()
        await client.send(
            request_bytes("/", *opening, "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==")
        )
        await client.answer()
        client.close()

    assert lines_of(file) == ['127.0.0.1 - - [then] "GET / HTTP/1.1" 101 - "-" "-"']


async def test_a_file_that_was_renamed_is_made_anew(file: Path) -> None:
    renamed = file.with_suffix(".1")

    async with serving(**wanted(file)) as served:
        client = await served.connect()
        await client.get("/")
        await until(lambda: text_of(file))
        os.rename(file, renamed)
        await client.get("/nowhere")
        await until(file.exists)
        client.close()

    assert [len(lines_of(each)) for each in (renamed, file)] == [1, 1]
    assert os.stat(file).st_mode & 0o007 == 0


async def test_another_declaration_changes_file_and_form(tmp_path: Path) -> None:
    files = [tmp_path / "combined.log", tmp_path / "json.log"]
    parameters: list[dict[str, Any]] = [{}, wanted(files[0]), wanted(files[1], "json"), {}]

    async with serving() as served:
        client, site = await served.connect(), served.site
        for each in parameters:
            successor = make_site(ROOT, {"root": served.pipeline}, **each)
            assert successor.take_over(site)
            site = successor
            await client.get()
        client.close()

    assert [len(lines_of(files[0])), len(objects_of(files[1]))] == [1, 1]


async def test_a_file_that_cannot_be_opened_is_a_mistake(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "access.log"
    what = f"cannot write the access log to '{missing}': no such file or directory"

    with pytest.raises(Misconfigured) as raised:
        async with serving(**wanted(missing)):
            """It does not come so far."""

    assert str(raised.value) == what


async def test_a_file_that_no_system_has_is_a_mistake_too() -> None:
    with pytest.raises(Misconfigured) as raised:
        async with serving(**wanted(Path("a\0b"))):
            """It does not come so far."""

    reason = "there is a null byte in its name"
    assert str(raised.value) == rf"cannot write the access log to 'a\x00b': {reason}"


async def test_a_process_without_standard_output_has_no_log_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.__stdout__", None)

    with pytest.raises(Misconfigured) as raised:
        async with serving(access_log="json"):
            """It does not come so far."""

    reason = "there is no standard output"
    assert str(raised.value) == f"cannot write the access log to standard output: {reason}"


async def test_after_a_reload_such_a_mistake_leaves_the_file_before(
    file: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing" / "access.log"

    with capture_logs() as logs:
        async with serving(**wanted(file)) as served:
            client = await served.connect()
            successor = make_site(ROOT, {"root": served.pipeline}, **wanted(missing, "json"))
            successor.take_over(served.site)
            await client.get()
            client.close()

    assert len(lines_of(file)) == 1
    assert [each for each in logs if each["log_level"] == "error"] == [
        {
            "event": "access log not changed",
            "log_level": "error",
            "site": "web.site",
            "error": f"cannot write the access log to '{missing}': no such file or directory",
        }
    ]


async def test_a_full_disk_costs_lines_and_is_told_once() -> None:
    with capture_logs() as logs:
        async with serving(access_log={"file": "/dev/full"}) as served:
            client = await served.connect()
            await client.get()
            await until(lambda: served.site.counters.access_log_dropped == 1)
            answer = await client.get()
            await until(lambda: served.site.counters.access_log_dropped == 2)
            client.close()

    assert answer.body == b"hello"
    assert [each for each in logs if each["log_level"] == "warning"] == [
        {
            "event": "access log lines dropped",
            "log_level": "warning",
            "site": "web.site",
            "reason": "no space left on device",
            "dropped": 1,
        }
    ]


async def test_what_is_not_written_in_time_is_dropped_and_the_end_does_not_wait_for_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "WAITING_BYTES", 200_000)
    monkeypatch.setattr(log, "END_S", 0.05)
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # and nobody reads there

    with capture_logs() as logs:
        async with serving(**wanted(file)) as served:
            client = await served.connect()
            while not served.site.counters.access_log_dropped:
                answer = await client.get("/?" + "a" * 8000)
            client.close()
    os.close(reader)

    warnings = [each for each in logs if each["log_level"] == "warning"]
    assert answer.status == 200
    assert [each["event"] for each in warnings] == [
        "access log lines dropped",
        "access log not complete",
    ]
    assert warnings[0]["reason"] == "they are written too slowly"
    assert 0 < warnings[1]["waiting_bytes"] <= 200_000


async def test_without_a_log_nobody_takes_note(file: Path) -> None:
    async with serving(access_log=None) as served:
        assert served.server.access is None


def test_other_forms_are_not_known() -> None:
    assert problems_of(routing={}, access_log="common") == [
        "web.site.access_log: wrong-value: expected 'combined', 'json', mapping or null,"
        " got 'common'"
    ]


@pytest.fixture
def start() -> Iterator[Processes]:
    yield from processes()


def test_a_service_writes_to_standard_output_until_its_end(
    start: Processes, tmp_path: Path
) -> None:
    document = tmp_path / "service.yaml"
    document.write_text(
        "web: {site: {port: 0, access_log: combined, routing: {}}}\npipelines: {}\n"
    )

    service = start("run", document, cwd=tmp_path)
    answer = httpx.get(service.started().url(), headers={"user-agent": ""})
    service.terminated()

    assert answer.status_code == 404
    [line] = service.stdout.splitlines()
    assert without_chance(line) == '127.0.0.1 - - [then] "GET / HTTP/1.1" 404 n "-" "-"'
