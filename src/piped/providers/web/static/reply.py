"""From a question to the reply: which file, which status, which bytes. It runs in threads."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import quote

from piped.providers.web.failures import NotTaken
from piped.providers.web.pages import HTML
from piped.providers.web.redirects import QUERY_SIGNS
from piped.providers.web.static.conditions import Validators
from piped.providers.web.static.kinds import kind_of
from piped.providers.web.static.listing import page_of
from piped.providers.web.static.lookup import NoSuchFile, NotNow, Opened, Root, path_of
from piped.providers.web.static.ranges import Range, read_ranges

SMALL: Final = 64 << 10
"""Bodies up to this size are read at once, together with the lookup."""

_NOSNIFF: Final = ("x-content-type-options", "nosniff")
_LISTING: Final = (
    ("cache-control", "no-cache"),
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
    _NOSNIFF,
)


class PreconditionFailed(NotTaken):
    """Raised when a client wants another version of a file than there is."""

    http_status: ClassVar[int] = 412


class NotSatisfiable(NotTaken):
    """Raised when a file has none of the bytes that a client wants."""

    http_status: ClassVar[int] = 416

    def __init__(self, size: int) -> None:
        # RFC 9110, 14.4: the size, so that the client can ask again.
        super().__init__(f"it has {size} bytes", [("content-range", f"bytes */{size}")])


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for below a root."""

    is_head: bool
    prepath: tuple[str, ...]  # how the root was reached
    segments: tuple[str, ...]  # from there on
    has_slash: bool  # at the end
    query: bytes
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        """The path of a folder as people read it."""
        names = map(os.fsencode, (*self.prepath, *self.segments))
        return "/" + "".join(f"{name.decode('utf-8', 'replace')}/" for name in names)

    @property
    def place_with_slash(self) -> str:
        """What was asked for, with a slash; no segment has a sign that leads to another host."""
        names = map(os.fsencode, (*self.prepath, *self.segments))
        query = quote(self.query, safe=QUERY_SIGNS)
        path = "/" + "".join(f"{quote(name, safe='')}/" for name in names)
        return f"{path}?{query}" if query else path


@dataclass(slots=True)
class Reply:
    """What is sent: bytes that are there already, and pieces of an open file."""

    status: int
    headers: list[tuple[str, str]]
    kind: str = ""
    parts: list[bytes | Range] = field(default_factory=list)
    file: Opened | None = None

    @property
    def length(self) -> int:
        return sum(len(e) if isinstance(e, bytes) else e[1] - e[0] for e in self.parts)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a root, and how they are sent."""

    root: Root
    index: str | None
    has_listing: bool
    max_age_s: int | None

    def reply_to(self, question: Question) -> Reply:
        """Return what a client gets; where its parts are of a file, that is open.

        Raises:
            NotTaken: It gets nothing; the status says why.
        """
        segments = question.segments
        opened = self.root.open(segments)
        if opened.is_folder:
            return self._of_folder(opened, question)
        name = segments[-1] if segments else os.path.basename(self.root.path)
        if segments and question.has_slash:
            opened.close()
            raise NoSuchFile(f"'{path_of(segments)}' is no folder")
        return self._of_file(opened, name, question)

    def _of_folder(self, folder: Opened, question: Question) -> Reply:
        try:
            index = self._index_of(question)
            if index is None and not self.has_listing:
                raise NoSuchFile(f"'{path_of(question.segments)}' is a folder without an index")
            if not question.has_slash:  # else the links on its page would lead astray
                if index is not None:
                    index.close()
                return Reply(308, [("location", question.place_with_slash), _NOSNIFF])
            if index is not None:
                return self._of_file(index, self.index or "", question)
            page = page_of(folder, self.root, question.segments, question.title)
            return Reply(200, [*_LISTING], HTML, [page])
        finally:
            folder.close()

    def _index_of(self, question: Question) -> Opened | None:
        if self.index is None:
            return None
        try:
            opened = self.root.open((*question.segments, self.index))
        except NoSuchFile:
            return None
        if opened.is_folder:
            opened.close()
            return None
        return opened

    def _of_file(self, opened: Opened, name: str, question: Question) -> Reply:
        try:
            reply = self._planned(opened, name, question)
            if reply.parts and not question.is_head:
                if reply.length > SMALL:
                    reply.file = opened
                else:
                    reply.parts = [_read(opened, each) for each in reply.parts]
        except BaseException:
            opened.close()
            raise
        if reply.file is None:
            opened.close()
        return reply

    def _planned(self, opened: Opened, name: str, question: Question) -> Reply:
        """Return the reply with the places of what is to be sent."""
        facts, headers = opened.facts, question.headers
        size = facts.st_size
        validators = Validators.of(facts.st_mtime_ns, size, time.time())
        told = [("etag", validators.tag), ("last-modified", validators.date), _NOSNIFF]
        if self.max_age_s is not None:
            told.append(("cache-control", f"max-age={self.max_age_s}"))
        status = validators.status(headers)
        if status == 412:
            raise PreconditionFailed(f"'{name}' has another version: {validators.tag}")
        if status == 304:
            return Reply(304, told)
        told.append(("accept-ranges", "bytes"))
        whole = Reply(200, told, kind_of(name), [(0, size)])
        # RFC 9110, 14.2: there are ranges for GET only.
        wanted = None if question.is_head else headers.get("range")
        if wanted is None or not validators.fits(headers.get("if-range")):
            return whole
        ranges = read_ranges(wanted, size)
        if ranges is None:
            return whole
        if not ranges:
            raise NotSatisfiable(size)
        return _partial(whole, ranges, size)


def _partial(whole: Reply, ranges: list[Range], size: int) -> Reply:
    """Return some ranges of what would be a whole reply (RFC 9110, 15.3.7)."""
    told = [(range_, f"bytes {range_[0]}-{range_[1] - 1}/{size}") for range_ in ranges]
    if len(told) == 1:
        range_, text = told[0]
        return Reply(206, [*whole.headers, ("content-range", text)], whole.kind, [range_])
    boundary = secrets.token_hex(16)  # nobody can have put it into the file
    parts: list[bytes | Range] = []
    for range_, text in told:
        head = f"--{boundary}\r\ncontent-type: {whole.kind}\r\ncontent-range: {text}\r\n\r\n"
        parts += [head.encode(), range_, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return Reply(206, whole.headers, f"multipart/byteranges; boundary={boundary}", parts)


def _read(opened: Opened, part: bytes | Range) -> bytes:
    """Return the bytes of a part.

    Raises:
        NotNow: The file has become shorter meanwhile: somebody writes it.
    """
    if isinstance(part, bytes):
        return part
    start, end = part
    content = os.pread(opened.descriptor, end - start, start)
    if len(content) < end - start:
        raise NotNow("the file became shorter while it was read")
    return content
