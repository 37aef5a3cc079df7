"""Keys, and what is signed with them: what `nsc` does for those who run servers, for tests."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, Final, Self

import nkeys

FOREVER: Final = 4_000_000_000  # seconds since 1970


class Key:
    """A pair of keys of an operator, an account or a user."""

    def __init__(self, prefix: int) -> None:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        self.seed: str = seed.decode()
        self._pair = nkeys.from_seed(bytearray(seed))
        self.public: str = self._pair.public_key.decode()

    @classmethod
    def of_user(cls) -> Self:
        return cls(nkeys.PREFIX_BYTE_USER)

    def signed(self, whom: Key, kind: str, expires: int = FOREVER, **claims: Any) -> str:
        """Return a JWT that says what somebody may do."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {
            "jti": whom.public,
            "iat": 1,
            "exp": expires,
            "iss": self.public,
            "name": kind,
            "sub": whom.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        text = f"{_told(json.dumps(head).encode())}.{_told(json.dumps(body).encode())}"
        return f"{text}.{_told(self._pair.sign(text.encode()))}"


class Operator:
    """One who runs a server, with an account for users and one for the server itself."""

    def __init__(self) -> None:
        self._key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account, self._system = (Key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))

    @property
    def config(self) -> str:
        """What the configuration of a server says of all that."""
        rest = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        account, system = (
            self._key.signed(each, "account", limits={**rest, **more})
            for each, more in ((self._account, stored), (self._system, {}))
        )
        return (
            f"operator: {self._key.signed(self._key, 'operator')}\n"
            f"system_account: {self._system.public}\n"
            "resolver: MEMORY\n"
            "resolver_preload: {\n"
            f"  {self._account.public}: {account}\n"
            f"  {self._system.public}: {system}\n"
            "}"
        )

    def credentials(self, user: Key, signs: Key | None = None, expires: int = FOREVER) -> str:
        """Return a file as `nsc` writes it; ``signs`` has the seed in it, if not the user."""
        free = dict.fromkeys(("subs", "data", "payload"), -1)
        jwt = self._account.signed(user, "user", expires, **free)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{(signs or user).seed}\n"
            "------END USER NKEY SEED------\n"
        )


def _told(what: bytes) -> str:
    return base64.urlsafe_b64encode(what).rstrip(b"=").decode()
