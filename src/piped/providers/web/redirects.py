"""Routes that send the client to another place.

The place is the document's: of the request it gets parameters of the path and the query at most,
so nobody is led to a host that a stranger has written into a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

from piped.errors import Problem
from piped.providers.web.patterns import filled, names_in
from piped.spec import Meta, part

if TYPE_CHECKING:
    from piped.providers.web.dispatch import Dispatcher
    from piped.providers.web.request import Request
    from piped.providers.web.targets import Target

STATUSES: Final = (301, 302, 303, 307, 308)
SCHEMES: Final = ("http", "https")
QUERY_SIGNS: Final = "!$%&'()*+,/:;=?@[]|"  # that stay as the client has sent them


@part
class Redirect:
    """Where a path sends its clients, in place of an answer."""

    to: Annotated[
        str,
        Meta(description="A path or a URL; {name} in its path is a parameter of the route."),
    ]
    status: Annotated[
        int, Meta(description="301, 302, 303, 307 or 308; 307 and 308 keep method and body.")
    ] = 307
    keep_query: Annotated[bool, Meta(description="Whether the query goes along.")] = True

    @classmethod
    def of(cls, given: str | Redirect) -> Redirect:
        """Return what is given in the short form or in the long one."""
        return given if isinstance(given, Redirect) else cls(to=given)

    def problems(self, params: Sequence[str]) -> Iterator[Problem]:
        """Yield what is wrong with it, on a path with such parameters."""
        to = self.to
        if fault := _fault_of(to):
            yield Problem("wrong-value", f"redirect: expected {fault}, got {to!r}", at="redirect")
        for name in names_in(to):
            if name not in params:
                known = f"known: {', '.join(params)}" if params else "the path has no parameters"
                what = f"redirect: the path has no parameter '{name}'"
                yield Problem("wrong-value", what, at="redirect", hint=known)
        if self.status not in STATUSES:
            what = f"redirect: expected one of {', '.join(map(str, STATUSES))}, got {self.status}"
            yield Problem("wrong-value", what, at="redirect.status")

    def endpoint(self) -> RedirectEndpoint:
        """Return what answers the requests of the path."""
        return RedirectEndpoint(self.to, self.status, self.keep_query)


def _fault_of(to: str) -> str:
    """Return what was expected in place of a text; '' if a client may be sent there."""
    scheme, is_url, rest = to.partition("://")
    if not (to.isascii() and to.isprintable()) or " " in to or "\\" in to:
        return "a URL in ASCII without blanks and backslashes"
    if not is_url:
        is_path = to.startswith("/") and not to.startswith("//")
        return "" if is_path else "a path such as /new, or a URL"
    if scheme not in SCHEMES or not rest:
        return "an http or https URL"
    return "a host that is no parameter" if "{" in rest.partition("/")[0] else ""


@dataclass(frozen=True, slots=True)
class RedirectEndpoint:
    """Answers with another place."""

    to: str
    status: int
    keep_query: bool

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        location = filled(self.to, request.params)
        query = quote(request._target.partition(b"?")[2], safe=QUERY_SIGNS)
        if query and self.keep_query:
            before, mark, fragment = location.partition("#")
            location = f"{before}{'&' if '?' in before else '?'}{query}{mark}{fragment}"
        request.answer(b"", self.status, headers=[("location", location)])
