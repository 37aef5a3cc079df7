"""What a document says of a route for WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from piped.errors import Problem
from piped.spec import Dependency, Duration, Meta, Size, part
from piped.spec.headers import TOKEN

if TYPE_CHECKING:
    from piped.providers.web.targets import Endpoint

SCHEMES: Final = ("http", "https", "chrome-extension", "moz-extension")


@part
class WebSocketRoute:
    """A path at which clients open WebSocket sessions, and talk in messages.

    Each message is a baton ``{websocket: session, message: text or bytes, request: request}``; the
    messages of a session are treated one after the other.
    """

    processor: Annotated[
        Dependency[Any] | None, Meta(description="The pipeline for each message.")
    ] = None
    on_open: Annotated[
        Dependency[Any] | None,
        Meta(description="The pipeline for each session that opens, before its first message."),
    ] = None
    on_close: Annotated[
        Dependency[Any] | None,
        Meta(description="The pipeline for each session that is over, with code and reason."),
    ] = None
    origins: Annotated[
        list[str],
        Meta(description="Other sites whose pages may open sessions: https://a.example; * is any."),
    ] = field(default_factory=list)
    subprotocols: Annotated[
        list[str], Meta(description="Subprotocols that it speaks; a client may choose one.")
    ] = field(default_factory=list)
    max_message: Annotated[Size, Meta(description="The largest message; else code 1009.")] = Size(
        1 << 20
    )
    max_queued: Annotated[
        int, Meta(ge=1, description="How many messages of a session wait, in each direction.")
    ] = 32
    ping_interval: Annotated[
        Duration, Meta(description="After so long without a sign of a client, it is pinged.")
    ] = Duration(20)
    ping_timeout: Annotated[
        Duration, Meta(description="How long a client may take to answer; else code 1011.")
    ] = Duration(20)
    idle_timeout: Annotated[
        Duration | None,
        Meta(
            description="How long a client may send no message; else code 1001. Null is for ever."
        ),
    ] = None

    def check(self) -> Iterable[Problem]:
        if self.processor is None and self.on_open is None:
            what = "a WebSocket route needs a 'processor', or an 'on_open' that sends"
            yield Problem("missing-parameter", what)
        for index, each in enumerate(self.origins):
            if each != "*" and not _is_origin(each):
                what = f"expected an origin such as https://a.example, got {each!r}"
                yield Problem("wrong-value", what, at=f"origins[{index}]")
        for index, each in enumerate(self.subprotocols):
            if not TOKEN.fullmatch(each):
                what = f"expected the name of a subprotocol, got {each!r}"
                yield Problem("wrong-value", what, at=f"subprotocols[{index}]")

    def endpoint(self) -> Endpoint:
        """Return what treats the requests that propose a session."""
        from piped.providers.web.websocket.endpoint import WebSocketEndpoint

        return WebSocketEndpoint(self)


def _is_origin(text: str) -> bool:
    """Tell whether a text is what browsers send: scheme, host, perhaps port, and no path."""
    try:
        parts = urlsplit(text)
        is_there = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_there and parts.scheme in SCHEMES and text.endswith(parts.netloc)
