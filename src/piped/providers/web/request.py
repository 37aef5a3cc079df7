"""A request: what a client asks for, and the one answer that it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from piped.engine.journey import new_journey
from piped.errors import BatonError
from piped.providers.web.arguments import Args, BadRequest, read_fields
from piped.providers.web.headers import Headers, header_line
from piped.providers.web.limits import ANSWER_BYTES, Counters
from piped.providers.web.streams import ClientLeft, Inflow, Outflow
from piped.providers.web.tallies import RouteTally


class Way(Protocol):
    """What takes the answer of a request to its client: a connection."""

    counters: Counters
    transport: asyncio.Transport

    def respond(self, request: Request, body: bytes) -> None:
        """Send a whole answer."""

    def begin(self, request: Request, length: int | None) -> Outflow:
        """Begin an answer in pieces; its length is None where nobody knows it yet."""

    def end(self, request: Request) -> None:
        """End an answer in pieces."""

    def cut(self) -> None:
        """Give up an answer in pieces, so that the client sees that it is not whole."""

    def hand_over(self, heir: Any, head: bytes) -> bool:
        """Switch protocols: the connection belongs to another one from now on."""


class Request:
    """One request of a client.

    It is answered once, by whoever comes first, from any pipeline, at any time before its
    deadline. A second answer is ignored and counted.
    """

    __slots__ = (
        "__weakref__",
        "_args",
        "_begun",
        "_body",
        "_counters",
        "_fields",
        "_headers",
        "_inflow",
        "_outflow",
        "_path",
        "_status",
        "_tally",
        "_target",
        "_task",
        "_way",
        "_when_left",
        "_written",
        "answer_lines",
        "client_ip",
        "deadline_s",
        "id",
        "is_disconnected",
        "is_finished",
        "is_kept_alive",
        "is_old",
        "is_upgrade",
        "method",
        "params",
        "postpath",
        "prepath",
        "scheme",
        "user",
    )

    def __init__(self) -> None:
        self.id = new_journey()
        self.method = ""
        self.client_ip = ""
        self.scheme = "http"  # or https
        self.params: dict[str, Any] = {}  # those of the path
        self.user = ""  # who asks, where the route wants to know
        self.prepath: list[str] = []
        self.postpath: list[str] = []
        self.deadline_s = 30.0
        self.is_finished = False
        self.is_disconnected = False
        self.is_kept_alive = False
        self.is_old = False  # of HTTP/1.0
        self.is_upgrade = False  # proposes WebSocket, and is the last of HTTP if that is accepted
        self.answer_lines: list[tuple[str, bytes]] = []
        self._args: Args | None = None
        self._begun = 0.0  # when it came to its route, if it is timed
        self._body: bytes | bytearray = b""
        self._counters: Counters | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._headers: Headers | None = None
        self._inflow: Inflow | None = None
        self._outflow: Outflow | None = None
        self._path: str | None = None
        self._status = 200
        self._tally: RouteTally | None = None  # that of the route which it has come to
        self._target = b""
        self._task: asyncio.Task[None] | None = None
        self._way: Way | None = None
        self._when_left: Callable[[asyncio.Task[None]], None] | None = None
        self._written: bytes | bytearray | None = None

    def __repr__(self) -> str:
        return f"<Request {self.id} {self.method} {self.path}>"

    @property
    def __baton_id__(self) -> int:
        return self.id

    @property
    def transport(self) -> asyncio.Transport | None:
        """What brings the answer to the client; None when it is on its way."""
        return None if self._way is None else self._way.transport

    @property
    def inflow(self) -> Inflow | None:
        """The body while it arrives; None where it is whole."""
        return self._inflow

    @property
    def uri(self) -> str:
        """The target as it was sent: path and query."""
        return self._target.decode("latin-1")

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        if self._path is None:
            self._path = unquote(self._target.partition(b"?")[0].decode("latin-1"))
        return self._path

    @property
    def headers(self) -> Headers:
        """The header fields."""
        if self._headers is None:
            self._headers = Headers(self._fields)
        return self._headers

    @property
    def args(self) -> Args:
        """The arguments of the query and of a form, read when first asked for.

        Raises:
            BadRequest: There are more than a thousand.
        """
        if self._args is None:
            args = Args(read_fields(self._target.partition(b"?")[2]))
            kind = self.headers.get("content-type", "") if self._body else ""
            if kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
                for name, values in read_fields(self._body).items():
                    args.setdefault(name, []).extend(values)
            self._args = args
        return self._args

    def body(self) -> bytes:
        """Return the body as it was sent.

        Raises:
            BatonError: It comes in pieces: the route says ``stream_body``.
        """
        return bytes(self._whole_body())

    def _whole_body(self) -> bytes | bytearray:
        if self._inflow is not None:
            raise BatonError("the body of this request comes in pieces: read request.stream()")
        return self._body

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, as they arrive where the route says ``stream_body``.

        Raises:
            ClientLeft: The client left, or broke a rule, before the body was complete.
        """
        inflow = self._inflow
        if inflow is None:
            if self._body:
                yield bytes(self._body)
            return
        while piece := await inflow.take():
            yield piece

    def text(self) -> str:
        """Return the body as text.

        Raises:
            BadRequest: It is not UTF-8.
        """
        try:
            return self._whole_body().decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"the body is not UTF-8: {error}") from error

    def json(self) -> Any:
        """Return what the body says in JSON; whole numbers are exact.

        Raises:
            BadRequest: It is no JSON.
        """
        try:
            return msgspec.json.decode(self._whole_body())
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is not JSON: {error}") from error

    @property
    def status(self) -> int:
        """The status of the answer, 200 unless it is set."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise BatonError(f"expected a status from 200 to 599, got {status!r}")
        self._status = status

    def set_header(self, name: str, value: str) -> None:
        """Set a header field of the answer, in place of one of the same name.

        Raises:
            BatonError: It cannot be a header field, or it is the site's own.
        """
        line, key = header_line(name, value), name.lower()
        if self.answer_lines:
            self.answer_lines = [each for each in self.answer_lines if each[0] != key]
        self.answer_lines.append((key, line))

    def add_header(self, name: str, value: str) -> None:
        """Add a header field to the answer, beside others of the same name (``set-cookie``)."""
        self.answer_lines.append((name.lower(), header_line(name, value)))

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Collect a piece of the answer; all pieces are sent when it is finished.

        Raises:
            BatonError: It is not bytes, or more than an answer may have.
        """
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise BatonError(f"expected bytes, got {type(content).__name__}")
        if self.is_finished:
            return
        written = self._written
        if len(content) + (0 if written is None else len(written)) > ANSWER_BYTES:
            raise BatonError(f"an answer must not be longer than {ANSWER_BYTES} bytes")
        if written is None:
            self._written = bytes(content)
        elif isinstance(written, bytes):
            self._written = bytearray(written) + content
        else:
            written += content

    def finish(self) -> bool:
        """Send the answer; tell whether this was the first, and somebody was there to get it.

        An answer in pieces ends with it.
        """
        way = self._way
        if way is None or self._outflow is None:
            return self._finish(b"" if self._written is None else bytes(self._written))
        self._way = self._task = self._outflow = None
        way.end(self)
        return True

    def _finish(self, body: bytes) -> bool:
        way = self._way
        if self.is_finished or way is None:
            if self._counters is not None and not self.is_disconnected:
                self._counters.second_answers += 1
            return False
        self.is_finished = True
        self._way = self._task = self._written = None
        way.respond(self, body)
        return True

    def answer(
        self,
        body: bytes,
        status: int | None = None,
        content_type: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Send a whole answer; tell whether it was the first.

        Args:
            body: What follows on what was written before.
            status: The status, from 200 to 599; the one that was set if there is none.
            content_type: The header field of that name; ``text/html`` if there is none.
            headers: More header fields.
        """
        if self.is_finished:
            return self._finish(b"")
        self._set_head(status, content_type, headers)
        if self._written is None and body.__class__ is bytes:
            return self._finish(body)
        self.write(body)
        return self.finish()

    def _set_head(
        self, status: int | None, content_type: str | None, headers: Iterable[tuple[str, str]]
    ) -> None:
        if status is not None:
            self.status = status
        if content_type is not None:
            self.set_header("content-type", content_type)
        for name, value in headers:
            self.add_header(name, value)

    def start(
        self,
        status: int | None = None,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str | None = None,
        length: int | None = None,
    ) -> bool:
        """Begin an answer whose body comes in pieces; tell whether it was the first.

        What was written before comes first. The answer is given up, and the connection ends, when
        the tasks that began it are over without ``finish``, or the synchronous pipeline is.

        Args:
            status: The status, from 200 to 599; the one that was set if there is none.
            headers: More header fields.
            content_type: The header field of that name.
            length: How many bytes all pieces have together, where that is known.

        Raises:
            BatonError: The status, a field or the length cannot be, or more was written than that.
        """
        way = self._way
        if self.is_finished or way is None:
            return self._finish(b"")
        if length is not None and (not isinstance(length, int) or length < 0):
            raise BatonError(f"expected a length of at least 0, got {length!r}")
        self._set_head(status, content_type, headers)
        self.is_finished = True
        self._outflow = way.begin(self, length)
        tasks = (self._task, asyncio.current_task())
        self._give_up_after({each for each in tasks if each is not None})
        if self._written:
            self._outflow.put(bytes(self._written))
            self._written = None
        return True

    def _give_up_after(self, tasks: set[asyncio.Task[Any]]) -> None:
        if not tasks:  # a synchronous pipeline has none, and is over in this turn of the loop
            asyncio.get_running_loop().call_soon(self.break_off)
            return

        def end(task: asyncio.Task[Any]) -> None:
            tasks.discard(task)
            if not tasks:
                self.break_off()

        for task in tuple(tasks):
            task.add_done_callback(end)

    async def send(self, piece: bytes | bytearray | memoryview) -> None:
        """Send a piece of an answer that was begun, as soon as the client reads.

        Raises:
            BatonError: None was begun, it is no bytes, or the answer gets longer than it should.
            ClientLeft: The client is gone.
        """
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise BatonError(f"expected bytes, got {type(piece).__name__}")
        outflow = self._outflow
        if outflow is None:
            if self.is_disconnected:
                raise ClientLeft("the client has left")
            raise BatonError("expected a request whose answer was begun, and has not ended")
        await outflow.send(bytes(piece))

    def break_off(self) -> None:
        """Give up an answer that was begun: its client sees that it is not whole."""
        way, outflow = self._way, self._outflow
        if way is not None and outflow is not None:
            self._way = self._outflow = None
            outflow.break_off()
            way.cut()

    def hand_over(self, heir: asyncio.Protocol, head: bytes) -> bool:
        """Answer that the protocol is switched, and leave the connection to the other one.

        Tell whether this was the first answer, and somebody was there to get it.

        Args:
            heir: The other protocol, with the methods by which a site looks after a connection.
            head: The header fields of that answer, but for the date.
        """
        way = self._way
        if self.is_finished or way is None:
            return False
        self.is_finished = True
        self._way = self._task = self._written = None
        return way.hand_over(heir, head)

    def reset_answer(self) -> None:
        """Forget what was set and written for the answer so far."""
        self._status, self._written, self.answer_lines = 200, None, []

    def redirect(self, url: str) -> None:
        """Make the answer send the client to another place, as status 302."""
        self.set_header("location", url)
        self.status = 302

    def accept(self, way: Way) -> None:
        """Be told the way that the answer takes."""
        self._way, self._counters = way, way.counters

    def when_left(self, told: Callable[[asyncio.Task[None]], None] | None) -> None:
        """Say who is told, and with which task, if the client leaves before it has its answer.

        Else the task that treats the request is cancelled; whoever is told decides when, or if.
        """
        self._when_left = told

    def leave(self) -> None:
        """Be told that the client is gone: no answer is needed, and the pipeline is cancelled."""
        self.is_finished = self.is_disconnected = True
        self._way = self._written = None
        outflow, self._outflow = self._outflow, None
        if outflow is not None:
            outflow.break_off()
        if self._inflow is not None:
            self._inflow.break_off("the client left before its request was complete")
        if (task := self.take_task()) is not None:
            task.cancel() if self._when_left is None else self._when_left(task)

    def treat_in(self, task: asyncio.Task[None]) -> None:
        """Be told the task in which the pipeline runs."""
        if not self.is_finished:
            self._task = task

    def take_task(self) -> asyncio.Task[None] | None:
        """Return the task in which the pipeline runs, if it does, and forget it."""
        task, self._task = self._task, None
        return task

    # The ancestor's spellings.

    @property
    def finished(self) -> bool:
        return self.is_finished

    def getHeader(self, name: str) -> str | None:  # noqa: N802
        return self.headers.get(name)

    def setHeader(self, name: str, value: str) -> None:  # noqa: N802
        self.set_header(name, value)

    def setResponseCode(self, code: int) -> None:  # noqa: N802
        self.status = code

    def getClientIP(self) -> str:  # noqa: N802
        return self.client_ip
