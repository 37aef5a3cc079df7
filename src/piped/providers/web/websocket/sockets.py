"""The open sessions of a site: one of them by its number, all of them, or those of a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from piped.errors import BatonError

if TYPE_CHECKING:  # most sites have no WebSockets, and import nothing for them
    from piped.providers.web.websocket.session import WebSocket

GROUPS: Final = 64
"""In how many groups a session may be: their names may come from clients."""


class Sockets:
    """Knows the sessions of a site, and sends to many of them at once."""

    __slots__ = ("_groups", "_sessions")

    def __init__(self) -> None:
        self._sessions: dict[int, WebSocket] = {}
        self._groups: dict[str, dict[int, WebSocket]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(tuple(self._sessions.values()))

    def add(self, session: WebSocket) -> None:
        self._sessions[session.id] = session

    def remove(self, session: WebSocket) -> None:
        """Forget a session, and the groups that it leaves empty."""
        self._sessions.pop(session.id, None)
        for group in tuple(session.groups):
            self.leave(session, group)

    def find(self, number: int) -> WebSocket | None:
        """Return the open session of a number."""
        return self._sessions.get(number)

    def join(self, session: WebSocket, group: str) -> None:
        """Put a session into a group, which begins with its first member.

        Raises:
            BatonError: It is in too many.
        """
        if session.id not in self._sessions or group in session.groups:
            return
        if len(session.groups) >= GROUPS:
            raise BatonError(f"a session cannot be in more than {GROUPS} groups")
        session.groups.add(group)
        self._groups.setdefault(group, {})[session.id] = session

    def leave(self, session: WebSocket, group: str) -> None:
        """Take a session out of a group, which ends with its last member."""
        session.groups.discard(group)
        members = self._groups.get(group, {})
        members.pop(session.id, None)
        if not members:
            self._groups.pop(group, None)

    def broadcast(self, message: str | bytes, group: str | None = None) -> int:
        """Send a message to all sessions, or to those of a group, and return to how many.

        Nobody waits for a client that does not read: one that has too much waiting is closed.

        Raises:
            BatonError: It is text that is no Unicode.
        """
        wanted = self._sessions if group is None else self._groups.get(group, {})
        frame: bytes | None = None
        sent = 0
        for each in tuple(wanted.values()):  # one that is closed leaves
            frame = each.frame_of(message) if frame is None else frame
            sent += each.offer(frame)
        return sent
