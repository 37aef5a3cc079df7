"""A queue as a document declares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Annotated, Any, Literal

from piped.errors import Level, Problem
from piped.providers.zmq import endpoints, options
from piped.spec import Dependency, Duration, Meta, Size, part


@part
class SocketOption:
    """An option of a socket, by its name in ZeroMQ."""

    key: Annotated[str, Meta(description="Its name, such as SUBSCRIBE or RCVHWM.")]
    value: Annotated[bool | int | str, Meta(description="Its value; text is sent as UTF-8.")]


@part
class Queue:
    """A ZeroMQ socket, shared by all who name the queue; made when somebody needs it.

    The baton of the processor is the message as it came: bytes, or a list of bytes where it has
    several frames. A queue without ``concurrency`` treats one at a time, in order.
    """

    type: Annotated[
        Literal[
            "PUSH", "PULL", "PUB", "SUB", "REQ", "REP", "PAIR",
            "ROUTER", "DEALER", "XREP", "XREQ", "XPUB", "XSUB",
        ],
        Meta(description="The pattern it follows; XREQ and XREP are DEALER and ROUTER."),
    ]  # fmt: skip
    binds: Annotated[
        list[str], Meta(description="Addresses to listen on: tcp://127.0.0.1:5000, ipc://path.")
    ] = field(default_factory=list)
    connects: Annotated[
        list[str], Meta(description="Addresses to connect to; a wildcard means this machine.")
    ] = field(default_factory=list)
    sockopts: Annotated[
        list[SocketOption] | dict[str, bool | int | str | list[str]],
        Meta(description="Options of the socket: a mapping, or a list of key and value."),
    ] = field(default_factory=list)
    processor: Annotated[
        Dependency[Any] | None, Meta(description="Who treats the messages that are received.")
    ] = None
    concurrency: Annotated[
        int, Meta(ge=1, description="How many messages an async pipeline treats at once.")
    ] = 1
    max_backlog: Annotated[
        int, Meta(ge=0, description="How many messages may wait for a peer.")
    ] = 1000
    max_backlog_bytes: Annotated[Size, Meta(description="How many bytes may wait for a peer.")] = (
        Size(16 << 20)
    )
    max_age: Annotated[
        Duration, Meta(description="How long a message waits for a peer before it is dropped.")
    ] = Duration(30.0)
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this cannot be bound.")
    ] = True

    def given_options(self) -> Iterator[tuple[str, options.Value]]:
        """Yield the names and values of the socket options, in the order of the document."""
        if isinstance(self.sockopts, dict):
            yield from self.sockopts.items()
        else:
            yield from ((each.key, each.value) for each in self.sockopts)

    def check(self) -> Iterable[Problem]:
        """Yield what is wrong with the queue as a whole."""
        if not self.binds and not self.connects:
            hint = "add binds: [tcp://127.0.0.1:5000] or connects: [tcp://host:5000]"
            yield Problem("queue-without-address", "a queue needs 'binds' or 'connects'", hint=hint)
        if self.processor is not None and self.type in options.SEND_ONLY:
            what = f"a {self.type} queue receives nothing for its 'processor'"
            yield Problem("processor-on-send-only-queue", what, hint="remove 'processor'")
        yield from self._check_endpoints()
        yield from self._check_options()

    def _check_endpoints(self) -> Iterator[Problem]:
        for addresses, is_bind in ((self.binds, True), (self.connects, False)):
            for each in addresses:
                if wrong := endpoints.wrong_with(each, is_bind=is_bind):
                    yield Problem("wrong-endpoint", wrong)

    def _check_options(self) -> Iterator[Problem]:
        is_subscribed = False
        for key, value in self.given_options():
            what, hint = options.wrong_with(key, value)
            if what:
                yield Problem("wrong-socket-option", what, hint=hint)
            if options.is_named(key, "SUBSCRIBE"):
                is_subscribed = True
                if self.type != "SUB":
                    what = f"only a SUB queue can SUBSCRIBE, this is a {self.type}"
                    yield Problem("wrong-socket-option", what)
        if self.type == "SUB" and not is_subscribed:
            what = "a SUB queue without SUBSCRIBE receives nothing"
            hint = "add sockopts: {SUBSCRIBE: ''}"
            yield Problem("queue-without-subscription", what, hint=hint, level=Level.WARNING)
