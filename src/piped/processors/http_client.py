"""Requests to other services over HTTP."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from typing import Annotated, Any, Final

from piped.batons import Baton, BatonPath, setter
from piped.errors import Level, Problem
from piped.processors._http_content import (
    Auth,
    Content,
    body_of,
    form_of,
    header_problems,
    headers_of,
    json_of,
    pairs_of,
)
from piped.processors._http_exchange import (
    IDEMPOTENT,
    Client,
    Exchange,
    Policy,
    Redirects,
    Request,
    Retries,
)
from piped.processors._http_old import contents, in_one, joined
from piped.processors._http_reply import Output, maker
from piped.processors._http_target import Target
from piped.processors._shown import shown
from piped.spec import Dependency, Duration, Input, Meta, Processor, Size, Step, processor
from piped.spec.headers import TOKEN

_STATUS: Final = re.compile(r"[1-5](xx|\d\d)")
_KNOWN: Final = IDEMPOTENT | {"PATCH", "POST"}
_BODILESS: Final = ("GET", "HEAD", "TRACE")


def _dependency() -> Dependency[Client]:
    return Dependency("http_client")


@processor("http-request")
class HttpRequest(Processor):
    """Send a request to another service, and put what it answers into the baton.

    ``{a.b}`` in ``url`` is the value at ``a.b`` of the baton, percent-encoded: it stays one segment
    of the path or one value of the query, and never leads to another host. A response is
    ``{status, headers, text, url, elapsed_s}``; in place of ``text``, a JSON answer has ``json``,
    and one that is neither has ``bytes``. Changes the baton in place.

    Example:
        http-request: {url: "http://users.test/users/{id}", output: json, output_path: user}
        in:  {id: 7}
        out: {id: 7, user: {name: Ada}}

    Raises:
        RequestFailed: There is no connection, or the answer is not what it should be.
        DeadlineExceeded: There is no answer in time.
        BatonError: A value for the request is missing, or is none.
    """

    url: Annotated[
        Input[str],
        Meta(description="The URL, with '{path.to.value}' where values of the baton stand."),
    ]
    base_url: Annotated[
        str | None, Meta(description="What comes before a 'url' that begins with '/'.")
    ] = None
    method: Annotated[str, Meta(description="The method.")] = "GET"
    query: Annotated[
        dict[str, Input[Any]],
        Meta(description="Arguments behind the URL: a list repeats one, null leaves it out."),
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, Input[str]], Meta(description="Headers; where the baton has null, there is none.")
    ] = field(default_factory=dict)
    auth: Annotated[Auth | None, Meta(description="How the request says whose it is.")] = None
    json: Annotated[
        Input[Any] | None, Meta(description="A body sent as JSON; '!path' may stand inside, too.")
    ] = None
    form: Annotated[
        dict[str, Input[Any]] | None, Meta(description="A body sent as a form, as 'query' is.")
    ] = None
    body: Annotated[Input[Any] | None, Meta(description="A body of text or bytes.")] = None
    timeout: Annotated[
        Duration | None,
        Meta(description="How long all may take, with retries; else as 'http_client' says."),
    ] = None
    connect_timeout: Annotated[
        Duration, Meta(description="How long connecting may take, as a part of that.")
    ] = Duration(5.0)
    retries: Annotated[
        Retries | None, Meta(description="Whether and how failures are tried again.")
    ] = None
    redirects: Annotated[
        Redirects, Meta(description="Which redirects are followed; never one that leaves TLS.")
    ] = "same-host"
    max_redirects: Annotated[
        int, Meta(ge=0, le=100, description="How many redirects are followed.")
    ] = 5
    allow_hosts: Annotated[
        list[str], Meta(description="The only hosts that are asked, as a.b or *.b; else any.")
    ] = field(default_factory=list)
    expect: Annotated[
        list[int | str],
        Meta(description="The statuses that are no failure, such as 2xx; else all below 400."),
    ] = field(default_factory=list)
    max_size: Annotated[Size, Meta(description="How long the answer may be, decompressed.")] = Size(
        10 << 20
    )
    output: Annotated[Output, Meta(description="What of the answer goes to the baton.")] = (
        "response"
    )
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where that goes; '' replaces the baton, null discards it."),
    ] = BatonPath("response")
    _client: Dependency[Client] = field(default_factory=_dependency, init=False)
    _random: random.Random = field(default_factory=random.Random, init=False)
    _turns_into_get: bool = field(default=True, init=False)

    @property
    def is_async(self) -> bool:
        return True

    def check(self) -> Iterable[Problem]:
        yield from self._problems_of_body()
        yield from header_problems(self.headers, self.auth)
        yield from self._target().problems()
        if not TOKEN.fullmatch(self.method) or self.method.upper() == "CONNECT":
            what = f"expected a method such as GET, got {shown(self.method)}"
            yield Problem("wrong-value", what, at="method")
        for i, status in enumerate(self.expect):
            if not _STATUS.fullmatch(str(status)):
                what = f"expected a status such as 200 or 2xx, got {shown(status)}"
                yield Problem("wrong-value", what, at=f"expect[{i}]")
        for key in ("timeout", "connect_timeout"):
            if getattr(self, key) == 0:
                yield Problem("wrong-value", f"expected a {key} above 0, got 0.0", at=key)

    def step(self) -> Step:
        exchange = Exchange(self._policy(), maker(self.output), self._random)
        client, target, method = self._client, self._target(), _method(self.method)
        fill, query, content = target.fill(), pairs_of(self.query, "query"), self._content()
        headers, is_secret = headers_of(self.headers, self.auth), target.is_secret
        put = _keep if self.output_path is None else setter(self.output_path)

        async def step(baton: Baton) -> Baton:
            sent = dict(client.value.headers)
            url, body = fill(baton).with_query(query(baton)), None
            if content is not None:
                body, sent["content-type"] = content(baton)
            sent.update(headers(baton))
            request = Request(method, url, sent, body, is_secret)
            return put(baton, await exchange.send(client.value, request))

        return step

    def _problems_of_body(self) -> Iterator[Problem]:
        given = [key for key in ("json", "form", "body") if getattr(self, key) is not None]
        if len(given) > 1:
            names = " and ".join(f"'{each}'" for each in given)
            what = f"expected at most one of 'json', 'form' and 'body', got {names}"
            yield Problem("exactly-one", what, at=given[1])
        elif given and self.method.upper() in _BODILESS:
            what = f"a {self.method.upper()} has no body: services may refuse or overlook it"
            yield Problem("needless-body", what, at=given[0], level=Level.WARNING)

    def _target(self) -> Target:
        return Target(self.url, self.base_url, self.allow_hosts)

    def _content(self) -> Content | None:
        if self.json is not None:
            return json_of(self.json)
        if self.form is not None:
            return form_of(self.form)
        return None if self.body is None else body_of(self.body)

    def _policy(self) -> Policy:
        return Policy(
            timeout_s=self.timeout,
            connect_s=self.connect_timeout,
            max_bytes=self.max_size,
            redirects=self.redirects,
            max_redirects=self.max_redirects,
            turns_into_get=self._turns_into_get,
            hosts=self._target().hosts,
            expected=_statuses(self.expect),
            retries=self.retries or Retries(attempts=1),
        )


def _keep(baton: Baton, _output: Any) -> Baton:
    return baton


def _method(name: str) -> str:
    return name.upper() if name.upper() in _KNOWN else name


def _statuses(given: list[int | str]) -> frozenset[int]:
    """Return the statuses that are meant: 2xx are a hundred."""
    if not given:
        return frozenset(range(100, 400))
    found: set[int] = set()
    for each in map(str, given):
        first = int(each.replace("xx", "00"))
        found.update(range(first, first + (100 if "xx" in each else 1)))
    return frozenset(found)


@processor("web-client-get-page", deprecated="use http-request; it goes in Piped 2")
class WebClientGetPage(Processor):
    """Fetch a page and put its text into the baton: the old name of ``http-request``.

    A list as ``url`` is joined by slashes. Redirects are followed within the host only, and an
    answer must come within the timeout, at most 10 MiB long. Changes the baton in place.

    Example:
        web-client-get-page: {}
        in:  {url: "http://users.test/users/7"}
        out: {url: "http://users.test/users/7", page: '{"name": "Ada"}'}

    Raises:
        RequestFailed: There is no connection, or the status is 400 or above.
        DeadlineExceeded: There is no answer in time.
        BatonError: A value for the request is missing, or is none.
    """

    url: Annotated[
        Input[str | list[Any]], Meta(description="The URL, or what is joined to one by slashes.")
    ] = field(default_factory=lambda: Input(BatonPath("url")))
    base_url: Annotated[str | None, Meta(description="What comes before the URL.")] = None
    method: Annotated[str, Meta(description="The method.")] = "GET"
    headers: Annotated[dict[str, Input[str]], Meta(description="Headers of the request.")] = field(
        default_factory=dict
    )
    agent: Annotated[Input[str] | None, Meta(description="The header User-Agent.")] = None
    timeout: Annotated[
        Duration, Meta(description="How long it may take; 0 is as 'http_client' says.")
    ] = Duration(0.0)
    cookies: Annotated[dict[str, Input[str]], Meta(description="Cookies that are sent.")] = field(
        default_factory=dict
    )
    follow_redirect: Annotated[bool, Meta(description="Follow redirects within the host.")] = True
    redirect_limit: Annotated[
        int, Meta(ge=0, le=100, description="How many redirects are followed.")
    ] = 20
    after_found_get: Annotated[
        bool, Meta(description="Whether a POST that is answered 302 goes on as a GET.")
    ] = False
    postdata: Annotated[
        Input[Any] | None, Meta(description="The body: text, bytes, or what has a 'read()'.")
    ] = None
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the text goes; '' replaces the baton, null discards it."),
    ] = BatonPath("page")
    _client: Dependency[Client] = field(default_factory=_dependency, init=False)

    @property
    def is_async(self) -> bool:
        return True

    def check(self) -> Iterable[Problem]:
        for each in self._modern().check():
            if each.level is not Level.HINT:
                yield replace(each, at="postdata" if each.at == "body" else each.at)

    def step(self) -> Step:
        return self._modern().step()

    def _modern(self) -> HttpRequest:
        """Return the request that it stands for."""
        headers = dict(self.headers)
        if self.agent is not None:
            headers["user-agent"] = self.agent
        if self.cookies:
            headers["cookie"] = joined(self.cookies)
        made = HttpRequest(
            url=in_one(self.url, self.base_url),
            base_url=self.base_url,
            method=self.method,
            headers=headers,
            timeout=self.timeout or None,
            body=None if self.postdata is None else contents(self.postdata),
            redirects="same-host" if self.follow_redirect else "none",
            max_redirects=self.redirect_limit,
            output="text",
            output_path=self.output_path,
        )
        made._client = self._client
        made._turns_into_get = self.after_found_get
        return made
