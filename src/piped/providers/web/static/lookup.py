"""From the segments of a path to an open file or folder: nothing leads out of the root.

All of it may wait for a disk, so it runs in threads.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from piped.providers.web.failures import NotTaken

WELL_KNOWN: Final = ".well-known"
"""The one hidden name that is meant for everybody (RFC 8615)."""

_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_OF_LINKS: Final = (errno.ELOOP, errno.ENOTDIR)  # where a link should be a file, or a folder
_FILE: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # should it have become a pipe meanwhile


class NoSuchFile(NotTaken):
    """Raised when a path leads to no file, or to one that nobody shall see."""

    http_status: ClassVar[int] = 404


class NotReadable(NotTaken):
    """Raised when we may not read a file."""

    http_status: ClassVar[int] = 403


class NotNow(NotTaken):
    """Raised when a file could be sent at another time."""

    http_status: ClassVar[int] = 503


_ANSWERS: Final[dict[int, type[NotTaken]]] = {
    errno.ENOENT: NoSuchFile,
    errno.ENOTDIR: NoSuchFile,
    errno.ENAMETOOLONG: NoSuchFile,
    errno.ELOOP: NoSuchFile,
    errno.EACCES: NotReadable,
    errno.EPERM: NotReadable,
    errno.EMFILE: NotNow,
    errno.ENFILE: NotNow,
}


def path_of(segments: Sequence[str]) -> str:
    """Return where something is below the root, as it stands in messages."""
    return "/".join(segments) or "."


@contextmanager
def answered(segments: Sequence[str]) -> Iterator[None]:
    """Raise what an error of the system means to a client, where we know that."""
    try:
        yield
    except OSError as error:
        kind = _ANSWERS.get(error.errno or 0)
        if kind is None:
            raise
        reason = (error.strerror or str(error)).lower()
        raise kind(f"'{path_of(segments)}': {reason}") from error


@dataclass(frozen=True, slots=True)
class Opened:
    """A regular file that can be read, or a folder in which names can be looked up."""

    descriptor: int
    facts: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.facts.st_mode)

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of which files are sent, or one file."""

    path: str
    follow_links: bool
    hidden: bool

    def shows(self, name: str) -> bool:
        """Tell whether a name, or a segment of a path, may be asked for."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            return False
        return self.hidden or name == WELL_KNOWN or not name.startswith(".")

    def open(self, segments: Sequence[str]) -> Opened:
        """Return what the segments below the root lead to; without any, the root itself.

        Raises:
            NoSuchFile: They lead to nothing, out of the root, or to a pipe or a device.
            NotReadable: We may not read it.
            NotNow: There is no descriptor left.
        """
        with answered(segments):
            return self._open(segments)

    def _open(self, segments: Sequence[str]) -> Opened:
        if not segments:  # whoever wrote the document may name a link
            return _open(self.path, None, follow_links=True)
        # Hidden is what is asked for by a hidden name. What a link of another name leads to is not:
        # the files of a mounted ConfigMap are links into a folder named '..data'.
        if not all(map(self.shows, segments)):
            raise NoSuchFile(f"'{path_of(segments)}' is not shown")
        if self.follow_links:
            return _walk(self.path, ["/".join(segments)], follow_links=True)
        try:
            return _walk(self.path, segments)
        except OSError as error:
            if error.errno not in _OF_LINKS:
                raise
        # What becomes a link only after they are all resolved is not followed either.
        return _walk(*self._resolved(segments))

    def _resolved(self, segments: Sequence[str]) -> tuple[str, Sequence[str]]:
        """Return the real root, and the names from there on, all links having been followed."""
        root = os.path.realpath(self.path)
        found = os.path.realpath(os.path.join(root, *segments))
        inside = root.rstrip("/") + "/"
        if found == root:
            return root, ["."]
        if not found.startswith(inside):
            raise NoSuchFile(f"'{path_of(segments)}' leads out of the folder")
        return root, found.removeprefix(inside).split("/")


def _walk(base: str, names: Sequence[str], *, follow_links: bool = False) -> Opened:
    """Open what some names lead to, one after the other.

    Raises:
        OSError: One of them is not there, or is a link that is not to be followed.
    """
    folder = os.open(base, _FOLDER)
    try:
        for name in names[:-1]:
            deeper = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return _open(names[-1], folder, follow_links=follow_links)
    finally:
        os.close(folder)


def _open(name: str, folder: int | None, *, follow_links: bool) -> Opened:
    """Open a regular file or a folder; to open a device or a pipe could have an effect."""
    before = os.stat(name, dir_fd=folder, follow_symlinks=follow_links)
    _fail_if_special(name, before)
    flags = _FOLDER if stat.S_ISDIR(before.st_mode) else _FILE
    descriptor = os.open(name, flags if follow_links else flags | os.O_NOFOLLOW, dir_fd=folder)
    try:
        facts = os.fstat(descriptor)
        _fail_if_special(name, facts)
    except BaseException:
        os.close(descriptor)
        raise
    return Opened(descriptor, facts)


def _fail_if_special(name: str, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
        raise NoSuchFile(f"'{name}' is neither a file nor a folder")
