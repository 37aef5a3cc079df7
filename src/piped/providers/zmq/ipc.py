"""The files of ``ipc`` addresses, which ZeroMQ takes from anybody in silence and leaves behind."""

from __future__ import annotations

import errno
import os
import socket as unix
import stat
from contextlib import suppress


def path_of(address: str) -> str:
    """Return the file that a bind makes, or ``''`` if it makes none that stays."""
    path = address.removeprefix("ipc://")
    return "" if path in (address, "*") or path.startswith("@") else path


def fail_if_in_use(path: str) -> None:
    """Raise unless a bind may take the path: only what a dead process has left may be replaced.

    Raises:
        OSError: Somebody listens there, or it is not a socket.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with unix.socket(unix.AF_UNIX) as visitor:
        visitor.setblocking(False)
        if visitor.connect_ex(path) in (0, errno.EAGAIN):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def remove(path: str) -> None:
    """Remove the file of a socket that is being closed."""
    with suppress(OSError):  # somebody may have done it, or have taken the folder from us
        os.unlink(path)
