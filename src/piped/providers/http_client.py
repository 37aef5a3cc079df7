"""The HTTP client: the connections to other services, which all requests of the process share."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from piped.errors import (
    DeadlineExceeded,
    Misconfigured,
    PipedError,
    Problem,
    RequestFailed,
    Unavailable,
)
from piped.spec import Duration, Meta, Provider, provider
from piped.spec.headers import LINE, OF_THE_CLIENT, TOKEN

if TYPE_CHECKING:  # httpx takes long to import: only a client that runs does
    import httpx

ACCEPTED: Final = "gzip, deflate"

# The way from an answer of httpx to the parser of its connection, which has no public name.
_WAY: Final = ("_httpcore_stream", "_stream", "_connection", "_h11_state")


class Answer:
    """The answer of a service, as its head has come; the body can be read once."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers.items())  # names in lower case

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes: not decompressed.

        Raises:
            RequestFailed: The connection broke, or what came is no HTTP.
        """
        import httpx

        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
            if _has_more(self._response):
                await self._response.extensions["network_stream"].aclose()
        except httpx.HTTPError as error:
            raise _told(error, 0.0) from error


class Client:
    """Sends requests to other services; it follows no redirects and keeps no cookies.

    ``headers``, with names in lower case, are for every request; ``timeout_s`` is how long one may
    take unless it says so.
    """

    __slots__ = ("_transport", "headers", "timeout_s")

    def __init__(
        self, transport: httpx.AsyncHTTPTransport, headers: Mapping[str, str], timeout_s: float
    ) -> None:
        self._transport = transport
        self.headers = headers
        self.timeout_s = timeout_s

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        connect_s: float,
    ) -> AsyncIterator[Answer]:
        """Send one request and yield the answer, whose connection is free again at the end.

        It waits for a free connection and for the answer as long as the caller lets it.

        Raises:
            Unavailable: There is no connection; nothing was sent.
            DeadlineExceeded: Connecting took longer than ``connect_s``; nothing was sent.
            RequestFailed: The connection broke, or what came is no HTTP.
        """
        import httpx

        sent = {"accept": "*/*", "accept-encoding": ACCEPTED, **headers}
        only = {"timeout": {"connect": connect_s}}
        try:
            request = httpx.Request(method, url, headers=sent, content=content, extensions=only)
            response = await self._transport.handle_async_request(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _told(error, connect_s) from error
        try:
            yield Answer(response)
        finally:
            await response.aclose()


def _has_more(response: httpx.Response) -> bool:
    """Tell whether a service has sent more than its answer, or whether nobody can tell.

    httpcore would take the rest for the answer to the next request on the connection.
    """
    inner: Any = response.stream
    for name in _WAY:
        inner = getattr(inner, name, None)
    rest, _ = getattr(inner, "trailing_data", (b"unknown", False))
    return bool(rest)


def _told(error: Exception, connect_s: float) -> PipedError:
    """Return an error of httpx as one of ours."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return DeadlineExceeded(f"no connection within {connect_s:g} s")
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return Unavailable(f"cannot connect: {_reason(error)}")
    return RequestFailed(_reason(error))


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error: of several attempts, of the first."""
    text = f"{error}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        text = _text_of(cause) or text
        cause = cause.__cause__ or cause.__context__
    text = text.removesuffix(".").strip() or "the connection broke"
    return text[:1].lower() + text[1:]


def _text_of(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, OSError):
        number = error.errno or 0
        return os.strerror(number) if number > 0 else error.strerror or ""
    return f"{error}"


def _default_headers() -> dict[str, str]:
    return {"User-Agent": f"piped/{version('piped-server')}"}


@provider("http_client")
class HttpClient(Provider):
    """Keep the connections of ``http-request`` to other services, and what all requests share.

    It is there without a section of its own as soon as a step needs it, as the resource
    ``http_client``. Connections are kept open for the next request to the same service. There is
    no cookie jar, and neither proxies nor passwords are taken from the environment.

    Raises:
        Misconfigured: The bundle of certificates or the proxy cannot be used.
    """

    overlaps: ClassVar[bool] = True

    max_connections: Annotated[
        int, Meta(ge=1, description="How many connections may be open; more requests wait.")
    ] = 100
    max_keepalive: Annotated[
        int, Meta(ge=0, description="How many connections are kept while nobody uses them.")
    ] = 20
    timeout: Annotated[
        Duration, Meta(description="How long a request may take that does not say so itself.")
    ] = Duration(10.0)
    headers: Annotated[
        dict[str, str], Meta(description="Headers of every request that does not set them itself.")
    ] = field(default_factory=_default_headers)
    verify: Annotated[
        bool | str,
        Meta(description="Whether TLS certificates are checked, or the file of those trusted."),
    ] = True
    proxy: Annotated[
        str | None, Meta(description="The URL of a proxy for all requests, http:// or https://.")
    ] = None

    def __post_init__(self) -> None:
        known = {name.lower() for name in self.headers}
        missing = {k: v for k, v in _default_headers().items() if k.lower() not in known}
        self.headers = {**missing, **self.headers}

    def check(self) -> Iterable[Problem]:
        if not self.timeout:
            what = "expected a timeout above 0, got 0.0"
            yield Problem("wrong-value", what, at="timeout")
        for name, value in self.headers.items():
            if not TOKEN.fullmatch(name):
                what = f"expected the name of a header, got {name!r}"
                yield Problem("wrong-header", what, at=f"headers.{name}")
            elif name.lower() in OF_THE_CLIENT:
                what = f"the header '{name}' is made by the client itself"
                yield Problem("wrong-header", what, at=f"headers.{name}")
            elif not LINE.fullmatch(value):
                what = f"expected one line of ASCII for the header '{name}'"
                yield Problem("wrong-header", what, at=f"headers.{name}")
        if self.proxy is not None and not re.match(r"https?://[^/]", self.proxy):
            what = "expected the URL of a proxy, such as http://proxy:3128"
            yield Problem("wrong-url", what, at="proxy")

    def offers(self) -> Iterable[str]:
        return ("http_client",)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the client; at the end, close its connections."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        async with self._opened() as transport:
            yield {"http_client": Client(transport, headers, self.timeout)}

    def _opened(self) -> httpx.AsyncHTTPTransport:
        """Return the transport of httpx: its client would log URLs, and look at redirects."""
        import httpx

        limits = httpx.Limits(
            max_connections=self.max_connections, max_keepalive_connections=self.max_keepalive
        )
        try:
            return httpx.AsyncHTTPTransport(
                verify=self._trust(), limits=limits, proxy=self.proxy, trust_env=False
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise Misconfigured("the proxy is no URL that can be used") from error

    def _trust(self) -> ssl.SSLContext | bool:
        if isinstance(self.verify, bool):
            return self.verify
        try:
            return ssl.create_default_context(cafile=self.verify)
        except OSError as error:
            is_read = isinstance(error, ssl.SSLError)
            reason = "it holds none" if is_read else (error.strerror or f"{error}").lower()
            what = f"cannot read the certificates in '{self.verify}': {reason}"
            raise Misconfigured(what) from error
