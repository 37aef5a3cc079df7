"""Which answers of a worker are sent again."""

from __future__ import annotations

from piped.workers.frames import Answer
from piped.workers.nats.answers import KEPT, Answers, Sent, address_of

SENT = Sent("front", Answer(b"i" * 16, 1, True, b"[1]"), until=5.0)


def test_an_answer_that_nobody_has_heard_is_found_once() -> None:
    answers = Answers("_INBOX.a")
    reply = answers.note(SENT, 0.0, is_connected=True)

    assert address_of(reply) == "_INBOX.a"
    assert answers.unheard(reply, 1.0) is SENT
    assert answers.unheard(reply, 1.0) is None


def test_an_answer_that_nobody_waits_for_any_more_is_not_sent_again() -> None:
    answers = Answers("_INBOX.a")
    reply = answers.note(SENT, 0.0, is_connected=True)

    assert answers.unheard(reply, 5.0) is None


def test_answers_are_forgotten_after_a_while() -> None:
    answers = Answers("_INBOX.a")
    old = answers.note(SENT, 0.0, is_connected=True)
    answers.note(SENT, 2.0, is_connected=True)

    assert answers.unheard(old, 2.0) is None


def test_answers_that_wait_for_the_server_are_kept() -> None:
    answers = Answers("_INBOX.a")
    old = answers.note(SENT, 0.0, is_connected=True)
    answers.note(SENT, 3.0, is_connected=False)
    answers.since = 3.5
    answers.note(SENT, 4.0, is_connected=True)

    assert answers.unheard(old, 4.0) is SENT


def test_no_more_than_some_answers_are_kept() -> None:
    answers = Answers("_INBOX.a")
    replies = [answers.note(SENT, 0.0, is_connected=True) for _ in range(KEPT + 1)]

    assert answers.unheard(replies[0], 0.0) is None
    assert answers.unheard(replies[1], 0.0) is SENT


def test_an_inbox_is_the_address_of_what_is_no_answer() -> None:
    address = address_of("_INBOX.a")

    assert address == "_INBOX.a"
