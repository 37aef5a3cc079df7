"""The parameters of the ancestor's web client, as those of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from piped.batons import Baton, BatonPath
from piped.errors import BatonError
from piped.processors._http_content import Made, filling, fills_of, path_of
from piped.processors._http_url import quoted, text_of
from piped.processors._shown import shown
from piped.spec import Input


def in_one(url: Input[Any], base: str | None) -> Input[Any]:
    """Return a URL for a request, of one in the document or in the baton, or of its parts."""
    given = url.given
    first = given[0] if isinstance(given, list) and given else given
    if isinstance(first, BatonPath):
        return Made(_fetching(url, base))
    parts = given if isinstance(given, list) else [given]
    if base is None and parts == [given] and not re.search("[{}]", given):
        return url
    kind = next((type(each) for each in parts if repr(each) == "***"), str)  # a secret remains one
    text = "/".join(map(_part, parts))
    return Input(kind(text if base is None else f"/{text.lstrip('/')}"))


def _part(given: Any) -> str:
    """Return a part of a URL as a template has it."""
    if isinstance(given, BatonPath):
        return f"{{{given}}}"
    return str(given).replace("{", "{{").replace("}", "}}")


def _fetching(url: Input[Any], base: str | None) -> Callable[[Baton], Any]:
    fetch, path = filling(url, "url"), path_of(url) or "url"

    def get(baton: Baton) -> Any:
        value = fetch(baton)
        if isinstance(value, list | tuple) and value:
            first, *rest = [text_of(each, path) for each in value]
            value = "/".join([first, *map(quoted, rest)])
        if base is not None and isinstance(value, str):
            value = f"/{value.lstrip('/')}"
        return value

    return get


def joined(cookies: Mapping[str, Input[str]]) -> Input[str]:
    """Return cookies as one header."""
    fills = fills_of(cookies, "cookies")

    def get(baton: Baton) -> str:
        pairs = []
        for name, fill, path in fills:
            value = text_of(fill(baton), path)
            if ";" in value:
                raise BatonError(f"expected a cookie without ';' at '{path}', got {shown(value)}")
            pairs.append(f"{name}={value}")
        return "; ".join(pairs)

    return Made(get)


def contents(given: Input[Any]) -> Input[Any]:
    """Return an input that reads what can be read."""
    fill = filling(given, "postdata")

    def get(baton: Baton) -> Any:
        value = fill(baton)
        return value.read() if hasattr(value, "read") else value

    return Made(get)
