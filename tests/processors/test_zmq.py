from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError, QueueFull, Unavailable
from tests.processors.conftest import Make, Problems, Run


class Queue:
    def __init__(self, full: int = 0) -> None:
        self.full = full
        self.attempts = 0
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.attempts += 1
        if self.attempts <= self.full:
            raise QueueFull("full")
        self.sent.append(message)


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("é", "é".encode()),
        (b"a", b"a"),
        (["a", b"b"], [b"a", b"b"]),
        (("a", bytearray(b"b")), [b"a", b"b"]),
        (bytearray(b"a"), b"a"),
    ],
)
def test_send_zmq_message_sends_text_bytes_and_frames(run: Run, message: Any, sent: Any) -> None:
    queue = Queue()

    result = run("send-zmq-message: {queue_name: jobs}", message, **{"zmq.queue.jobs": queue})

    assert result is message
    assert queue.sent == [sent]


def test_send_zmq_message_takes_the_message_from_its_path(run: Run) -> None:
    queue, baton = Queue(), {"a": {"b": "c"}}
    text = "send-zmq-message: {queue_name: jobs, message_path: a.b}"

    assert run(text, baton, **{"zmq.queue.jobs": queue}) is baton

    assert queue.sent == [b"c"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            {"a": 1},
            "expected text, bytes or a list of frames at 'm',"
            " got dict (encode it first, as encode-json does)",
        ),
        (
            5,
            "expected text, bytes or a list of frames at 'm',"
            " got int (encode it first, as encode-json does)",
        ),
        (None, "expected text, bytes or a list of frames at 'm', got NoneType"),
        ([], "expected text, bytes or a list of frames at 'm', got no frames"),
        (["a", None], "expected frames of text or bytes at 'm', got NoneType"),
        ("\ud800", "expected text, bytes or a list of frames at 'm', got text that is no Unicode"),
    ],
)
def test_send_zmq_message_refuses_what_is_no_message(run: Run, message: Any, reason: str) -> None:
    text = "send-zmq-message: {queue_name: jobs, message_path: m}"

    with pytest.raises(BatonError) as raised:
        run(text, {"m": message}, **{"zmq.queue.jobs": Queue()})

    assert str(raised.value) == reason


def test_send_zmq_message_says_when_there_is_nothing(run: Run) -> None:
    text = "send-zmq-message: {queue_name: jobs, message_path: m}"

    with pytest.raises(BatonError) as raised:
        run(text, {}, **{"zmq.queue.jobs": Queue()})

    assert str(raised.value) == "expected text, bytes or a list of frames at 'm', got nothing"


def test_send_zmq_message_without_retries_makes_one_attempt(make: Make, run: Run) -> None:
    queue = Queue(full=1)
    text = "send-zmq-message: {queue_name: jobs}"

    with pytest.raises(QueueFull):
        run(text, "a", **{"zmq.queue.jobs": queue})

    assert not make(text).is_async
    assert queue.attempts == 1


def test_send_zmq_message_tries_as_often_as_it_is_told(run: Run) -> None:
    queue, hopeless = Queue(full=2), Queue(full=9)
    text = "send-zmq-message: {queue_name: jobs, retries: 3, retry_wait: 0}"

    assert run(text, "a", **{"zmq.queue.jobs": queue}) == "a"
    with pytest.raises(QueueFull):
        run(text, "a", **{"zmq.queue.jobs": hopeless})

    assert (queue.attempts, queue.sent) == (3, [b"a"])
    assert hopeless.attempts == 3


def test_send_zmq_message_needs_its_queue(run: Run) -> None:
    with pytest.raises(Unavailable) as raised:
        run("send-zmq-message: {queue_name: jobs}", "a")

    assert str(raised.value) == "'zmq.queue.jobs' is not available: not started yet"


def test_send_zmq_message_makes_one_attempt_at_least(problems: Problems) -> None:
    assert problems("send-zmq-message: {queue_name: jobs, retries: 0}") == [
        "expected int >= 1, got 0"
    ]
