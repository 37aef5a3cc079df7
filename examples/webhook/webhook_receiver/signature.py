"""Signatures of webhooks, by the rules of Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Annotated, Any, ClassVar

from piped import Baton, BatonPath, Duration, Meta, PipedError, Processor, processor
from piped.batons import getter, setter
from piped.errors import Problem
from piped.spec import Step

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class BadSignature(PipedError):
    """Raised when a request is not signed as it should be; it is answered 401."""

    http_status: ClassVar[int] = 401


@processor("verify-signature")
class VerifySignature(Processor):
    """Let a web request pass if it is signed with our secret, and was so a short while ago.

    The signature is the HMAC-SHA256 of ``id.timestamp.body``, in base64, behind ``v1,``. It stands
    in the header ``webhook-signature``; where several stand there, one of them must be right, so
    that a sender can change its secret. Puts ``{id}`` into the baton, in place.

    Example:
        verify-signature: {secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, output_path: delivery}

    Raises:
        BadSignature: There is none, it is wrong, or it is too old.
    """

    secret: Annotated[
        str, Meta(min_length=1, description="The secret: as text, or whsec_ and base64.")
    ]
    tolerance: Annotated[
        Duration, Meta(description="How far the timestamp may be from our own clock.")
    ] = Duration(300.0)
    request_path: Annotated[BatonPath, Meta(description="Where the request is.")] = BatonPath(
        "request"
    )
    output_path: Annotated[BatonPath, Meta(description="Where the id goes.")] = BatonPath(
        "delivery"
    )
    _now: Callable[[], float] = field(default=time.time, init=False)

    def check(self) -> Iterable[Problem]:
        try:
            key_of(self.secret)
        except binascii.Error as error:
            yield Problem("wrong-value", f"expected base64 behind 'whsec_': {error}", at="secret")

    def step(self) -> Step:
        get, put, key = getter(self.request_path), setter(self.output_path), key_of(self.secret)

        def step(baton: Baton) -> Baton:
            request = get(baton)
            identity, sent, given = (request.headers.get(name) for name in HEADERS)
            if not identity or not sent or not given:
                raise BadSignature(f"expected the headers {', '.join(HEADERS)}")
            right = signature_of(key, identity, sent, request.body())
            if not any(hmac.compare_digest(right, each.encode()) for each in given.split(" ")):
                raise BadSignature("the signature is wrong")
            self._fail_if_too_far(sent)
            return put(baton, {"id": identity})

        return step

    def _fail_if_too_far(self, sent: str) -> None:
        """Refuse what somebody has recorded and sends again later."""
        try:
            distance = abs(self._now() - int(sent))
        except ValueError:
            raise BadSignature(f"expected a timestamp in seconds, got {sent[:40]!r}") from None
        if distance > self.tolerance:
            raise BadSignature(f"signed {distance:.0f} s away from now")


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret."""
    prefix, has_prefix, rest = secret.partition("whsec_")
    if has_prefix and not prefix:
        return base64.b64decode(rest, validate=True)
    return secret.encode()


def signature_of(key: bytes, identity: str, sent: str, body: Any) -> bytes:
    """Return the signature that a request should have."""
    signed = f"{identity}.{sent}.".encode() + body
    return b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
