"""Sending to ZeroMQ queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

from piped.batons import Baton, BatonPath, getter
from piped.errors import BatonError, QueueFull
from piped.processors._shown import kind_of
from piped.spec import Dependency, Duration, Meta, Processor, Step, processor


@processor("send-zmq-message")
class SendZmqMessage(Processor):
    """Send a message to a ZeroMQ queue; the baton stays as it is.

    Takes text (sent as UTF-8), bytes, or a list of them, which is a message of several frames. The
    queue keeps a bounded backlog while nobody takes its messages; a full backlog is a failure,
    after as many attempts as ``retries`` says.

    Example:
        send-zmq-message: {queue_name: jobs, message_path: job, retries: 10}
        in:  {job: "[1, 2, 3]"}
        out: {job: "[1, 2, 3]"}

    Raises:
        BatonError: The message is something else; encode-json makes text of it.
        QueueFull: The backlog is full.
    """

    queue_name: Annotated[str, Meta(description="The queue, as it is named below zmq.queues.")]
    message_path: Annotated[
        BatonPath, Meta(description="Where the message is; '' is the whole baton.")
    ] = BatonPath("")
    retries: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many attempts are made in all; by default one."),
    ] = None
    retry_wait: Annotated[Duration, Meta(description="The pause between attempts.")] = Duration(0.1)
    _queue: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._queue = Dependency(f"zmq.queue.{self.queue_name}")

    @property
    def is_async(self) -> bool:
        return self.retries is not None

    def step(self) -> Step:
        message, queue = self._reader(), self._queue

        def step(baton: Baton) -> Baton:
            queue.value.send(message(baton))
            return baton

        async def async_step(baton: Baton) -> Baton:
            frames = message(baton)
            for _ in range((self.retries or 1) - 1):
                try:
                    queue.value.send(frames)
                except QueueFull:
                    await asyncio.sleep(self.retry_wait)
                else:
                    return baton
            return step(baton)

        return async_step if self.is_async else step

    def _reader(self) -> Callable[[Baton], Any]:
        path, get = self.message_path, getter(self.message_path)
        where = f" at '{path}'" if path else ""

        def read(baton: Baton) -> Any:
            message = get(baton)
            if message.__class__ is bytes:
                return message
            if isinstance(message, list | tuple) and message:
                return [
                    _frame(each, f"expected frames of text or bytes{where}") for each in message
                ]
            return _frame(message, f"expected text, bytes or a list of frames{where}")

        return read


def _frame(value: Any, expected: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise BatonError(f"{expected}, got {_got(value)}")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise BatonError(f"{expected}, got text that is no Unicode") from error


def _got(value: Any) -> str:
    if isinstance(value, list | tuple) and not value:
        return "no frames"
    if isinstance(value, dict | int | float):
        return f"{kind_of(value)} (encode it first, as encode-json does)"
    return kind_of(value)
