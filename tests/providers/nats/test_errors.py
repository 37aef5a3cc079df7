"""What errors of the client mean: in words, and whether there is hope."""

from __future__ import annotations

import ssl

import pytest
from nats.errors import Error

from piped.providers.nats.errors import is_final, is_refusal, reason_of


def of_tls(reason: str) -> ssl.SSLError:
    """Return an error as OpenSSL tells it."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "words", "is_hopeless"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "tlsv13 alert certificate required", True),
        ("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca", True),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "sslv3 alert bad certificate", True),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "sslv3 alert certificate expired", True),
        ("TLSV1_ALERT_INTERNAL_ERROR", "tlsv1 alert internal error", False),
        ("UNEXPECTED_EOF_WHILE_READING", "unexpected eof while reading", False),
    ],
)
def test_a_server_that_does_not_take_our_certificate_will_not_later(
    reason: str, words: str, is_hopeless: bool
) -> None:
    error = of_tls(reason)

    assert (reason_of(error), is_final(error), is_refusal(error)) == (words, is_hopeless, False)


def test_a_refusal_is_final() -> None:
    error = Error("nats: 'Authorization Violation'")

    assert (is_final(error), is_refusal(error)) == (True, True)


def test_an_error_of_the_system_is_told_without_its_number() -> None:
    error = ConnectionRefusedError(111, "Connection refused")

    assert (reason_of(error), is_final(error)) == ("connection refused", False)
