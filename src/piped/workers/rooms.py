"""Folders for the sockets of pools whose workers are ours: gone with us, or with the next one.

Whoever has a folder holds a lock in it, which the kernel lets go of when the process ends, however
that ends. So a folder whose lock is free is left over.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

LOCK: Final = "front.lock"
LONGEST_SOCKET: Final = 100
"""How many bytes the path of a socket may have, with some of the system's 104 to 108 to spare."""

_PREFIX: Final = "piped-"
_NAME: Final = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}")  # as tempfile makes them
_SHORT: Final = "/tmp"  # noqa: S108 - what is made there is private
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE: Final = os.O_RDWR | os.O_NOFOLLOW

log = structlog.get_logger("piped.workers")


@contextmanager
def private_room(pool: str) -> Iterator[list[str]]:
    """Make a folder for the socket of a pool whose workers are ours; yield what leads there.

    What is yielded replaces values of the document, in the front and in its workers. Folders that
    fronts have left which were killed are removed.
    """
    remove_leftovers()
    name = re.sub(r"\W", "-", pool, flags=re.ASCII)[:32]
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    if len(os.fsencode(os.path.join(folder, name))) > LONGEST_SOCKET:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT)
    try:
        with _held(folder):
            at = f"workers.{pool}"
            yield [f"{at}.transport:zmq", f"{at}.listen:ipc://{os.path.join(folder, name)}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: str) -> Iterator[None]:
    """Hold the lock of a folder; it gets its name when it is held, so nobody finds it free."""
    path = os.path.join(folder, LOCK)
    with open(f"{path}.new", "x", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(file.name, path)
        yield


def remove_leftovers() -> None:
    """Remove the folders of this user that were made by fronts which are no more."""
    for above in {tempfile.gettempdir(), _SHORT}:
        with suppress(OSError), os.scandir(above) as entries:
            for each in entries:
                if _NAME.fullmatch(each.name):
                    with suppress(OSError):  # it is gone, or not ours to touch
                        _remove_if_left(each.path)


def _remove_if_left(folder: str) -> None:
    """Remove a folder with a lock that nobody holds, and with nothing else in it but sockets.

    Raises:
        OSError: It is none of ours, somebody holds its lock, or there is something else in it.
    """
    with _opened(folder, _FOLDER) as room:
        if os.fstat(room).st_uid != os.geteuid():
            return
        with _opened(LOCK, _FILE, room) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names = [each for each in os.listdir(room) if each != LOCK]
            if all(stat.S_ISSOCK(_mode(each, room)) for each in names):
                for each in (*names, LOCK):
                    os.unlink(each, dir_fd=room)
                os.rmdir(folder)
                log.info("folder of a dead front removed", folder=folder)


@contextmanager
def _opened(path: str, flags: int, room: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=room)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mode(name: str, room: int) -> int:
    return os.stat(name, dir_fd=room, follow_symlinks=False).st_mode
