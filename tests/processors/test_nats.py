from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError, InvalidBaton, RequestFailed
from tests.processors.conftest import Problems, Run
from tests.processors.nats_fakes import Bucket, Connection


def over(resource: Any) -> dict[str, Any]:
    return {"nats.main": resource, "nats.kv.users": resource}


@pytest.mark.parametrize(
    ("more", "baton", "data"),
    [
        ("", "é", "é".encode()),
        ("", b"a", b"a"),
        (", input_path: m", {"m": bytearray(b"a")}, b"a"),
        (", format: json", {"a": [1]}, b'{"a":[1]}'),
        (", format: msgpack", 1, b"\x01"),
    ],
)
def test_publish_nats_message_sends_the_message(run: Run, more: str, baton: Any, data: Any) -> None:
    connection = Connection()

    result = run(f"publish-nats-message: {{subject: a.b{more}}}", baton, **over(connection))

    assert result is baton
    assert connection.calls == [("a.b", data, None)]


def test_publish_nats_message_takes_subject_and_headers_from_the_baton(run: Run) -> None:
    connection = Connection()
    text = (
        "publish-nats-message: {subject: !path to, input_path: m,"
        " headers: {A: x, B: !path b, C: !path c, D: !path none}}"
    )

    run(text, {"to": "t", "m": "", "b": "y", "c": None}, **over(connection))

    assert connection.calls == [("t", b"", {"A": "x", "B": "y"})]


def test_publish_nats_message_waits_for_the_stream(run: Run) -> None:
    connection = Connection()
    text = (
        "publish-nats-message: {subject: a, input_path: m, jetstream: true,"
        " message_id: !path id, timeout: 1s}"
    )

    run(text, {"m": "x", "id": "7"}, **over(connection))

    assert connection.calls == [("a", b"x", None, "7", 1.0)]


@pytest.mark.parametrize(
    ("more", "baton", "reason"),
    [
        ("input_path: m", {}, "expected a message at 'm', got nothing"),
        (
            "input_path: m",
            {"m": {}},
            "expected text or bytes at 'm', got dict (encode it first, or say 'format: json')",
        ),
        ("subject: !path s", {"s": 7}, "expected text for 'subject', got int"),
        ("subject: !path s", {}, "expected text for 'subject', got nothing"),
    ],
)
def test_publish_nats_message_refuses_what_is_none(
    run: Run, more: str, baton: Any, reason: str
) -> None:
    subject = "" if "subject" in more else "subject: a, "

    with pytest.raises(BatonError) as raised:
        run(f"publish-nats-message: {{{subject}{more}}}", baton, **over(Connection()))

    assert str(raised.value) == reason


def test_publish_nats_message_says_where_a_message_id_has_no_effect(problems: Problems) -> None:
    assert problems("publish-nats-message: {subject: a, message_id: b}") == [
        "'message_id' has no effect without 'jetstream: true'"
    ]


@pytest.mark.parametrize(
    ("format_", "answer", "value"),
    [("bytes", b"x", b"x"), ("text", b"x", "x"), ("json", b"[1]", [1]), ("msgpack", b"\x01", 1)],
)
def test_request_nats_puts_the_answer_into_the_baton(
    run: Run, format_: str, answer: bytes, value: Any
) -> None:
    connection = Connection(answer)
    text = f"request-nats: {{subject: a, input_path: m, format: {format_}, timeout: 1s}}"

    baton = run(text, {"m": "q"}, **over(connection))

    assert baton == {"m": "q", "answer": value}
    assert connection.calls[0][0] == "a"
    assert connection.calls[0][2:] == (None, 1.0)


def test_request_nats_may_discard_the_answer(run: Run) -> None:
    baton = run("request-nats: {subject: a, output_path: null}", "q", **over(Connection(b"x")))

    assert baton == "q"


@pytest.mark.parametrize("header", ["Piped-Error", "Nats-Service-Error"])
def test_request_nats_raises_what_the_answer_says_has_failed(run: Run, header: str) -> None:
    connection = Connection(headers={header: "ValueError: no"})

    with pytest.raises(RequestFailed) as raised:
        run("request-nats: {subject: a}", "q", **over(connection))

    assert str(raised.value) == "'a' has failed: ValueError: no"


def test_request_nats_says_where_the_answer_is_not_in_its_format(run: Run) -> None:
    with pytest.raises(InvalidBaton):
        run("request-nats: {subject: a, format: json}", "q", **over(Connection(b"{")))


def test_fetch_nats_value_puts_value_and_revision_into_the_baton(run: Run) -> None:
    text = "fetch-nats-value: {bucket: users, key: !path id, output_path: u, revision_path: r}"

    baton = run(text, {"id": "ada"}, **over(Bucket(ada=1)))

    assert baton == {"id": "ada", "u": 1, "r": 3}


def test_fetch_nats_value_has_a_fallback(run: Run) -> None:
    text = "fetch-nats-value: {bucket: users, key: a, revision_path: r, fallback: x}"

    assert run(text, {}, **over(Bucket())) == {"value": "x", "r": 0}


def test_store_nats_value_stores_what_is_based_on_a_revision(run: Run) -> None:
    bucket = Bucket()
    text = "store-nats-value: {bucket: users, key: a, revision: !path r, revision_path: r}"

    baton = run(text, {"value": 1, "r": 3}, **over(bucket))

    assert baton == {"value": 1, "r": 4}
    assert bucket.calls == [("a", 1, 3)]


@pytest.mark.parametrize(
    ("baton", "reason"),
    [
        ({}, "expected a value at 'value', got nothing"),
        ({"value": 1, "r": "x"}, "expected a number for 'revision', got str"),
    ],
)
def test_store_nats_value_refuses_what_is_none(run: Run, baton: Any, reason: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("store-nats-value: {bucket: users, key: a, revision: !path r}", baton, **over(Bucket()))

    assert str(raised.value) == reason
