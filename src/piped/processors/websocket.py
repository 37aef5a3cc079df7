"""Talking to the clients of WebSocket sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import BatonError, PipedError, Problem
from piped.processors import _json
from piped.processors._shown import kind_of, shown
from piped.spec import Dependency, Input, Meta, Processor, Step, processor
from piped.spec.closing import REASON_BYTES, may_be_sent


class Sockets(Protocol):
    """What processors use of the sessions of a site."""

    def find(self, number: int) -> Session | None: ...

    def broadcast(self, message: str | bytes, group: str | None = None) -> int: ...


class Session(Protocol):
    """What processors use of a session."""

    id: int
    is_open: bool

    @property
    def sockets(self) -> Sockets: ...

    async def send(self, message: str | bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def join(self, group: str) -> None: ...

    def leave(self, group: str) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class _OfSession(Processor):
    """What all share: they find a session in the baton."""

    websocket_path: Annotated[
        BatonPath,
        Meta(description="Where in the baton the session is, or the number of one of the site."),
    ] = BatonPath("websocket")
    site: Annotated[
        str | None,
        Meta(description="The site, as it is named below web; by default that of the session."),
    ] = None
    skip_if_closed: Annotated[
        bool, Meta(description="Do nothing where the session is over or unknown.")
    ] = False
    _sockets: Dependency[Sockets] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.site is not None:
            self._sockets = Dependency(f"websockets.{self.site}")

    def _finder(self) -> Callable[[Baton], Session | None]:
        """Return a function that fetches the session, or None where that shall be skipped.

        Raises:
            BatonError: (from the returned function) There is none, or it is not open.
        """
        get, sockets, path = getter(self.websocket_path), self._sockets, self.websocket_path

        def find(baton: Baton) -> Session | None:
            given: Any = get(baton)
            session: Session | None
            if given.__class__ is int and sockets is not None:
                session = sockets.value.find(given)
            else:
                session = _session(given, path, or_number=sockets is not None)
            if session is not None and session.is_open:
                return session
            if self.skip_if_closed:
                return None
            raise BatonError(f"the session {given if session is None else session.id} is not open")

        return find


@processor("send-websocket-message")
class SendWebsocketMessage(_OfSession):
    """Send a message to a WebSocket session, or to many; the baton stays as it is.

    Takes text, bytes, a dict or a list, which are sent as JSON. To one session, the step waits
    while its client does not read. To all sessions of a site, or a group of them, it does not wait:
    a client that is too slow to keep up is closed.

    Example:
        send-websocket-message: {to: all, site: chat, message_path: news}
        in:  {news: {rain: true}}
        out: {news: {rain: true}}

    Raises:
        BatonError: There is no session that is open, or the message is something else.
        QueueFull: Too many messages wait for the client already.
    """

    message_path: Annotated[
        BatonPath, Meta(description="Where the message is; '' is the whole baton.")
    ] = BatonPath("message")
    to: Annotated[
        Literal["session", "all"],
        Meta(description="Whether it goes to the one session, or to all of the site."),
    ] = "session"
    group: Annotated[
        Input[str] | None,
        Meta(description="The group whose sessions it goes to; see join-websocket-group."),
    ] = None

    def check(self) -> Iterable[Problem]:
        if self.group is not None and self.to == "all":
            yield Problem("exactly-one", "expected either 'to: all' or a 'group'", at="group")

    @property
    def is_async(self) -> bool:
        return self.group is None and self.to == "session"

    def step(self) -> Step:
        return self._sending_to_one() if self.is_async else self._sending_to_many()

    def _sending_to_one(self) -> Step:
        find, read = self._finder(), self._reader()

        async def step(baton: Baton) -> Baton:
            session, message = find(baton), read(baton)
            if session is None:
                return baton
            try:
                await session.send(message)
            except PipedError:
                if session.is_open or not self.skip_if_closed:
                    raise
            return baton

        return step

    def _sending_to_many(self) -> Step:
        get, path = getter(self.websocket_path), self.websocket_path
        read, sockets, group = self._reader(), self._sockets, self.group

        def step(baton: Baton) -> Baton:
            message = read(baton)
            name = None if group is None else _name_of(group, baton)
            # One that is over, as in a pipeline of 'on_close', still knows its site.
            site = sockets.value if sockets is not None else _session(get(baton), path).sockets
            site.broadcast(message, name)
            return baton

        return step

    def _reader(self) -> Callable[[Baton], str | bytes]:
        path, get = self.message_path, getter(self.message_path)

        def read(baton: Baton) -> str | bytes:
            message = get(baton)
            if isinstance(message, str):
                return message
            if isinstance(message, bytes | bytearray | memoryview):
                return bytes(message)
            if isinstance(message, dict | list | tuple):
                return _json.encode(message).decode()
            where = f" at '{path}'" if path else ""
            raise BatonError(f"expected text, bytes, dict or list{where}, got {kind_of(message)}")

        return read


@processor("close-websocket")
class CloseWebsocket(_OfSession):
    """End a WebSocket session, after what was sent to it before; the baton stays as it is.

    Example:
        close-websocket: {code: 4000, reason: game over}

    Raises:
        BatonError: There is no session that is open.
    """

    code: Annotated[
        int, Meta(description="What the client is told: 1000 is a usual end, 4000 to 4999 yours.")
    ] = 1000
    reason: Annotated[
        str, Meta(description="What the client is told beside that; 123 bytes at most.")
    ] = ""

    def check(self) -> Iterable[Problem]:
        if not may_be_sent(self.code):
            what = f"expected a code such as 1000, or from 3000 to 4999, got {self.code}"
            yield Problem("wrong-value", what, at="code")
        if len(self.reason.encode("utf-8", "replace")) > REASON_BYTES:
            what = f"expected a reason of at most {REASON_BYTES} bytes, got {shown(self.reason)}"
            yield Problem("wrong-value", what, at="reason")

    def step(self) -> Step:
        find, code, reason = self._finder(), self.code, self.reason

        def step(baton: Baton) -> Baton:
            session = find(baton)
            if session is not None:
                session.close(code, reason)
            return baton

        return step


@processor("join-websocket-group")
class JoinWebsocketGroup(_OfSession):
    """Put a WebSocket session into a group of its site, or take it out; the baton stays as it is.

    A group is a name: it begins with its first session and ends with its last. A session that is
    over has left its groups.

    Example:
        join-websocket-group: {group: lobby}

    Raises:
        BatonError: There is no session that is open, no name, or it is in too many groups.
    """

    group: Annotated[Input[str], Meta(description="The name of the group.")]
    leave: Annotated[bool, Meta(description="Whether it leaves the group instead.")] = False

    def step(self) -> Step:
        find, group, leave = self._finder(), self.group, self.leave

        def step(baton: Baton) -> Baton:
            session, name = find(baton), _name_of(group, baton)
            if session is not None:
                (session.leave if leave else session.join)(name)
            return baton

        return step


def _session(given: Any, path: BatonPath, *, or_number: bool = False) -> Session:
    """Return what is a session, open or not.

    Raises:
        BatonError: It is none.
    """
    if not hasattr(given, "is_open"):
        known = " or its number" if or_number else ""
        raise BatonError(f"expected a session{known} at '{path}', got {kind_of(given)}")
    session: Session = given
    return session


def _name_of(group: Input[str], baton: Baton) -> str:
    name = group.get(baton)
    if not isinstance(name, str):
        got = "nothing" if name is MISSING else shown(name)
        raise BatonError(f"expected the name of a group, got {got}")
    return name
