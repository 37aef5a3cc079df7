from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from piped.providers.zmq import options


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


def test_the_old_name_of_the_mark_means_both_directions(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    with context.socket(zmq.PUSH) as socket:
        options.configure(socket, "PUSH", False, [("HWM", 7)])

        assert (socket.sndhwm, socket.rcvhwm) == (7, 7)


def test_text_is_encoded_and_truth_is_a_number(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with context.socket(zmq.DEALER) as socket:
        options.configure(socket, "DEALER", False, [("IDENTITY", "bøb"), ("ipv6", True)])

        assert socket.getsockopt(zmq.ROUTING_ID) == "bøb".encode()
        assert socket.getsockopt(zmq.IPV6) == 1


def test_every_type_takes_the_defaults(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    for kind, number in options.TYPES.items():
        with context.socket(number) as socket:
            options.configure(socket, kind, True, [])

            assert socket.getsockopt(zmq.LINGER) == 1000


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("SUBSCRIBE", "", ("", "")),
        ("zmq_hwm", 3, ("", "")),
        ("IDENTITY", ["a"], ("", "")),
        (
            "SUBSCRIB",
            "",
            (
                "there is no socket option 'SUBSCRIB'",
                "did you mean 'SUBSCRIBE'?",
            ),
        ),
        ("HWM", "3", ("expected a number for the socket option 'HWM', got '3'", "")),
        ("SUBSCRIBE", 3, ("expected text for the socket option 'SUBSCRIBE', got 3", "")),
    ],
)
def test_options_are_checked(key: str, value: options.Value, expected: tuple[str, str]) -> None:
    assert options.wrong_with(key, value) == expected
