"""Routes that take some methods only: others are told which (RFC 9110, 15.5.6 and 9.3.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from piped.errors import Problem
from piped.providers.web.failures import NotTaken

if TYPE_CHECKING:
    from piped.providers.web.dispatch import Dispatcher
    from piped.providers.web.request import Request
    from piped.providers.web.targets import Endpoint, Target

_NAME: Final = re.compile(r"[A-Z][A-Z-]*")


class MethodNotAllowed(NotTaken):
    """Raised when a route does not take the method of a request."""

    http_status: ClassVar[int] = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"expected {allowed}, got {method}", [("allow", allowed)])


def check_methods(methods: list[str] | Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the methods of a route."""
    if not methods:
        what = f"methods: expected at least one, as in [GET, POST], got {methods!r}"
        yield Problem("wrong-value", what, at="methods")
    for index, name in enumerate(methods):
        if not _NAME.fullmatch(name) or name == "CONNECT":
            at = f"methods[{index}]" if isinstance(methods, list) else f"methods.{name}"
            near = name.upper()
            is_method = _NAME.fullmatch(near) and near != "CONNECT"
            hint = f"did you mean '{near}'?" if is_method else ""
            what = f"methods: expected a method such as GET, got {name!r}"
            yield Problem("wrong-value", what, at=at, hint=hint)


@dataclass(frozen=True, slots=True)
class MethodsEndpoint:
    """Gives a request to the endpoint of its method; HEAD follows GET."""

    endpoints: Mapping[str, Endpoint]
    allowed: str

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        method = request.method
        endpoint = self.endpoints.get(method)
        if endpoint is not None:
            endpoint.handle(request, target, dispatcher)
        elif method == "OPTIONS":
            request.answer(b"", 204, headers=[("allow", self.allowed)])
        else:
            raise MethodNotAllowed(method, self.allowed)


def endpoint_of(endpoints: Mapping[str, Endpoint]) -> MethodsEndpoint:
    """Return the endpoint that gives each method its own."""
    full = dict(endpoints)
    if "GET" in full:
        full.setdefault("HEAD", full["GET"])
    return MethodsEndpoint(full, ", ".join(sorted({*full, "OPTIONS"})))
