from __future__ import annotations

import pytest

from piped.providers.zmq import endpoints


@pytest.mark.parametrize(
    "endpoint",
    [
        *("tcp://127.0.0.1:5000", "tcp://*:*", "tcp://[::]:5000", "tcp://host.example:1"),
        *("tcp://127.0.0.1:0", "ipc:///run/jobs", "ipc://jobs", "ipc://@jobs", "inproc://jobs"),
    ],
)
def test_addresses_to_bind(endpoint: str) -> None:
    assert endpoints.wrong_with(endpoint, is_bind=True) == ""


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://host", "expected tcp://host:port, ipc://path or inproc://name, got 'tcp://host'"),
        ("tcp://::1:5", "expected tcp://host:port, ipc://path or inproc://name, got 'tcp://::1:5'"),
        ("udp://a:1", "expected tcp://host:port, ipc://path or inproc://name, got 'udp://a:1'"),
        ("ipc://", "expected tcp://host:port, ipc://path or inproc://name, got 'ipc://'"),
        ("tcp://a:65536", "expected a port of at most 65535, got 'tcp://a:65536'"),
        ("tcp://a:*", "expected a port to connect to, got 'tcp://a:*'"),
        ("tcp://a:0", "expected a port to connect to, got 'tcp://a:0'"),
        (
            "ipc://" + "a" * 108,
            f"expected an ipc path of at most 107 bytes, got {'ipc://' + 'a' * 108!r}",
        ),
    ],
)
def test_addresses_that_cannot_be_connected_to(endpoint: str, expected: str) -> None:
    assert endpoints.wrong_with(endpoint, is_bind=False) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://0.0.0.0:5000", "tcp://127.0.0.1:5000"),
        ("tcp://*:5000", "tcp://127.0.0.1:5000"),
        ("tcp://[::]:5000", "tcp://[::1]:5000"),
        ("tcp://host:5000", "tcp://host:5000"),
        ("ipc://jobs", "ipc://jobs"),
    ],
)
def test_a_wildcard_is_reached_on_this_machine(endpoint: str, expected: str) -> None:
    assert endpoints.reachable(endpoint) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://0.0.0.0:1", True),
        ("tcp://*:1", True),
        ("tcp://[::]:1", True),
        ("tcp://10.0.0.1:1", True),
        ("tcp://eth0:1", True),
        ("tcp://127.0.0.2:1", False),
        ("tcp://[::1]:1", False),
        ("tcp://localhost:1", False),
        ("ipc://jobs", False),
    ],
)
def test_open_addresses_are_those_beyond_loopback(endpoint: str, expected: bool) -> None:
    assert endpoints.is_open(endpoint) is expected
