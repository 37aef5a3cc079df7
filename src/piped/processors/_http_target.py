"""Where a request goes: to a URL of the document or of the baton, and to which hosts it may."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from piped.batons import Baton, BatonPath
from piped.errors import BatonError, Level, Problem
from piped.processors._http_content import filling
from piped.processors._http_url import (
    Fill,
    Url,
    WrongUrl,
    admits,
    ascii_host,
    compiled,
    has_dots,
    parse,
)
from piped.processors._shown import kind_of, shown
from piped.spec import Input


@dataclass(frozen=True, slots=True)
class Target:
    """The parameters ``url``, ``base_url`` and ``allow_hosts`` of a request."""

    url: Input[Any]
    base_url: str | None
    allow_hosts: Sequence[str]

    @property
    def hosts(self) -> list[str]:
        """The hosts that are allowed, as DNS knows them; [] are all.

        Raises:
            WrongUrl: One of them is no host.
        """
        return [_pattern(each) for each in self.allow_hosts]

    @property
    def is_secret(self) -> bool:
        """Whether the URL was written as ``!secret``, which its ``repr`` hides."""
        return any(repr(each) == "***" for each in (self.url.given, self.base_url))

    def problems(self) -> Iterator[Problem]:
        for i, each in enumerate(self.allow_hosts):
            try:
                _pattern(each)
            except WrongUrl:
                what = f"expected a host, such as a.b or *.b, got {shown(each)}"
                yield Problem("wrong-value", what, at=f"allow_hosts[{i}]")
                return
        key = "base_url"
        try:
            host = _base(self.base_url).host if self.base_url is not None else ""
            key = "url"
            if found := self._compiled():
                host = found[1].host
        except WrongUrl as error:
            yield Problem("wrong-url", f"the url is wrong: {error}", at=key)
            return
        if host and self.hosts and not admits(self.hosts, host):
            yield Problem("wrong-url", f"'{host}' is none of the allow_hosts", at=key)
        elif not host and not self.hosts and isinstance(self.url.given, BatonPath):
            what = "the baton says which host is asked, and may say any"
            hint = "name those that may be asked, as in allow_hosts: ['*.example.com']"
            yield Problem("any-host", what, at="url", hint=hint, level=Level.HINT)

    def fill(self) -> Fill:
        """Return what gives the URL for a baton."""
        if found := self._compiled():
            return found[0]
        get, hosts, base = filling(self.url, "url"), self.hosts, self._prefix
        where = f" at '{self.url.given}'" if self.url.given else ""

        def fill(baton: Baton) -> Url:
            text = get(baton)
            if not isinstance(text, str):
                raise BatonError(f"expected a url{where}, got {kind_of(text)}")
            try:
                url = parse(_below(base, text))
            except WrongUrl as error:
                raise BatonError(f"the url{where} is wrong: {error}") from None
            if hosts and not admits(hosts, url.host):
                raise BatonError(
                    f"the url{where} is wrong: '{url.host}' is none of the allow_hosts"
                )
            if base and has_dots(url):
                raise BatonError(f"the url{where} is wrong: it leads upwards")
            return url

        return fill

    def _compiled(self) -> tuple[Fill, Url] | None:
        """Return what the URL of the document is made into; None where the baton has it."""
        given = self.url.given
        if not isinstance(given, str) or isinstance(given, BatonPath):
            return None
        return compiled(_below(self._prefix, str.__str__(given)))

    @property
    def _prefix(self) -> str:
        """What comes before each URL; '' where nothing does."""
        return "" if self.base_url is None else _base(self.base_url).place.rstrip("/")


def _below(base: str, text: str) -> str:
    if base and not text.startswith("/"):
        raise WrongUrl("below a base_url it begins with '/'")
    return base + text


def _base(text: str) -> Url:
    if re.search("[{}]", text):
        raise WrongUrl("a base_url has no values of the baton")
    url = parse(text)
    if url.query:
        raise WrongUrl("a base_url has no query")
    return url


def _pattern(host: str) -> str:
    """Return a host, or ``*.`` and a domain, as DNS knows it."""
    return f"*.{ascii_host(host[2:])}" if host.startswith("*.") else ascii_host(host)
