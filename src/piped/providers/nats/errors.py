"""What goes wrong with NATS and is worth a name of its own."""

from __future__ import annotations

import re
import ssl
from typing import ClassVar, Final

from nats.errors import Error
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

from piped.errors import Misconfigured, PipedError, QueueFull, RequestFailed, Unavailable

_REFUSED: Final = ("authorization violation", "authentication expired", "authentication revoked")
_FULL: Final = frozenset({10023, 10047, 10054, 10077})
"""JetStream's codes for a store, an account or a message that has no room."""
_NO_CERTIFICATE: Final = re.compile(r"ALERT_(\w*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
"""What a server says by TLS that does not take our certificate, or misses one."""


class NoResponders(Unavailable):
    """Raised when nobody listens on the subject of a request, or no stream keeps it."""

    http_status: ClassVar[int] = 503


class WrongRevision(PipedError):
    """Raised when a value is not stored, because another one was stored meanwhile."""

    http_status: ClassVar[int] = 409


def reason_of(error: BaseException) -> str:
    """Return in words, without the library's own prefix, what is wrong."""
    if isinstance(error, APIError) and error.description:
        return error.description
    if isinstance(error, ssl.SSLError) and error.reason:
        words = error.reason.lower().replace("_", " ")
        more = getattr(error, "verify_message", "")  # of a certificate
        return f"{words}: {more[:1].lower()}{more[1:].rstrip('.')}" if more else words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = re.sub(r"^nats: ", "", str(error)).strip("'\" ") or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}"


def is_final(error: BaseException) -> bool:
    """Tell whether a connection that failed so will never be made as it is written."""
    if isinstance(error, ssl.SSLError):
        is_bad = isinstance(error, ssl.SSLCertVerificationError)
        return is_bad or bool(_NO_CERTIFICATE.search(error.reason or ""))
    return is_refusal(error)


def is_refusal(error: BaseException) -> bool:
    """Tell whether a server does not let us in, after we have said who we are."""
    return isinstance(error, Error) and any(each in str(error).lower() for each in _REFUSED)


def of_jetstream(error: Error, what: str) -> PipedError:
    """Return what an error of JetStream means to a pipeline; ``what`` begins its text."""
    text = f"{what}: {reason_of(error)}"
    if isinstance(error, NoStreamResponseError):
        return NoResponders(f"{what}: no stream keeps it, or JetStream is away")
    if isinstance(error, APIError) and error.err_code in _FULL:
        return QueueFull(text)
    if isinstance(error, ServiceUnavailableError | TimeoutError):
        return Unavailable(text)
    return RequestFailed(text)


def at_start(error: Error | TimeoutError, what: str) -> PipedError:
    """Return what an error of JetStream, or its silence, means to a provider that begins."""
    if not isinstance(error, Error):
        return Unavailable(f"{what}: no answer")
    text = f"{what}: {reason_of(error)}"
    if isinstance(error, APIError) and not isinstance(error, ServiceUnavailableError):
        return Misconfigured(text)
    return Unavailable(text)
