"""What a worker runs, written where its front can read it when the worker is dead.

A front must know whether a part had begun when its worker died. To say so would cost a message for
each part; both processes are on one machine, so the worker writes it into memory that it shares: a
file without a name, which the front opens by way of ``/proc`` while the worker lives. Where that
cannot be, the worker says Started.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from typing import Final

_LAYOUT: Final = struct.Struct("<32s16sI")  # its owner; the id and the attempt of a part
_PART: Final = struct.Struct("<16sI")
_PART_AT: Final = 32
NOTHING: Final = (bytes(16), 0)


def _padded(owner: bytes) -> bytes:
    return owner.ljust(_PART_AT, b"\0")


class Slate:
    """The worker's side of it.

    Args:
        owner: The address of the worker.
    """

    def __init__(self, owner: bytes) -> None:
        self.fd = os.memfd_create("slate")
        os.ftruncate(self.fd, _LAYOUT.size)
        self._memory = mmap.mmap(self.fd, _LAYOUT.size)
        _LAYOUT.pack_into(self._memory, 0, owner, *NOTHING)

    def write(self, id_: bytes, attempt: int) -> None:
        """Note which part is begun now."""
        _PART.pack_into(self._memory, _PART_AT, id_, attempt)

    def wipe(self) -> None:
        """Note that none is running."""
        self.write(*NOTHING)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)


def new_slate(owner: bytes) -> Slate | None:
    """Return the slate of a worker, where the system has such files."""
    return Slate(owner) if hasattr(os, "memfd_create") else None


class SlateReader:
    """The front's side of it, for a worker that lives.

    Args:
        pid: The worker's process.
        fd: Its slate's descriptor there.
        owner: The address of the worker.

    Raises:
        OSError: It cannot be read, or is no slate of that worker.
    """

    def __init__(self, pid: int, fd: int, owner: bytes) -> None:
        path = f"/proc/{pid}/fd/{fd}"
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode) or self._read()[0] != _padded(owner):
                raise OSError(f"{path} is no slate")
        except OSError:
            self.close()
            raise

    def running(self) -> tuple[bytes, int]:
        """Return the id and the attempt of the part that was begun last and has not ended."""
        _, id_, attempt = self._read()
        return id_, attempt

    def close(self) -> None:
        os.close(self._fd)

    def _read(self) -> tuple[bytes, bytes, int]:
        data = os.pread(self._fd, _LAYOUT.size, 0)
        if len(data) != _LAYOUT.size:
            raise OSError("a slate is too short")
        owner, id_, attempt = _LAYOUT.unpack(data)
        return owner, id_, attempt
