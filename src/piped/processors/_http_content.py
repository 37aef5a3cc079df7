"""What a request carries, made of values of the document and of the baton."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlencode

from piped.batons import Baton, BatonPath
from piped.errors import BatonError, Problem
from piped.processors import _json
from piped.processors._arguments import filled
from piped.processors._http_url import text_of
from piped.processors._shown import kind_of, shown
from piped.spec import Input, Meta, part
from piped.spec.headers import LINE, OF_THE_CLIENT, TOKEN

Pairs: TypeAlias = Callable[[Baton], list[tuple[str, str]]]
Content: TypeAlias = Callable[[Baton], tuple[bytes, str]]

FORM: Final = "application/x-www-form-urlencoded"


@part
class Basic:
    """A name and its password."""

    username: Annotated[Input[str], Meta(description="The name.")]
    password: Annotated[Input[str], Meta(description="The password.")]

    def credentials(self, baton: Baton) -> str:
        name = text_of(self.username.get(baton), path_of(self.username))
        password = text_of(self.password.get(baton), path_of(self.password))
        if ":" in name:
            raise BatonError("expected a name without a colon for basic authentication")
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@part
class Auth:
    """How a request says whose it is."""

    basic: Annotated[Basic | None, Meta(description="By a name and a password.")] = None
    bearer: Annotated[Input[str] | None, Meta(description="By a token.")] = None

    def check(self) -> Iterable[Problem]:
        if (self.basic is None) is (self.bearer is None):
            got = "neither" if self.basic is None else "both"
            what = f"expected exactly one of 'basic' and 'bearer', got {got}"
            yield Problem("exactly-one", what)

    def credentials(self, baton: Baton) -> str:
        """Return the value of the header."""
        if self.basic is not None:
            return self.basic.credentials(baton)
        bearer = self.bearer or Input("")
        token = text_of(bearer.get(baton), path_of(bearer))
        if not LINE.fullmatch(token):
            raise BatonError("expected a token in one line of ASCII")
        return f"Bearer {token.strip()}"


def path_of(given: Input[Any]) -> str:
    """Return where in the baton an input is; '' where it is given."""
    return given.given if isinstance(given.given, BatonPath) else ""


def pairs_of(given: Mapping[str, Input[Any]], at: str) -> Pairs:
    """Return what makes the pairs of a query or a form: lists repeat a name, null leaves it out."""
    fills = fills_of(given, at)

    def pairs(baton: Baton) -> list[tuple[str, str]]:
        found = []
        for name, fill, path in fills:
            value = fill(baton)
            for each in value if isinstance(value, list | tuple) else [value]:
                if each is not None:
                    found.append((name, text_of(each, path)))
        return found

    return pairs


def fills_of(
    given: Mapping[str, Input[Any]], at: str
) -> list[tuple[str, Callable[[Baton], Any], str]]:
    """Return names, what gives the value of each, and where it comes from, for messages."""
    return [
        (name, filling(each, f"{at}.{name}"), path_of(each) or name) for name, each in given.items()
    ]


def filling(given: Input[Any], at: str) -> Callable[[Baton], Any]:
    """Return what gives the value of an input: that of the parameter ``at``, for messages."""
    return given.get if isinstance(given, Made) else filled(given.given, at)


class Made(Input[Any]):
    """An input that a function makes of the baton."""

    __slots__ = ()

    def __init__(self, get: Callable[[Baton], Any]) -> None:
        super().__init__(None)
        self.get = get


def headers_of(given: Mapping[str, Input[str]], auth: Auth | None) -> Pairs:
    """Return what makes the headers of a request; null leaves one out."""
    fills = fills_of(given, "headers")

    def headers(baton: Baton) -> list[tuple[str, str]]:
        found = []
        for name, fill, path in fills:
            value = fill(baton)
            if value is None:
                continue
            text = text_of(value, path)
            if not LINE.fullmatch(text):
                raise BatonError(f"expected one line of ASCII for the header '{name}'")
            found.append((name.lower(), text.strip()))
        if auth is not None:
            found.append(("authorization", auth.credentials(baton)))
        return found

    return headers


def header_problems(given: Mapping[str, Input[str]], auth: Auth | None) -> Iterable[Problem]:
    """Yield what is wrong with the headers of a request."""
    for name, each in given.items():
        at, value = f"headers.{name}", each.given
        if not TOKEN.fullmatch(name):
            yield Problem(
                "wrong-header", f"expected the name of a header, got {shown(name)}", at=at
            )
        elif name.lower() in OF_THE_CLIENT:
            what = f"the header '{name}' is made by the client itself"
            yield Problem("wrong-header", what, at=at)
        elif isinstance(value, str) and not LINE.fullmatch(value):
            what = f"expected one line of ASCII for the header '{name}'"
            yield Problem("wrong-header", what, at=at)
        elif name.lower() == "authorization" and auth is not None:
            what = "expected exactly one of 'auth' and the header 'authorization', got both"
            yield Problem("exactly-one", what, at=at)


def json_of(given: Input[Any]) -> Content:
    """Return what makes a JSON body."""
    fill = filling(given, "json")
    return lambda baton: (_json.encode(fill(baton)), "application/json")


def form_of(given: Mapping[str, Input[Any]]) -> Content:
    """Return what makes the body of a form."""
    pairs = pairs_of(given, "form")
    return lambda baton: (urlencode(pairs(baton)).encode("ascii"), FORM)


def body_of(given: Input[Any]) -> Content:
    """Return what makes a body of text or bytes."""
    fill = filling(given, "body")

    def content(baton: Baton) -> tuple[bytes, str]:
        value = fill(baton)
        if isinstance(value, str):
            try:
                return value.encode(), "text/plain; charset=utf-8"
            except UnicodeEncodeError:
                raise BatonError(f"expected Unicode as the body, got {shown(value)}") from None
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value), "application/octet-stream"
        raise BatonError(f"expected text or bytes as the body, got {kind_of(value)}")

    return content
