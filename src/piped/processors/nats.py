"""Sending to NATS, asking there, and the values that are kept there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import BatonError, Problem, RequestFailed
from piped.processors import _json
from piped.processors._formats import CODECS, MsgPack
from piped.processors._shown import kind_of
from piped.processors._text import bytes_of, text_of
from piped.spec import Dependency, Duration, Input, Meta, Processor, Step, processor

Format: TypeAlias = Literal["bytes", "text", "json", "msgpack"]

_ENCODERS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "json": _json.encode,
    "msgpack": MsgPack().encode,
}
_ERRORS: Final = ("Piped-Error", "Nats-Service-Error")


@dataclass(slots=True, kw_only=True, eq=False)
class _Sending(Processor):
    """What both ways to send share: a connection, and a message with a subject and headers."""

    connection: Annotated[
        str, Meta(description="The connection, as it is named below nats.connections.")
    ] = "main"
    subject: Annotated[Input[str], Meta(description="The subject.")]
    input_path: Annotated[
        BatonPath, Meta(description="Where the message is; '' is the whole baton.")
    ] = BatonPath("")
    format: Annotated[Format, Meta(description="How it is written.")] = "bytes"
    headers: Annotated[
        dict[str, Input[str]], Meta(description="Headers; where the baton has null, there is none.")
    ] = field(default_factory=dict)
    _connection: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._connection = Dependency(f"nats.{self.connection}")

    @property
    def is_async(self) -> bool:
        return True


@processor("publish-nats-message")
class PublishNatsMessage(_Sending):
    """Publish a message to NATS; the baton stays as it is.

    Takes text (sent as UTF-8) or bytes; with ``format`` json or msgpack, any value that it can say.
    It goes, at most once, to those who listen now; with ``jetstream`` the step is done when a
    stream has stored it. While the servers are away it waits in the connection's buffer.

    Example:
        publish-nats-message: {subject: orders.new, input_path: order, format: json}
        in:  {order: {id: 7}}
        out: {order: {id: 7}}

    Raises:
        BatonError: There is no such message or subject, or it is larger than the server takes.
        QueueFull: The buffer of the connection is full, or the stream.
        DeadlineExceeded: It is not known in time whether the stream has stored it.
    """

    jetstream: Annotated[
        bool, Meta(description="Whether to wait until a stream has stored it.")
    ] = False
    message_id: Annotated[
        Input[str] | None,
        Meta(description="With jetstream: the same one twice, within minutes, is stored once."),
    ] = None
    timeout: Annotated[
        Duration, Meta(ge=0.001, description="With jetstream: how long that may take.")
    ] = Duration(5.0)

    def check(self) -> Iterable[Problem]:
        if self.message_id is not None and not self.jetstream:
            what = "'message_id' has no effect without 'jetstream: true'"
            yield Problem("wrong-value", what, at="message_id")

    def step(self) -> Step:
        connection, message = self._connection, _writer(self.input_path, self.format)
        headers_of = _headers(self.headers)
        subject, message_id, timeout_s = self.subject, self.message_id, self.timeout

        async def publish(baton: Baton) -> Baton:
            to, data = _text(subject, baton, "subject"), message(baton)
            await connection.value.publish(to, data, headers=headers_of(baton))
            return baton

        async def store(baton: Baton) -> Baton:
            to, data = _text(subject, baton, "subject"), message(baton)
            await connection.value.store(
                to,
                data,
                message_id=_text(message_id, baton, "message_id") if message_id else "",
                headers=headers_of(baton),
                timeout_s=timeout_s,
            )
            return baton

        return store if self.jetstream else publish


@processor("request-nats")
class RequestNats(_Sending):
    """Send a message to NATS, and put the first answer into the baton.

    Takes text or bytes, and gives bytes; with another ``format``, both are in that one. Changes the
    baton in place.

    Example:
        request-nats: {subject: math.double, input_path: n, output_path: n, format: json}
        in:  {n: 21}
        out: {n: 42}

    Raises:
        Unavailable: Nobody listens on the subject; that is known at once.
        DeadlineExceeded: There is no answer in time.
        RequestFailed: The answer says that the request has failed.
        BatonError: There is no such message or subject, or it is larger than the server takes.
        InvalidBaton: The answer is not in that format.
    """

    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the answer goes; '' replaces the baton, null discards it."),
    ] = BatonPath("answer")
    format: Annotated[Format, Meta(description="How both are written.")] = "bytes"
    timeout: Annotated[Duration, Meta(ge=0.001, description="How long the answer may take.")] = (
        Duration(2.0)
    )

    def step(self) -> Step:
        connection, message = self._connection, _writer(self.input_path, self.format)
        headers_of, read = _headers(self.headers), _reader(self.format)
        subject, timeout_s = self.subject, self.timeout
        put = setter(self.output_path) if self.output_path is not None else None

        async def step(baton: Baton) -> Baton:
            to = _text(subject, baton, "subject")
            answer = await connection.value.request(
                to, message(baton), timeout_s=timeout_s, headers=headers_of(baton)
            )
            _fail_if_failed(answer.headers or {}, to)
            return put(baton, read(answer.data)) if put else baton

        return step


@dataclass(slots=True, kw_only=True, eq=False)
class _Keyed(Processor):
    """What both share: a bucket, and a key in it."""

    bucket: Annotated[str, Meta(description="The bucket, as it is named below nats.kv.")]
    key: Annotated[Input[str], Meta(description="The key.")]
    _bucket: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._bucket = Dependency(f"nats.kv.{self.bucket}")

    @property
    def is_async(self) -> bool:
        return True


@processor("fetch-nats-value")
class FetchNatsValue(_Keyed):
    """Put what a key-value bucket of NATS has under a key into the baton.

    Changes the baton in place.

    Example:
        fetch-nats-value: {bucket: users, key: ada, output_path: user}
        in:  {n: 1}
        out: {n: 1, user: {name: Ada}}

    Raises:
        BatonError: There is no such key in the baton.
        DeadlineExceeded: There is no answer.
    """

    output_path: Annotated[
        BatonPath, Meta(description="Where the value goes; '' replaces the baton.")
    ] = BatonPath("value")
    revision_path: Annotated[
        BatonPath | None,
        Meta(description="Where the number of its last change goes; 0 where there is no value."),
    ] = None
    fallback: Annotated[Any, Meta(description="The value where nothing is stored.")] = None

    def step(self) -> Step:
        bucket, key, fallback = self._bucket, self.key, self.fallback
        put, note = setter(self.output_path), _noter(self.revision_path)

        async def step(baton: Baton) -> Baton:
            found = await bucket.value.get(_text(key, baton, "key"))
            value, revision = (fallback, 0) if found is None else found
            return note(put(baton, value), revision)

        return step


@processor("store-nats-value")
class StoreNatsValue(_Keyed):
    """Store a value in a key-value bucket of NATS; the baton stays as it is.

    With ``revision``, it is stored only if nobody has changed it since.

    Example:
        store-nats-value: {bucket: users, key: ada, input_path: user}
        in:  {user: {name: Ada}}
        out: {user: {name: Ada}}

    Raises:
        BatonError: There is no such key or value in the baton, or the bucket cannot say it.
        WrongRevision: Somebody has changed it.
        QueueFull: The bucket is full.
        DeadlineExceeded: There is no answer.
    """

    input_path: Annotated[
        BatonPath, Meta(description="Where the value is; '' is the whole baton.")
    ] = BatonPath("value")
    revision: Annotated[
        Input[int] | None,
        Meta(description="The number of the change it is based on; 0 for a key that is new."),
    ] = None
    revision_path: Annotated[
        BatonPath | None, Meta(description="Where the number of this change goes.")
    ] = None

    def step(self) -> Step:
        bucket, key, path = self._bucket, self.key, self.input_path
        get, note, revision = getter(path), _noter(self.revision_path), self.revision

        async def step(baton: Baton) -> Baton:
            value = get(baton)
            if value is MISSING:
                raise BatonError(f"expected a value at '{path}', got nothing")
            last = revision.get(baton) if revision is not None else None
            if revision is not None and (not isinstance(last, int) or isinstance(last, bool)):
                raise BatonError(f"expected a number for 'revision', got {kind_of(last)}")
            number = await bucket.value.put(_text(key, baton, "key"), value, last)
            return note(baton, number)

        return step


def _writer(path: BatonPath, format_: Format) -> Callable[[Baton], bytes]:
    """Return what makes a message of a baton."""
    get, where = getter(path), f" at '{path}'" if path else ""
    encode = _ENCODERS.get(format_)

    def write(baton: Baton) -> bytes:
        value = get(baton)
        if value is MISSING:
            raise BatonError(f"expected a message{where}, got nothing")
        if encode is not None:
            return encode(value)
        if not isinstance(value, str | bytes | bytearray | memoryview):
            hint = "encode it first, or say 'format: json'"
            raise BatonError(f"expected text or bytes{where}, got {kind_of(value)} ({hint})")
        return bytes_of(value)

    return write


def _reader(format_: Format) -> Callable[[bytes], Any]:
    if format_ == "bytes":
        return lambda data: data
    return text_of if format_ == "text" else CODECS[format_]().decode


def _headers(given: Mapping[str, Input[str]]) -> Callable[[Baton], dict[str, str] | None]:
    def headers(baton: Baton) -> dict[str, str] | None:
        found = {name: each.get(baton) for name, each in given.items()}
        return {k: v for k, v in found.items() if v is not None and v is not MISSING} or None

    return headers


def _text(given: Input[str], baton: Baton, name: str) -> str:
    value = given.get(baton)
    if not isinstance(value, str):
        raise BatonError(f"expected text for '{name}', got {kind_of(value)}")
    return value


def _noter(path: BatonPath | None) -> Callable[[Baton, int], Baton]:
    return setter(path) if path is not None else lambda baton, _number: baton


def _fail_if_failed(headers: Mapping[str, str], subject: str) -> None:
    for name in _ERRORS:
        if reason := headers.get(name):
            raise RequestFailed(f"'{subject}' has failed: {reason:.500}")
