"""Web requests, as processors find them in batons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from piped.batons import Baton, getter
from piped.errors import BatonError
from piped.processors._shown import kind_of
from piped.spec import Meta

REQUEST_PATH: Final = Meta(description="Where in the baton the request is.")
SKIP: Final = Meta(description="Do nothing where the request is answered, or its client is gone.")


class Request(Protocol):
    """What processors use of a request."""

    client_ip: str
    is_finished: bool
    status: int
    answer_lines: list[tuple[str, bytes]]  # the answer's header fields: lower-case name, line

    @property
    def args(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def set_header(self, name: str, value: str) -> None: ...

    def add_header(self, name: str, value: str) -> None: ...

    def write(self, content: bytes) -> None: ...

    def finish(self) -> bool: ...


def request_getter(path: str) -> Callable[[Baton], Request]:
    """Return a function that fetches the request at a path.

    Raises:
        BatonError: (from the returned function) There is no request.
    """
    get = getter(path)

    def get_request(baton: Baton) -> Request:
        request: Any = get(baton)
        if not hasattr(request, "is_finished"):
            raise BatonError(f"expected a request at '{path}', got {kind_of(request)}")
        found: Request = request
        return found

    return get_request
