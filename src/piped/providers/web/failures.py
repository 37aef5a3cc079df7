"""What an error is answered with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from piped.errors import PipedError, Problem, suggest
from piped.spec import Meta, find_python, part
from piped.spec.error_types import BUILTINS
from piped.spec.headers import CONTROL

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class NotTaken(PipedError):
    """Raised when a route does not take a request; header fields tell the client what to do."""

    http_status: ClassVar[int]

    def __init__(self, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.headers = tuple(headers)
        super().__init__(message)


@part
class ErrorAnswer:
    """What an error is answered with: a status, and other words than those of the status."""

    status: Annotated[int, Meta(description="The status, from 400 to 599.")]
    title: Annotated[
        str, Meta(description="What the page says, in place of the phrase of the status.")
    ] = ""
    body: Annotated[
        str | list[Any] | dict[str, Any] | None,
        Meta(description="The whole answer, in place of a page: text, or what becomes JSON."),
    ] = None
    content_type: Annotated[str, Meta(description="The type of the body, if not those.")] = ""

    @classmethod
    def of(cls, given: int | ErrorAnswer) -> ErrorAnswer:
        """Return what is given as a status, or as more than that."""
        return given if isinstance(given, ErrorAnswer) else cls(status=given)

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than the status does."""
        return not self.title and self.body is None

    def page(self) -> tuple[str, bytes] | None:
        """Return the content type and the bytes of the body, if there is one."""
        if self.body is None:
            return None
        if isinstance(self.body, str):
            return self.content_type or TEXT, self.body.encode()
        return self.content_type or JSON, msgspec.json.encode(self.body)


SERVER_ERROR: Final = ErrorAnswer(status=500)


def kind_named(name: str) -> type[BaseException]:
    """Return the exception type of a name: that of a builtin, or a dotted name in Python.

    Raises:
        ValueError: Nothing has that name, or what has it is no exception.
    """
    found = find_python(name)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        raise ValueError(f"'{name}' is no exception")
    return found


def answers(errors: Mapping[str, int | ErrorAnswer]) -> dict[type[BaseException], ErrorAnswer]:
    """Return the exception types of a mapping of names to statuses or answers."""
    return {kind_named(name): ErrorAnswer.of(each) for name, each in errors.items()}


def check_errors(errors: Mapping[str, int | ErrorAnswer]) -> Iterator[Problem]:
    """Yield what is wrong with a mapping of exception names to statuses or answers."""
    for name, given in errors.items():
        at = f"errors.{name}"
        try:
            kind_named(name)
        except ValueError as error:
            hint = suggest(name, BUILTINS) if "." not in name else ""
            hint = hint if hint.startswith("did you mean") else ""
            yield Problem("unknown-exception", f"errors: {error}", hint=hint, at=at)
        answer = ErrorAnswer.of(given)
        if not 400 <= answer.status <= 599:
            what = f"errors: expected a status from 400 to 599 for '{name}', got {answer.status}"
            yield Problem("wrong-value", what, at=at)
        yield from _check_answer(answer, at)


def _check_answer(answer: ErrorAnswer, at: str) -> Iterator[Problem]:
    if answer.title and answer.body is not None:
        yield Problem("wrong-value", "errors: expected 'title' or 'body', got both", at=at)
    if answer.content_type and answer.body is None:
        what = "errors: expected 'body' beside 'content_type', got none"
        yield Problem("wrong-value", what, at=at)
    if CONTROL.search(answer.content_type) or not answer.content_type.isascii():
        what = f"errors: expected a type such as text/plain, got {answer.content_type!r}"
        yield Problem("wrong-value", what, at=f"{at}.content_type")


def retry_after(error: BaseException) -> float | None:
    """Return after how many seconds it may be tried again, where an error says so."""
    asked = getattr(error, "retry_after_s", None)
    is_number = isinstance(asked, int | float) and math.isfinite(asked) and asked > 0
    return asked if is_number else None


def answer_of(
    error: BaseException, mapping: Mapping[type[BaseException], ErrorAnswer]
) -> ErrorAnswer:
    """Return the answer of an error: its own ``http_status``, else the nearest type's, else 500."""
    own = getattr(error, "http_status", None)
    if isinstance(own, int) and 400 <= own <= 599:
        return ErrorAnswer(status=own)
    for kind in type(error).__mro__:
        if kind in mapping:
            return mapping[kind]
    return SERVER_ERROR
