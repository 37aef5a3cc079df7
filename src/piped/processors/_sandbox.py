"""Jinja2, kept within bounds: what a template can reach, and how much it can write."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import (
    BaseLoader,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    Undefined,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from piped.errors import BatonError
from piped.processors import _json
from piped.processors._text import lowered, size_of

FAILURES: Final = (TemplateError, LookupError, ValueError, TypeError, AttributeError)
"""What a template that does not fit its values raises, besides errors of arithmetic."""

_HTML: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'"}


class _TooLarge(BatonError):
    """Raised when a template makes more than it may."""


class Environment(ImmutableSandboxedEnvironment):
    """Reads templates, from one folder or from the document, and never reads one again."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, folder: Path | None, html: bool, max_size: int) -> None:
        loader: BaseLoader | None = None if folder is None else FileSystemLoader(folder)
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=html,
            auto_reload=False,
            cache_size=-1,
        )
        self.filters["json"] = _json_for_html if html else _json_as_text
        self._max_size = max_size

    def tree(self, name: str) -> nodes.Template:
        """Return the tree of a file, which is compiled by then.

        Raises:
            TemplateNotFound: It does not exist.
            TemplateSyntaxError: It is no template.
            OSError: It cannot be read.
            UnicodeDecodeError: It is not UTF-8.
        """
        assert self.loader is not None
        tree = self.parse(self.loader.get_source(self, name)[0], name)
        self.get_template(name)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse to make at once what is larger than all that the template may write."""
        if _size_of_result(operator, left, right) > self._max_size:
            raise _TooLarge(f"'{operator}' makes a value of more than {self._max_size} bytes")
        return super().call_binop(context, operator, left, right)


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    """Return at least how large a result is; of what is small anyway, 0."""
    if operator == "%":
        widths = re.findall(r"\d{1,20}", left) if isinstance(left, str) else []
        return max(map(int, widths), default=0)
    if operator == "**":
        if isinstance(left, int) and isinstance(right, int) and right > 0:
            return left.bit_length() * right // 8
        return 0
    if isinstance(left, int):
        left, right = right, left
    if isinstance(left, str | bytes | list | tuple) and isinstance(right, int):
        return len(left) * right
    return 0


def _json_as_text(value: Any) -> str:
    if isinstance(value, Undefined):
        str(value)  # says what is missing
    return _json.encode(value).decode()


def _json_for_html(value: Any) -> Markup:
    """Return JSON that is safe in a script, and in an attribute in single quotes."""
    return Markup(_json_as_text(value).translate(_HTML))  # noqa: S704 - it is escaped


def renderer(
    template: Template, max_size: int, place: Callable[[str, int], str]
) -> Callable[[Mapping[str, Any]], str]:
    """Return what renders a template with names, as far as it fits into a size.

    Args:
        template: The template.
        max_size: How many bytes of UTF-8 the text may have.
        place: Tells where a line of a template is.
    """

    def render(names: Mapping[str, Any]) -> str:
        try:
            return "".join(_bounded(template.generate(names), max_size))
        except RecursionError:
            raise BatonError("cannot render a template that nests so deep") from None
        except (*FAILURES, ArithmeticError, BatonError) as error:
            cause = None if isinstance(error, TemplateError) else error  # the text says all of it
            raise BatonError(f"cannot render {_where(error, place)}: {_told(error)}") from cause

    return render


def _bounded(pieces: Iterator[str], max_size: int) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += size_of(piece)
        if size > max_size:
            raise _TooLarge(f"the text has more than {max_size} bytes")
        yield piece


def words_of(error: TemplateError) -> str:
    """Return what Jinja2 says is wrong, as the text of an error begins and ends."""
    return lowered(error.message or "it is broken").removesuffix(".")


def _told(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no template '{error.name}' in the folder"
    if isinstance(error, TemplateError):
        return words_of(error)
    if isinstance(error, BatonError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _where(error: BaseException, place: Callable[[str, int], str]) -> str:
    """Return the innermost place in a template that an error went through."""
    found = "the template"
    for frame, line in traceback.walk_tb(error.__traceback__):
        if "__jinja_exception__" in frame.f_globals:
            found = place(frame.f_code.co_filename, line)
    return found
