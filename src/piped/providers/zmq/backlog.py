"""Messages that wait for a peer: in order, bounded in number, bytes and age."""

from __future__ import annotations

from collections import deque

from piped.errors import QueueFull
from piped.providers.zmq.messages import Message, size_of


class Backlog:
    """A bounded line of messages; the oldest leave when they are too old.

    The times are seconds of the event loop.
    """

    __slots__ = (
        "_messages",
        "_name",
        "max_age_s",
        "max_bytes",
        "max_messages",
        "refused",
        "size",
    )

    def __init__(self, name: str, max_messages: int, max_bytes: int, max_age_s: float) -> None:
        self._name = name
        self.max_messages, self.max_bytes, self.max_age_s = max_messages, max_bytes, max_age_s
        self.size = 0  # in bytes
        self.refused = 0
        self._messages: deque[tuple[float, Message]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def first(self) -> Message:
        return self._messages[0][1]

    @property
    def since(self) -> float:
        """When the first message came."""
        return self._messages[0][0]

    def has_room_for(self, message: Message) -> bool:
        return (
            len(self._messages) < self.max_messages
            and self.size + size_of(message) <= self.max_bytes
        )

    def append(self, message: Message, now: float) -> None:
        """Put a message at the end of the line.

        Raises:
            QueueFull: There is no room for it.
        """
        if not self.has_room_for(message):
            self.refused += 1
            raise QueueFull(
                f"queue '{self._name}' is full: {len(self)} of {self.max_messages} messages"
                f" and {self.size} of {self.max_bytes} bytes wait for a peer"
            )
        self._messages.append((now, message))
        self.size += size_of(message)

    def pop(self) -> Message:
        """Take the first message out of the line."""
        _, message = self._messages.popleft()
        self.size -= size_of(message)
        return message

    def drop_stale(self, now: float) -> int:
        """Drop what has waited for too long, and return how many that were."""
        before = len(self)
        while self._messages and now - self.since >= self.max_age_s:
            self.pop()
        return before - len(self)
