"""Requests to other services: redirects, retries and deadlines around a client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

from piped.errors import DeadlineExceeded, PipedError, RequestFailed, Unavailable
from piped.processors._clock import now
from piped.processors._http_reply import (
    Answer,
    BadStatus,
    Make,
    Reply,
    UnfitAnswer,
    excerpt,
    read,
    retry_after,
)
from piped.processors._http_url import Url, WrongUrl, admits
from piped.processors._shown import shown
from piped.spec import Duration, Meta, part

Redirects: TypeAlias = Literal["none", "same-host", "any"]

IDEMPOTENT: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ANYWHERE: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})


class Client(Protocol):
    """What the resource ``http_client`` is to a request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request says that says nothing else; names in lower case."""

    @property
    def timeout_s(self) -> float: ...

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        connect_s: float,
    ) -> AbstractAsyncContextManager[Answer]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: Url
    headers: Mapping[str, str]  # names in lower case
    content: bytes | None
    is_secret: bool = False  # its path is not for errors

    def __str__(self) -> str:
        url = self.url
        return f"{self.method} {replace(url, path='/***').place if self.is_secret else url.place}"


@part
class Retries:
    """How often a request that failed is tried again, and when."""

    attempts: Annotated[
        int, Meta(ge=1, le=100, description="How many attempts there are, the first included.")
    ] = 3
    delay: Annotated[
        Duration, Meta(description="The pause before the second attempt; each next one doubles.")
    ] = Duration(0.1)
    max_delay: Annotated[
        Duration, Meta(description="The longest pause, unless the service asks for a longer one.")
    ] = Duration(5.0)
    attempt_timeout: Annotated[
        Duration | None, Meta(description="How long one attempt may take; else all that is left.")
    ] = None
    statuses: Annotated[
        list[int], Meta(description="The statuses after which another attempt may help.")
    ] = field(default_factory=lambda: [429, 502, 503, 504])
    unsafe: Annotated[
        bool, Meta(description="Repeat also what may then be done twice, such as a POST.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a request may do, and what it takes for a success."""

    timeout_s: float | None
    connect_s: float
    max_bytes: int
    redirects: Redirects
    max_redirects: int
    turns_into_get: bool  # a POST, by 302
    hosts: Sequence[str]  # () are all
    expected: frozenset[int]
    retries: Retries


class SlowAnswer(DeadlineExceeded):
    """Raised when one of several attempts took longer than it may."""


@dataclass(slots=True)
class Exchange:
    """Sends requests by a policy, and returns the answers that it expects."""

    policy: Policy
    make: Make  # the output, of an answer, the URL it came from, and the seconds it took
    random: random.Random

    async def send(self, client: Client, request: Request) -> Any:
        """Return what is made of the answer to a request.

        Raises:
            RequestFailed: There is no connection, or the answer is not what it should be.
            DeadlineExceeded: It took longer than it may.
        """
        given = self.policy.timeout_s
        seconds = client.timeout_s if given is None else given
        deadline = now() + seconds
        try:
            async with asyncio.timeout_at(deadline) as limit:
                return await self._tried(client, request, deadline)
        except Unavailable as error:
            raise RequestFailed(f"{error}") from error.__cause__
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded) or not limit.expired():
                raise
            raise DeadlineExceeded(f"{request}: no answer within {seconds:g} s") from None

    async def _tried(self, client: Client, request: Request, deadline: float) -> Any:
        attempt = 1
        while True:
            try:
                return await self._attempt(client, request)
            except PipedError as error:
                pause = self._pause(error, attempt)
                left = deadline - now()
                if not self._may_retry(error, request, attempt) or pause >= left:
                    if attempt > 1:
                        error.args = (f"{error} (attempt {attempt})",)
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, client: Client, request: Request) -> Any:
        """Try once, for as long as one attempt may take."""
        seconds = self.policy.retries.attempt_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._followed(client, request)
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded) or not limit.expired():
                raise
            raise SlowAnswer(f"{request}: no answer within {seconds:g} s") from None

    def _may_retry(self, error: PipedError, request: Request, attempt: int) -> bool:
        """Tell whether trying again may help, and does nothing twice that should be done once."""
        retries = self.policy.retries
        if attempt >= retries.attempts:
            return False
        may_repeat = retries.unsafe or request.method in IDEMPOTENT
        match error:
            case BadStatus():
                return may_repeat and error.status in retries.statuses
            case UnfitAnswer():
                return False
            case SlowAnswer() | RequestFailed():
                return may_repeat
        return isinstance(error, Unavailable | DeadlineExceeded)  # nothing was sent

    def _pause(self, error: PipedError, attempt: int) -> float:
        retries = self.policy.retries
        longest = min(retries.max_delay, retries.delay * 2.0 ** (attempt - 1))
        pause = longest * self.random.uniform(0.5, 1.0)
        wanted = error.retry_after_s if isinstance(error, BadStatus) else None
        return max(pause, wanted or 0.0)

    async def _followed(self, client: Client, request: Request) -> Any:
        """Send a request, and go where its answers lead."""
        hop, begun = request, now()
        for _ in range(self.policy.max_redirects + 1):
            try:
                reply = await self._hop(client, hop)
                target = self._target(reply, hop)
                if target is None:
                    return self.make(reply, str(hop.url), now() - begun)
            except PipedError as error:
                error.args = (f"{hop}: {error}",)
                raise
            hop = _redirected(hop, target, reply.status, self.policy.turns_into_get)
        raise UnfitAnswer(f"{request}: more than {self.policy.max_redirects} redirects")

    async def _hop(self, client: Client, hop: Request) -> Reply:
        policy = self.policy
        asked = client.exchange(
            hop.method, str(hop.url), hop.headers, hop.content, policy.connect_s
        )
        async with asked as answer:
            status = answer.status
            if self._leads_on(status, answer.headers):
                return Reply(status, answer.headers, await excerpt(answer))
            if status not in policy.expected:
                body = (await excerpt(answer)).decode(errors="replace")
                said = f": {shown(body)}" if body else ""
                raise BadStatus(f"{status}{said}", status, retry_after(answer.headers))
            return Reply(status, answer.headers, await read(answer, policy.max_bytes))

    def _leads_on(self, status: int, headers: Mapping[str, str]) -> bool:
        return self.policy.redirects != "none" and status in _REDIRECTS and "location" in headers

    def _target(self, reply: Reply, hop: Request) -> Url | None:
        """Return where an answer leads to; None where it is the last one."""
        if not self._leads_on(reply.status, reply.headers):
            return None
        try:
            target = hop.url.joined(reply.headers["location"])
        except WrongUrl as error:
            raise UnfitAnswer(f"a redirect to a wrong url: {error}") from None
        if hop.url.scheme == "https" and target.scheme != "https":
            raise UnfitAnswer(f"a redirect to '{target.host}' without TLS")
        if self.policy.redirects == "same-host" and not hop.url.is_like(target):
            raise UnfitAnswer(f"a redirect to another host, '{target.host}:{target.port}'")
        if self.policy.hosts and not admits(self.policy.hosts, target.host):
            raise UnfitAnswer(f"a redirect to '{target.host}', which is none of the allow_hosts")
        return target


def _redirected(hop: Request, target: Url, status: int, turns_into_get: bool) -> Request:
    """Return the request that a redirect asks for; another host gets no header of ours."""
    method, content, headers = hop.method, hop.content, dict(hop.headers)
    becomes_get = status == 303 and method != "HEAD"
    if method == "POST" and (status == 301 or (status == 302 and turns_into_get)):
        becomes_get = True
    if becomes_get:
        method, content = "GET", None
        headers.pop("content-type", None)
    if not hop.url.is_like(target):
        headers = {name: value for name, value in headers.items() if name in _ANYWHERE}
    return Request(method, target, headers, content, hop.is_secret)
