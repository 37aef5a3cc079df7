"""What fronts and workers say to each other: versioned frames of plain data, never code.

A frame is one byte, the version, and a MessagePack array of what is said. Each thing that is said
is an array that begins with the number of its kind. Neighbouring versions understand each other:
what is added to a kind is added at its end, with a default; what a reader does not know there, it
skips. A kind that a reader does not know, and a version that it does not speak, are errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from piped.errors import PipedError

VERSION: Final = 1
SPOKEN: Final = (1,)
"""The versions that this one understands, the newest first."""

MAX_FRAME: Final = 8 << 20
"""How many bytes a frame may have; a longer one ends its connection, and all that is on it."""

MAX_PAYLOAD: Final = MAX_FRAME - (64 << 10)
"""How many bytes a baton or its results may have, with room for what is said beside them."""


class BadFrame(PipedError):
    """Raised when what has come is no frame of ours."""


class _Said(msgspec.Struct, array_like=True):
    pass


class Hello(_Said, tag=1):
    """Worker: I am here, and can do so many parts at once."""

    versions: tuple[int, ...]
    pool: str
    name: str = ""
    pid: int = 0
    host: str = ""
    capacity: int = 1
    slate: int = -1  # the descriptor in its process by which the front may see what it runs


class Welcome(_Said, tag=2):
    """Front: good; this is the version we speak, and the life that I live."""

    version: int
    life: bytes
    lease_s: float
    format: str = "json"
    sees_slate: bool = False  # so that Started need not be said of parts that wait for no word


class Refusal(_Said, tag=3):
    """Front: we cannot work together, for this reason."""

    reason: str


class Work(_Said, tag=4):
    """Front: run this pipeline; where you must ask, wait for my word after you say Started."""

    id: bytes
    attempt: int
    pipeline: str
    payload: bytes
    left_s: float
    must_ask: bool = False
    key: str = ""
    journey: int = 0
    until: float = 0.0  # where clocks are all there is in common: seconds since 1970
    reply: str = ""  # where the answer goes, if not back on the same way


class Started(_Said, tag=5):
    """Worker: I run these parts now, one after the other; or, of one that must ask: may it run?"""

    parts: tuple[tuple[bytes, int], ...]


class Go(_Said, tag=6):
    """Front: run what you have asked for."""

    id: bytes
    attempt: int


class Cancel(_Said, tag=7):
    """Front: nobody waits for this part any more."""

    id: bytes
    attempt: int


class Answer(_Said, tag=8):
    """Worker: the results, or why there are none."""

    id: bytes
    attempt: int
    is_good: bool
    payload: bytes
    capacity: int = 1
    run_s: float = 0.0


class Beat(_Said, tag=9):
    """Worker: I live, and these are the parts that I have."""

    parts: tuple[tuple[bytes, int], ...]
    capacity: int = 1


class Back(_Said, tag=10):
    """Worker: I have not run this part, or it was cancelled."""

    id: bytes
    attempt: int
    capacity: int = 1


class Died(_Said, tag=11):
    """Worker: the process of mine that ran this part is dead."""

    id: bytes
    attempt: int
    capacity: int = 1


class Drain(_Said, tag=12):
    """Worker: send me no more; I end when I have done what I have."""


class Drained(_Said, tag=13):
    """Front: nothing more is under way to you."""


class Who(_Said, tag=14):
    """Front: I do not know you; say Hello."""


class Ping(_Said, tag=15):
    """Front: nothing; whether it can be sent shows whether you are there."""


ToFront: TypeAlias = Hello | Started | Answer | Beat | Back | Died | Drain
ToWorker: TypeAlias = Welcome | Refusal | Work | Go | Cancel | Drained | Who | Ping

_encode: Final = msgspec.msgpack.Encoder().encode
_MARK: Final = bytes([VERSION])
_TO_FRONT: Final = msgspec.msgpack.Decoder(list[ToFront])
_TO_WORKER: Final = msgspec.msgpack.Decoder(list[ToWorker])
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, MemoryError, RecursionError)


def encoded(said: Sequence[ToFront | ToWorker]) -> bytes:
    """Return a frame as it is sent."""
    return _MARK + _encode(said)


def read_by_front(data: bytes) -> list[ToFront]:
    """Return what a worker says.

    Raises:
        BadFrame: Something in it is nothing that a worker says.
    """
    said: list[ToFront] = _read(data, _TO_FRONT)
    return said


def read_by_worker(data: bytes) -> list[ToWorker]:
    """Return what a front says.

    Raises:
        BadFrame: Something in it is nothing that a front says.
    """
    said: list[ToWorker] = _read(data, _TO_WORKER)
    return said


def _read(data: bytes, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    if not data or data[0] not in SPOKEN:
        got = f"version {data[0]}" if data else "nothing"
        raise BadFrame(f"expected a frame of version {VERSION}, got {got}")
    try:
        return decoder.decode(memoryview(data)[1:])
    except _UNREADABLE as error:
        raise BadFrame(f"not a frame: {error}") from error


def common_version(theirs: tuple[int, ...]) -> int | None:
    """Return the newest version that both sides speak; None where there is none."""
    return max(set(SPOKEN).intersection(theirs), default=None)
