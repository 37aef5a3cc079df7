from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError, QueueFull
from tests.processors.conftest import Problems, Run


class FakeSession:
    """A session that remembers what was done to it."""

    def __init__(self, number: int = 7, *, is_open: bool = True, error: str = "") -> None:
        self.id, self.is_open, self.error = number, is_open, error
        self.done: list[tuple[Any, ...]] = []
        self.sockets = FakeSockets(self)

    async def send(self, message: str | bytes) -> None:
        if self.error:
            raise QueueFull(self.error)
        self.done.append(("send", message))

    def close(self, code: int, reason: str) -> None:
        self.done.append(("close", code, reason))

    def join(self, group: str) -> None:
        self.done.append(("join", group))

    def leave(self, group: str) -> None:
        self.done.append(("leave", group))


class FakeSockets:
    """The sessions of a site, of which there is one."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.sent: list[tuple[Any, ...]] = []

    def find(self, number: int) -> FakeSession | None:
        return self.session if number == self.session.id else None

    def broadcast(self, message: str | bytes, group: str | None = None) -> int:
        self.sent.append((message, group))
        return 1


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("grün", "grün"),
        (b"\0", b"\0"),
        (bytearray(b"a"), b"a"),
        ({"a": [1]}, '{"a":[1]}'),
        ([1, "ü"], '[1,"ü"]'),
    ],
)
def test_text_and_bytes_are_sent_as_they_are_and_the_rest_as_json(
    run: Run, message: Any, sent: str | bytes
) -> None:
    session = FakeSession()
    baton = {"websocket": session, "message": message}

    result = run("send-websocket-message: {}", baton)

    assert result is baton
    assert session.done == [("send", sent)]


@pytest.mark.parametrize(
    ("text", "message", "what"),
    [
        ("{}", 7, "expected text, bytes, dict or list at 'message', got int"),
        ("{message_path: a.b}", None, "expected text, bytes, dict or list at 'a.b', got nothing"),
    ],
)
def test_other_things_are_not_sent(run: Run, text: str, message: Any, what: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"send-websocket-message: {text}", {"websocket": FakeSession(), "message": message})

    assert str(raised.value) == what


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("{to: all}", None),
        ("{group: lobby}", "lobby"),
        ("{group: !path room}", "attic"),
        ("{to: all, site: chat}", None),
    ],
)
def test_many_are_sent_to_at_once(run: Run, text: str, group: str | None) -> None:
    session = FakeSession()
    baton = {"websocket": session, "message": {"a": 1}, "room": "attic"}

    result = run(f"send-websocket-message: {text}", baton, **{"websockets.chat": session.sockets})

    assert result is baton
    assert session.sockets.sent == [('{"a":1}', group)]


def test_a_session_that_is_over_still_leads_to_its_group(run: Run) -> None:
    session = FakeSession(is_open=False)

    run("send-websocket-message: {group: lobby}", {"websocket": session, "message": "left"})

    assert session.sockets.sent == [("left", "lobby")]


@pytest.mark.parametrize("text", ["{to: all}", "{group: lobby}"])
def test_many_are_found_by_a_session(run: Run, text: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"send-websocket-message: {text}", {"message": "a"})

    assert str(raised.value) == "expected a session at 'websocket', got nothing"


def test_those_of_a_site_are_sent_to_without_a_session(run: Run) -> None:
    sockets = FakeSession().sockets

    run(
        "send-websocket-message: {to: all, site: chat}",
        {"message": "a"},
        **{"websockets.chat": sockets},
    )

    assert sockets.sent == [("a", None)]


def test_a_session_of_a_site_is_found_by_its_number(run: Run) -> None:
    session = FakeSession(7)
    resources = {"websockets.chat": session.sockets}

    run("close-websocket: {site: chat, websocket_path: n}", {"n": 7}, **resources)
    with pytest.raises(BatonError) as raised:
        run("close-websocket: {site: chat, websocket_path: n}", {"n": 8}, **resources)

    assert session.done == [("close", 1000, "")]
    assert str(raised.value) == "the session 8 is not open"


@pytest.mark.parametrize(
    ("text", "baton", "what"),
    [
        ("{}", {"websocket": 7}, "expected a session at 'websocket', got int"),
        (
            "{site: chat}",
            {"websocket": "7"},
            "expected a session or its number at 'websocket', got str",
        ),
        ("{}", {"websocket": FakeSession(is_open=False)}, "the session 7 is not open"),
    ],
)
@pytest.mark.parametrize("name", ["send-websocket-message", "close-websocket"])
def test_there_must_be_a_session_that_is_open(
    run: Run, name: str, text: str, baton: dict[str, Any], what: str
) -> None:
    sockets = FakeSession().sockets

    with pytest.raises(BatonError) as raised:
        run(f"{name}: {text}", baton | {"message": "a"}, **{"websockets.chat": sockets})

    assert str(raised.value) == what


@pytest.mark.parametrize(
    "name",
    [
        "send-websocket-message: {%s}",
        "close-websocket: {%s}",
        "join-websocket-group: {group: a, %s}",
    ],
)
def test_a_session_that_is_over_can_be_skipped(run: Run, name: str) -> None:
    session = FakeSession(is_open=False)
    baton = {"websocket": session, "message": "a"}

    result = run(name % "skip_if_closed: true", baton)

    assert result is baton
    assert session.done == []


def test_a_queue_that_is_full_is_no_end(run: Run) -> None:
    session = FakeSession(error="32 messages wait for the client to read")

    with pytest.raises(QueueFull) as raised:
        run(
            "send-websocket-message: {skip_if_closed: true}",
            {"websocket": session, "message": "a"},
        )

    assert str(raised.value) == "32 messages wait for the client to read"


def test_a_session_joins_and_leaves_groups(run: Run) -> None:
    session = FakeSession()
    baton = {"websocket": session, "room": "attic"}

    run("join-websocket-group: {group: lobby}", baton)
    run("join-websocket-group: {group: !path room, leave: true}", baton)

    assert session.done == [("join", "lobby"), ("leave", "attic")]


@pytest.mark.parametrize(("room", "got"), [({"room": 7}, "7"), ({}, "nothing")])
def test_a_group_has_a_name(run: Run, room: dict[str, Any], got: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("join-websocket-group: {group: !path room}", {"websocket": FakeSession(), **room})

    assert str(raised.value) == f"expected the name of a group, got {got}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "close-websocket: {code: 1006}",
            "expected a code such as 1000, or from 3000 to 4999, got 1006",
        ),
        (
            "close-websocket: {reason: %s}" % ("ü" * 62),
            "expected a reason of at most 123 bytes, got 'üüüüüüüüüüüüü",
        ),
        (
            "send-websocket-message: {to: all, group: a}",
            "expected either 'to: all' or a 'group'",
        ),
    ],
)
def test_what_is_wrong_is_found_before_it_runs(
    problems: Problems, text: str, expected: str
) -> None:
    (found,) = problems(text)

    assert found.startswith(expected)
