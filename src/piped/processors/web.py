"""Answering web requests, and reading their arguments."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Final

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import BatonError, Problem, suggest
from piped.processors import _json
from piped.processors._request import REQUEST_PATH, SKIP, request_getter
from piped.processors._shown import kind_of, shown
from piped.processors._text import encoded, wrong_encoding
from piped.processors.mapping import Entry, MappingProcessor
from piped.spec import Meta, Processor, Step, processor
from piped.spec.headers import CONTROL, OF_THE_SITE, TOKEN

JSON: Final = "application/json"
SENT_AS_JSON: Final = (dict, list, tuple)
CODES: Final = {each.name: each.value for each in HTTPStatus if each.value >= 200}


class BadArgument(BatonError):
    """Raised when an argument of a request cannot be read; it is answered 400."""

    http_status: ClassVar[int] = 400


@processor("write-web-response")
class WriteWebResponse(Processor):
    """Answer a web request with the content in the baton, which stays as it is.

    Takes text, bytes, a dict or a list at ``content_path``; the latter two are sent as JSON. Where
    there is nothing, ``fallback_content`` is sent, or nothing. Without ``content_type``, and where
    set-http-headers has set none, what is a JSON object or array is ``application/json``, all else
    ``text/html``. A request that is answered already is left alone.

    Example:
        write-web-response: {content_path: page, response_code: NOT_FOUND}

    Raises:
        BatonError: There is no request, or the content is something else.
    """

    answers: ClassVar[bool] = True

    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")
    skip_if_request_stopped: Annotated[bool, SKIP] = True
    content_path: Annotated[BatonPath, Meta(description="Where in the baton the content is.")] = (
        BatonPath("content")
    )
    content_type: Annotated[
        str | None, Meta(description="The type of the content, such as text/plain.")
    ] = None
    response_code: Annotated[
        int | str | None, Meta(description="The status, such as 404 or NOT_FOUND; by default 200.")
    ] = None
    encoding: Annotated[str, Meta(description="How text becomes bytes.")] = "utf8"
    finish: Annotated[
        bool, Meta(description="Whether the answer is complete now, or more will be written.")
    ] = True
    fallback_content: Annotated[Any, Meta(description="What is sent where there is nothing.")] = (
        MISSING
    )

    def check(self) -> Iterable[Problem]:
        code = self.response_code
        if isinstance(code, int) and not 200 <= code <= 599:
            what = f"expected a status from 200 to 599, got {code}"
            yield Problem("wrong-value", what, at="response_code")
        if isinstance(code, str) and code not in CODES:
            what = f"expected a status such as NOT_FOUND, got {shown(code)}"
            hint = suggest(code.upper(), CODES)
            yield Problem("wrong-value", what, at="response_code", hint=hint)
        wrong = list(wrong_encoding(self.encoding, "encoding"))
        yield from wrong
        if wrong:
            return
        try:
            if self.fallback_content is not MISSING:
                self._body(self.fallback_content)
        except BatonError as error:
            what = f"wrong 'fallback_content': {error}"
            yield Problem("wrong-value", what, at="fallback_content")
        yield from _header_problems("content-type", self.content_type or "", "content_type")

    def step(self) -> Step:
        get_request = request_getter(self.request_path)
        get_content = getter(self.content_path, self.fallback_content)
        skip, finish, given_type = self.skip_if_request_stopped, self.finish, self.content_type
        code = self.response_code
        status = CODES[code] if isinstance(code, str) else code

        def step(baton: Baton) -> Baton:
            request = get_request(baton)
            if skip and request.is_finished:
                return baton
            content = get_content(baton)
            body, kind = (None, "") if content is MISSING else self._body(content)
            if status is not None:
                request.status = status
            if given_type is not None:
                request.set_header("content-type", given_type)
            elif kind and not _has_type(request.answer_lines):
                request.set_header("content-type", kind)
            if body is not None:
                request.write(body)
            if finish:
                request.finish()
            return baton

        return step

    def _body(self, content: Any) -> tuple[bytes, str]:
        """Return content as bytes, and what it is."""
        if isinstance(content, SENT_AS_JSON):
            return _json.encode(content), JSON
        if isinstance(content, str):
            body = encoded(content, self.encoding)
        elif isinstance(content, bytes | bytearray | memoryview):
            body = bytes(content)
        else:
            raise BatonError(f"expected text, bytes, dict or list, got {kind_of(content)}")
        charset = codecs.lookup(self.encoding).name
        if charset == "utf-8" and self.content_type is None and _json.is_object_or_array(body):
            return body, JSON
        return body, f"text/html; charset={charset}"


def _has_type(lines: Sequence[tuple[str, bytes]]) -> bool:
    return bool(lines) and any(name == "content-type" for name, _ in lines)


@processor("set-http-headers")
class SetHttpHeaders(Processor):
    """Set header fields of the answer to a web request, in place of those set before.

    A list is several fields of the same name. The baton stays as it is.

    Example:
        set-http-headers: {headers: {cache-control: no-store, set-cookie: [a=1, b=2]}}

    Raises:
        BatonError: There is no request.
    """

    headers: Annotated[
        dict[str, str | int | list[str]], Meta(description="The header fields and their values.")
    ]
    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")
    skip_if_request_stopped: Annotated[bool, SKIP] = True

    def check(self) -> Iterable[Problem]:
        for name, value in self._fields():
            yield from _header_problems(name, value, f"headers.{name}")

    def step(self) -> Step:
        get_request = request_getter(self.request_path)
        skip, fields = self.skip_if_request_stopped, self._fields()

        def step(baton: Baton) -> Baton:
            request = get_request(baton)
            if skip and request.is_finished:
                return baton
            fresh: set[str] = set()
            for name, value in fields:
                (request.add_header if name in fresh else request.set_header)(name, value)
                fresh.add(name)
            return baton

        return step

    def _fields(self) -> list[tuple[str, str]]:
        return [
            (name, str(each))
            for name, given in self.headers.items()
            for each in (given if isinstance(given, list) else [given])
        ]


def _header_problems(name: str, value: str, at: str) -> Iterable[Problem]:
    if not TOKEN.fullmatch(name):
        what = f"expected the name of a header, got {shown(name)}"
        yield Problem("wrong-header", what, at=at)
    elif name.lower() in OF_THE_SITE:
        what = f"the header '{name.lower()}' is set by the site itself"
        yield Problem("wrong-header", what, at=at)
    elif not re.fullmatch(r"[\x00-\xff]*", value):
        what = f"the header '{name}' must be latin-1, got {shown(value)}"
        yield Problem("wrong-header", what, at=at)
    elif CONTROL.search(value):
        what = f"the header '{name}' must not have control signs, got {shown(value)}"
        yield Problem("wrong-header", what, at=at)


@processor("extract-web-request-arguments")
class ExtractWebRequestArguments(MappingProcessor):
    """Copy arguments of a web request, of its query or form, into the baton.

    An entry's input path is the name of an argument. Each gives the first value as ``str``, or the
    list of all with ``only_first: false``, read as JSON with ``load_json: true``; both may stand in
    an entry. Arguments that are missing are left out. Changes the baton in place.

    Example:
        extract-web-request-arguments:
          mapping:
            - name
            - {n: {output_path: numbers, only_first: false, load_json: true}}

    Raises:
        BadArgument: A value is no JSON; it is answered 400.
        BatonError: There is no request.
    """

    extras: ClassVar[Mapping[str, Any]] = {"only_first": True, "load_json": False}

    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")

    def source(self, entry: Entry) -> Callable[[Baton], Any]:
        get_request, name = request_getter(self.request_path), entry.input_path
        first, load = entry.extra["only_first"], entry.extra["load_json"]

        def get(baton: Baton) -> Any:
            values = get_request(baton).args.get(name)
            if not values:
                return MISSING
            wanted: list[Any] = list(values[:1] if first else values)
            if load:
                wanted = [_read(each, name) for each in wanted]
            return wanted[0] if first else wanted

        return get

    def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
        return value


def _read(text: str, name: str) -> Any:
    try:
        return _json.decode(text)
    except BatonError as error:
        raise BadArgument(f"the argument '{name}' is {error}") from error
