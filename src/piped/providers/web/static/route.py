"""What a document says of a route for files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from piped.errors import Level, Misconfigured, Problem
from piped.providers.web.methods import endpoint_of
from piped.providers.web.targets import Endpoint
from piped.spec import Duration, Meta, part


@part
class Static:
    """A folder whose files are sent, or one file."""

    path: Annotated[
        str,
        Meta(
            description="The folder or the file, from the folder of the document on, or else from"
            " the working directory."
        ),
    ]
    index: Annotated[
        str | None, Meta(description="The file that stands for its folder; null: there is none.")
    ] = "index.html"
    listing: Annotated[
        bool, Meta(description="Whether a folder without such a file is answered with a list.")
    ] = False
    follow_links: Annotated[
        bool, Meta(description="Whether links may lead out of the folder; else 404.")
    ] = False
    hidden: Annotated[
        bool, Meta(description="Whether names with a leading dot are sent; else 404.")
    ] = False
    max_age: Annotated[
        Duration | None,
        Meta(description="How long clients use a file without asking again; null: as they like."),
    ] = None

    _root: str = field(default="", init=False)
    _endpoint: Endpoint | None = field(default=None, init=False)

    @classmethod
    def of(cls, given: str | Static) -> Static:
        """Return what is given in the short form or in the long one."""
        return given if isinstance(given, Static) else cls(path=given)

    @property
    def root(self) -> str:
        """The absolute path of the folder or the file."""
        return self._root or os.path.abspath(os.path.expanduser(self.path))

    @property
    def is_folder(self) -> bool:
        return os.path.isdir(self.root)

    def check(self) -> Iterator[Problem]:
        if self.index is not None and (self.index in ("", ".", "..") or "/" in self.index):
            what = f"index: expected the name of a file, got {self.index!r:.80}"
            yield Problem("wrong-value", what, at="index")

    def locate(self, document: str) -> Iterator[Problem]:
        """Find the folder or the file, and yield what is wrong with it.

        Args:
            document: The file in which the path stands.
        """
        path = os.path.expanduser(self.path)
        beside = os.path.join(os.path.dirname(document), path)
        places = [*dict.fromkeys(map(os.path.abspath, (beside, path)))]
        self._root = next(filter(os.path.exists, places), places[0])
        if not path or "\0" in path:
            what = f"static: expected the path of a folder or a file, got {path!r:.80}"
            yield Problem("wrong-value", what, at="static")
            return
        try:
            mode = os.stat(self._root).st_mode
        except OSError as error:
            what = f"static: no file or folder {path!r:.80}"
            why = f"looked for {', '.join(places)}: {(error.strerror or str(error)).lower()}"
            yield Problem("missing-file", what, at="static", why=why)
            return
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            what = f"static: expected a file or a folder, got {path!r:.80}"
            yield Problem("unreadable-file", what, at="static")
        elif _is_within(document, self._root):
            what = f"static: everybody can read '{document}', which is in {path!r:.80}"
            hint = "put what is meant for everybody into a folder of its own"
            yield Problem("public-document", what, at="static", hint=hint, level=Level.WARNING)

    def fail_if_missing(self) -> None:
        """Raise an error where nothing is there any more.

        Raises:
            Misconfigured: There is neither a folder nor a file.
        """
        if not os.path.exists(self.root):
            raise Misconfigured(f"static: no file or folder '{self.root}'")

    def endpoint(self) -> Endpoint:
        """Return what sends the files: one for the path itself and for all that is below."""
        if self._endpoint is None:
            from piped.providers.web.static.endpoint import StaticEndpoint

            self._endpoint = endpoint_of({"GET": StaticEndpoint(self)})
        return self._endpoint


def _is_within(file: str, folder: str) -> bool:
    """Tell whether a file is there, in a folder or below."""
    inside = os.path.realpath(folder).rstrip("/") + "/"
    return os.path.isfile(file) and os.path.realpath(file).startswith(inside)
