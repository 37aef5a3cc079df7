"""Throw bytes at the HTTP protocol: nothing may crash, hang or grow. `make fuzz` runs this.

The first byte says in pieces of which size the others arrive. However they are split, the requests
are the same.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # it is installed by `make fuzz` only

with atheris.instrument_imports(include=["piped.providers.web"]):
    from piped.providers.web.limits import Limits
    from piped.providers.web.receiver import Receiver

CORPUS = Path(__file__).parent / "corpus"
LIMITS = Limits(header_bytes=512, fields=16, body_bytes=1024)
MOST_BYTES = 8192 + LIMITS.header_bytes + LIMITS.body_bytes


def requests_of(sent: bytes, size: int) -> list[tuple[str, str, bytes]]:
    """Return the requests in some bytes, and what became of the rest."""
    receiver = Receiver(LIMITS)
    found: list[tuple[str, str, bytes]] = []
    for at in range(0, len(sent), size):
        receiver.feed(sent[at : at + size])
        found += [(each.method, each.uri, each.body()) for each in receiver.ready]
        receiver.ready.clear()
        request = receiver.request
        held = len(request._target) + len(request._body) if request is not None else 0
        assert held + sum(len(name) + len(value) for name, value in receiver.fields) <= MOST_BYTES
        if receiver.refused is not None:
            found.append((f"{receiver.refused.status}", "", b""))
            break
    receiver.close()
    return found


def run(sent: bytes) -> None:
    size, rest = max(1, sent[0]) if sent else 1, sent[1:]
    whole, split = requests_of(rest, len(rest) or 1), requests_of(rest, size)
    # What is refused, and by which rule, may be known sooner or later; what comes before it not.
    common = min(len(whole), len(split))
    answered = [each for each in whole[:common] if not each[0].isdigit()]
    assert answered == [each for each in split[:common] if not each[0].isdigit()][: len(answered)]


def main() -> None:
    """Run for as long as libFuzzer is told to: -max_total_time=60."""
    atheris.Setup([*sys.argv, str(CORPUS)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
