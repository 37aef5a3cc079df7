from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.providers.web.support import cheap, request_bytes
from tests.providers.web.websocket.support import (
    KEY,
    PROOF,
    PROPOSAL,
    TEXT,
    frame,
    talking,
)

pytestmark = pytest.mark.anyio


def proposal(**changed: str | None) -> list[str]:
    """Return the header fields of a proposal, with some of them changed, or left out."""
    fields: dict[str, str | None] = {}
    fields.update((name, value) for name, _, value in (e.partition(": ") for e in PROPOSAL))
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return [f"{name}: {value}" for name, value in fields.items() if value is not None]


async def test_a_session_is_opened_as_the_rfc_says() -> None:
    async with talking() as served:
        client = await served.connect()
        answer = await client.open("/", "sec-websocket-protocol: chat")
        client.close()

    assert answer.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"] == "upgrade"
    assert answer.headers["sec-websocket-accept"] == PROOF
    assert answer.headers.keys() == {"date", "upgrade", "connection", "sec-websocket-accept"}


@pytest.mark.parametrize(
    "fields",
    [
        proposal(connection="keep-alive, UPGRADE", upgrade="h2c, WebSocket"),
        proposal(content_length="0"),
        proposal(sec_websocket_extensions="permessage-deflate; client_max_window_bits"),
        proposal(sec_websocket_protocol="caf\xe9, (, ,"),
    ],
)
async def test_what_else_is_proposed_is_left_out(fields: list[str]) -> None:
    async with talking() as served:
        client = await served.connect()
        await client.send("\r\n".join(["GET / HTTP/1.1", "host: x", *fields, "", ""]).encode("l1"))
        answer = await client.answer()
        client.close()

    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers
    assert "sec-websocket-protocol" not in answer.headers


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (proposal(upgrade=None), 426),
        (proposal(upgrade="h2c"), 426),
        (proposal(connection="keep-alive"), 426),
        (proposal(sec_websocket_version="8"), 426),
        (proposal(sec_websocket_version=None), 426),
        (proposal(sec_websocket_key=None), 400),
        (proposal(sec_websocket_key="c2hvcnQ="), 400),
        (proposal(sec_websocket_key="!" * 24), 400),
        (proposal(sec_websocket_key="\xe9" * 24), 400),
        ([*PROPOSAL, f"sec-websocket-key: {KEY}"], 400),
        (proposal(content_length="3"), 400),
    ],
)
async def test_what_proposes_no_session_gets_none(fields: list[str], status: int) -> None:
    async with talking() as served:
        client = await served.connect()
        head = "\r\n".join(["GET / HTTP/1.1", "host: x", *fields, "", "abc"])
        await client.send(head.encode("latin-1"))
        said = await client.reader.readuntil(b"}")
        client.close()

    head, _, body = said.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(body)["status"] == status
    is_told = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13" in head
    assert is_told is (status == 426)


async def test_other_methods_than_get_are_told_so() -> None:
    async with talking() as served:
        client = await served.connect()
        await client.send(request_bytes("/", *PROPOSAL, method="PUT"))
        answer = await client.answer()
        client.close()

    assert (answer.status, answer.headers["allow"]) == (405, "GET")


async def test_http_1_0_knows_no_sessions() -> None:
    async with talking() as served:
        client = await served.connect()
        await client.send(request_bytes("/", *PROPOSAL).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await client.answer()
        client.close()

    assert answer.status == 400


async def test_a_proposal_that_fails_is_the_last_request_of_its_connection() -> None:
    async with talking() as served:
        client = await served.connect()
        bad = proposal(sec_websocket_version="8")
        await client.send(request_bytes("/", *bad) + b"\x81\x81maskx")
        rest = await client.rest()
        client.close()

    assert rest.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in rest


ALLOWED = ["https://a.example", "http://b.example:8000"]


@pytest.mark.parametrize(
    ("origin", "host", "origins", "status"),
    [
        ("http://x", "x", [], 101),
        ("https://X:8080", "x:8080", [], 101),
        ("https://x", "x:443", [], 101),
        ("http://x:80", "x", [], 101),
        ("http://y", "x", [], 403),
        ("http://x:81", "x", [], 403),
        ("http://x.y", "x", [], 403),
        ("http://x@y", "x", [], 403),
        ("null", "x", [], 403),
        ("", "x", [], 403),
        ("http://[", "x", [], 403),
        ("https://A.example", "x", ALLOWED, 101),
        ("http://a.example", "x", ALLOWED, 403),
        ("http://b.example:8000", "x", ALLOWED, 101),
        ("http://x", "x", ALLOWED, 101),
        ("http://y", "x", ["*"], 101),
        ("http://x, http://y", "x", [], 403),
    ],
)
async def test_pages_of_other_sites_open_no_session(
    origin: str, host: str, origins: list[str], status: int
) -> None:
    async with talking(origins=origins) as served:
        client = await served.connect()
        head = request_bytes("/", *PROPOSAL, f"origin: {origin}")
        await client.send(head.replace(b"host: x", f"host: {host}".encode()))
        answer = await client.answer()
        client.close()

    assert answer.status == status


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [("b, a", "b"), ("z,  a", "a"), ("z", None), ("A", None), ("a b", None)],
)
async def test_the_first_subprotocol_that_is_known_is_spoken(
    proposed: str, chosen: str | None
) -> None:
    seen = []
    async with talking(
        on_open=lambda baton: seen.append(baton["websocket"].subprotocol), subprotocols=["a", "b"]
    ) as served:
        client = await served.connect()
        answer = await client.open("/", f"sec-websocket-protocol: {proposed}")
        await client.send(frame(TEXT, b"x"))
        await client.frame()
        client.close()

    assert answer.headers.get("sec-websocket-protocol") == chosen
    assert seen == [chosen]


async def test_a_session_is_not_opened_while_its_pipeline_is_away() -> None:
    async with talking(is_ready=False) as served:
        client = await served.connect()
        answer = await client.open()
        client.close()

    assert answer.status == 503
    assert "retry-after" in answer.headers


async def test_frames_that_come_before_the_answer_are_the_first_of_the_session() -> None:
    async with talking() as served:
        client = await served.connect()
        await client.send(request_bytes("/", *PROPOSAL) + frame(TEXT, b"early"))
        await client.answer()
        echoed = await client.frame()
        client.close()

    assert echoed == (TEXT, b"early")


async def test_a_session_may_follow_other_requests_on_their_connection() -> None:
    async with talking() as served:
        client = await served.connect()
        await client.send(request_bytes("/none") * 2 + request_bytes("/", *PROPOSAL))
        answers = [await client.answer() for _ in range(3)]
        await client.send(frame(TEXT, b"a"))
        echoed = await client.frame()
        client.close()

    assert [each.status for each in answers] == [404, 404, 101]
    assert echoed == (TEXT, b"a")


@pytest.mark.parametrize(
    ("auth", "known", "unknown"),
    [
        ({"bearer": {"ann": "t0ken"}}, "Bearer t0ken", "Bearer other"),
        (
            {"basic": {"ann": str(cheap("t0ken"))}},
            f"Basic {b64encode(b'ann:t0ken').decode()}",
            f"Basic {b64encode(b'ann:other').decode()}",
        ),
    ],
)
async def test_sessions_are_opened_only_for_those_who_may(
    auth: dict[str, Any], known: str, unknown: str
) -> None:
    users = []
    async with talking(
        on_open=lambda baton: users.append(baton["request"].user), site={"auth": auth}
    ) as served:
        for wrong in ([], [f"authorization: {unknown}"]):
            stranger = await served.connect()
            answer = await stranger.open("/", *wrong)
            assert answer.status == 401
            stranger.close()
        client = await served.talk(f"authorization: {known}")
        await client.send(frame(TEXT, b"a"))
        echoed = await client.frame()
        client.close()

    assert users == ["ann"]
    assert echoed == (TEXT, b"a")


async def test_a_session_counts_as_a_connection_of_its_site() -> None:
    async with talking() as served:
        client = await served.talk()
        places = len(served.server._acceptor)
        client.close()

    assert places == 1
