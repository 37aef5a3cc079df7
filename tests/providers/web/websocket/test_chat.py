"""Sessions from a document, talked to by a client that others have written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from piped import Service
from tests.stories.processes import free_ports

pytestmark = pytest.mark.anyio

CHAT = """\
web:
  chat:
    port: 0
    routing:
      rooms:
        __config__:
          websocket:
            processor: pipeline.room.message
            on_open: pipeline.room.enter
            on_close: pipeline.room.leave
            subprotocols: [chat]
            max_message: 4KiB
pipelines:
  room:
    of-client:
      - eval-lambda:
          input_path: request
          output_path: room
          lambda: "request: request.args.get('room', ['lobby'])[0]"
    enter:
      - run-pipeline: {pipeline: .of-client}
      - join-websocket-group: {group: !path room}
      - eval-lambda:
          input_path: websocket
          output_path: message
          lambda: "websocket: {'number': websocket.id}"
      - send-websocket-message
    message:
      - run-pipeline: {pipeline: .of-client}
      - decode-json: {input_path: message, output_path: message}
      - send-websocket-message: {group: !path room}
    leave:
      - run-pipeline: {pipeline: .of-client}
      - set-value: {path: message, value: {event: left}}
      - send-websocket-message: {site: chat, group: !path room}
  news:
    - send-websocket-message: {site: chat, to: all, message_path: news}
  kick:
    - close-websocket: {site: chat, websocket_path: number, code: 4001, reason: kicked}
"""


@asynccontextmanager
async def chat(folder: Path) -> AsyncIterator[tuple[Service, str]]:
    """Run the chat, and tell where its rooms are."""
    [port] = free_ports(1)
    (folder / "chat.yaml").write_text(CHAT.replace("port: 0", f"port: {port}"))
    async with Service.load(folder / "chat.yaml") as service:
        yield service, f"ws://127.0.0.1:{port}/rooms"


async def heard(client: Any, about: str) -> Any:
    """Return the next message about something; skip the others."""
    while about not in (message := json.loads(await client.recv())):
        pass
    return message


async def test_what_one_says_all_in_its_room_hear_and_nobody_else(tmp_path: Path) -> None:
    async with (
        chat(tmp_path) as (service, rooms),
        connect(rooms) as ada,
        connect(rooms) as bob,
        connect(f"{rooms}?room=attic") as eve,
    ):
        for each in (ada, bob, eve):  # who hears that has entered its room
            await each.send('{"here": true}')
            await heard(each, "here")
        await ada.send('{"text": "gr\\u00fcn"}')
        texts = [await heard(ada, "text"), await heard(bob, "text")]
        await service.call("news", {"news": {"rain": True}})
        first = json.loads(await eve.recv())

    assert texts == [{"text": "grün"}] * 2
    assert first == {"rain": True}


async def test_who_leaves_is_missed_by_those_who_stay(tmp_path: Path) -> None:
    async with chat(tmp_path) as (_, rooms), connect(rooms) as ada:
        async with connect(rooms) as bob:
            await bob.send('{"here": true}')
            await heard(bob, "here")
        told = await heard(ada, "event")

    assert told == {"event": "left"}


async def test_somebody_may_be_sent_away_by_number(tmp_path: Path) -> None:
    async with chat(tmp_path) as (service, rooms), connect(rooms) as ada:
        await service.call("kick", await heard(ada, "number"))
        with pytest.raises(ConnectionClosed) as closed:
            await ada.recv()

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "kicked")


async def test_a_session_that_is_over_leads_to_those_that_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.CHAT", CHAT.replace("{site: chat, group:", "{group:"))
    async with chat(tmp_path) as (_, rooms), connect(rooms) as ada:
        async with connect(rooms) as bob:
            await heard(bob, "number")
        told = await heard(ada, "event")

    assert told == {"event": "left"}


async def test_a_subprotocol_is_agreed_upon_and_pings_are_answered(tmp_path: Path) -> None:
    async with (
        chat(tmp_path) as (_, rooms),
        connect(rooms, subprotocols=[Subprotocol("other"), Subprotocol("chat")]) as ada,
    ):
        await (await ada.ping())
        spoken = ada.subprotocol

    assert spoken == "chat"


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [("no JSON: secret", 1011, "error "), ("x" * 4097, 1009, "more than 4096 bytes")],
)
async def test_what_goes_wrong_is_told_by_a_code(
    tmp_path: Path, said: str, code: int, reason: str
) -> None:
    async with chat(tmp_path) as (_, rooms), connect(rooms) as ada:
        await heard(ada, "number")
        await ada.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            await ada.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert closed.value.rcvd.reason.startswith(reason)
    assert "secret" not in closed.value.rcvd.reason


async def test_pages_of_other_sites_are_refused(tmp_path: Path) -> None:
    async with chat(tmp_path) as (_, rooms):
        with pytest.raises(InvalidStatus) as refused:
            await connect(rooms, origin=Origin("https://evil.example"))

    assert refused.value.response.status_code == 403


async def test_a_service_that_stops_says_that_it_goes_away(tmp_path: Path) -> None:
    async with chat(tmp_path) as (_, rooms):
        ada = await connect(rooms)
        await ada.send('{"here": true}')
        await heard(ada, "here")
    with pytest.raises(ConnectionClosed) as closed:
        await ada.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


async def test_a_reload_leaves_sessions_alone_and_gives_them_the_new_pipelines(
    tmp_path: Path,
) -> None:
    async with chat(tmp_path) as (service, rooms), connect(rooms) as ada:
        await heard(ada, "number")
        document = tmp_path / "chat.yaml"
        old = document.read_text()
        changed = "- set-value: {path: message, value: {event: new}}"
        decoding = "- decode-json: {input_path: message, output_path: message}"
        document.write_text(old.replace(decoding, changed))
        await service.reload()
        await ada.send("{}")
        told = await heard(ada, "event")

        document.write_text(old.replace("      rooms:\n", "      halls:\n"))
        await service.reload()
        await ada.send('{"still": "here"}')
        still = await heard(ada, "still")
        with pytest.raises(InvalidStatus) as refused:
            await connect(rooms)

    assert told == {"event": "new"}
    assert still == {"still": "here"}
    assert refused.value.response.status_code == 404
