"""Who we are to a server, where a file says it: credentials as ``nsc`` makes them, or a seed.

The client of nats-py reads such a file again and again, for ever if it holds something else. So
we read it, once for each connection, and hand on what is in it.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

from nats.aio.client import RawCredentials

from piped.errors import Misconfigured
from piped.providers.nats.errors import reason_of

MOST: Final = 1 << 16
"""How long such a file may be, in bytes."""

_JWT: Final = re.compile(r"-+BEGIN NATS USER JWT-+\s+([\w-]+\.[\w-]+\.[\w-]+)\s")
_SEED: Final = re.compile(r"-+BEGIN USER NKEY SEED-+\s+(SU[A-Z2-7]{56})\s")
_BARE_SEED: Final = re.compile(r"\s*(SU[A-Z2-7]{56})\s*")
_CREDENTIALS: Final = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------
-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def of_file(key: str, file: str) -> dict[str, Any]:
    """Return the options of nats-py that a file stands for.

    Args:
        key: ``credentials`` or ``nkey``, which says what is in the file.
        file: Its path.

    Raises:
        Misconfigured: It cannot be read, or something else is in it; what it is, is not told.
    """
    path = os.path.expanduser(file)
    text = _read(path, key)
    if key == "nkey":
        seed = _BARE_SEED.fullmatch(text)
        if seed is None:
            raise _wrong(key, path, "the seed of a user, 'SU' and 56 letters and digits")
        return {"nkeys_seed_str": seed[1]}
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise _wrong(key, path, "the JWT and the seed of a user, as nsc writes them")
    return {"user_credentials": RawCredentials(_CREDENTIALS.format(jwt=jwt[1], seed=seed[1]))}


def _read(path: str, key: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read(MOST)
    except (OSError, ValueError) as error:  # a path may hold what no path can
        what = f"cannot read the file of '{key}', '{path}': {reason_of(error)}"
        raise Misconfigured(what) from error


def _wrong(key: str, path: str, expected: str) -> Misconfigured:
    return Misconfigured(f"expected {expected}, in the file of '{key}', '{path}'")


def without_password(url: str) -> str:
    """Return a URL, or what should be one, without what may be a secret."""
    return re.sub(r"^(\w+://)?.*@", r"\1***@", url, count=1, flags=re.DOTALL)
