"""Passwords: hashed once by ``piped hash-password``, verified beside the event loop.

A hash is text: ``$scrypt$ln=15,r=8,p=1$salt$hash``, salt and hash in base64 without padding, ``ln``
the logarithm of the cost. It takes time and memory on purpose (RFC 7914), so that a stolen document
does not give passwords away; see ``Verifier`` for how clients are kept from using that up.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from piped.errors import PipedError

LN: Final = 15
R: Final = 8
P: Final = 1
LENGTH: Final = 32

LARGEST_LN: Final = 20
LARGEST_BYTES: Final = 1 << 28  # of memory for one hash
LONGEST: Final = 1024  # signs of a password

AT_ONCE: Final = 2
"""How many hashes are computed at a time, each by a thread."""
WAITING: Final = 32
"""How many more passwords may wait for that; those beyond are answered 503."""
REMEMBERED: Final = 1024
"""How many passwords that were right are remembered, so that they cost nothing more."""
REMEMBERED_S: Final = 300.0

_FORM: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{8,})\$([A-Za-z0-9+/]{22,})"
)


class TooManyPasswords(PipedError):
    """Raised when more passwords wait to be verified than may."""

    http_status: ClassVar[int] = 503


@dataclass(frozen=True, slots=True)
class Hash:
    """A password that nobody can read."""

    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def __str__(self) -> str:
        salt, digest = (b64encode(each).decode().rstrip("=") for each in (self.salt, self.digest))
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${salt}${digest}"

    def matches(self, password: str) -> bool:
        """Tell whether it was made of a password. This takes long."""
        return hmac.compare_digest(_scrypt(password, self), self.digest)

    def decoy(self) -> Hash:
        """Return a hash that takes as long, and that no password matches."""
        return replace(self, salt=os.urandom(16), digest=bytes(LENGTH))


def hashed(password: str) -> Hash:
    """Return the hash of a password, with salt of its own."""
    empty = Hash(LN, R, P, os.urandom(16), bytes(LENGTH))
    return replace(empty, digest=_scrypt(password, empty))


def read_hash(text: str) -> Hash:
    """Return what a text says of a hash.

    Raises:
        ValueError: It is no hash, or would cost more than a server should pay.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("expected a hash such as $scrypt$ln=15,r=8,p=1$..., got other text")
    ln, r, p = (int(match[i]) for i in (1, 2, 3))
    if not (1 <= ln <= LARGEST_LN and r and p) or (128 * r << ln) > LARGEST_BYTES:
        raise ValueError(f"expected a hash of at most 256 MiB, got ln={ln}, r={r}, p={p}")
    try:
        salt, digest = (b64decode(each + "=" * (-len(each) % 4)) for each in match.groups()[3:])
    except binascii.Error:
        raise ValueError("expected salt and hash in base64, got other text") from None
    return Hash(ln, r, p, salt, digest)


def _scrypt(password: str, to: Hash) -> bytes:
    memory = 128 * to.r * ((1 << to.ln) + to.p + 2)
    length = len(to.digest)
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=to.salt, n=1 << to.ln, r=to.r, p=to.p, maxmem=2 * memory, dklen=length,
    )  # fmt: skip


class Verifier:
    """Verifies the passwords of a site, a few at a time, and remembers those that were right.

    It remembers digests under a key of its own, never passwords.
    """

    __slots__ = ("_key", "_places", "_right", "_waiting")

    def __init__(self) -> None:
        self._key = os.urandom(32)
        # Until when it is remembered that a hash matches a password, which is there as its digest.
        self._right: OrderedDict[tuple[Hash, bytes], float] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def knows(self, wanted: Hash, password: str) -> bool:
        """Tell whether a password is known to match a hash, without computing that."""
        known_until = self._right.get((wanted, self._mark(password)), 0.0)
        return asyncio.get_running_loop().time() < known_until

    async def verify(self, wanted: Hash, password: str) -> bool:
        """Tell whether a password matches a hash.

        Raises:
            TooManyPasswords: So many wait already that this one would wait too long.
        """
        if self._waiting >= AT_ONCE + WAITING:
            raise TooManyPasswords(f"{self._waiting} passwords wait to be verified")
        self._waiting += 1
        try:
            async with self._places:
                if self.knows(wanted, password):  # a browser asks for many things at once
                    return True
                is_right = await asyncio.to_thread(wanted.matches, password)
        finally:
            self._waiting -= 1
        if is_right:
            self._remember(wanted, password)
        return is_right

    def _remember(self, wanted: Hash, password: str) -> None:
        key = wanted, self._mark(password)
        self._right[key] = asyncio.get_running_loop().time() + REMEMBERED_S
        self._right.move_to_end(key)
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)

    def _mark(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode("utf-8", "surrogateescape"), "sha256")
