"""Python in a document: lambdas and blocks of code, compiled once, with places in the document.

A lambda is written without its keyword: ``"numbers: sum(numbers)"``. A block is the body of a
function of ``self``, ``input`` and ``baton``. Both see builtins, their namespace, ``self`` and
``logger``, and nothing else. Names that nobody defines are found before anything runs.
"""

from __future__ import annotations

import ast
import builtins
import logging
import re
import symtable
import textwrap
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any, Final, TypeVar

from piped.errors import Level, Place, Problem

T = TypeVar("T")

LINE: Final = re.compile(r"(?<=\bline )\d+")
"""A line in a message of Python, such as: expected an indented block after 'if' on line 2."""

ALONE: Final = "<code>"
"""The name of a text that is no file: Python would look up columns in the lines of a file."""

ALWAYS_VISIBLE: Final = frozenset({*dir(builtins), "self", "logger"})


def identify(value: object) -> int:
    """Return what ``id(value)`` is in a document: a request's own number, else Python's ``id``.

    A request's number is never used twice, so what waits for its answer under that number can
    never get the answer of another.
    """
    number = getattr(value, "__baton_id__", None)
    return id(value) if number is None else number


class Namespace(dict[str, Any]):
    """Names for code in a document, resolved: ``{time: time.time}`` is the function."""


@dataclass(frozen=True, slots=True)
class Source:
    """Python of a document: a statement that makes ``__made__``, or the body of that function."""

    text: str
    place: Place
    head: int = 0  # signs before the first line of the text that the document does not have
    keyword: str = ""  # of the function: `def` or `async def`
    warned: list[object] = field(default_factory=list, compare=False)  # what Python has said

    def place_of(self, line: int, column: int) -> Place:
        """Return the place in the document of a line (from 1) and column (from 0) of the text."""
        shift = self.head if line == 1 else 0
        return self.place.moved(line - 1, max(column - shift, 0))

    def tree(self) -> ast.Module:
        """Parse the text.

        Raises:
            SyntaxProblem: It is no Python; it knows the place.
        """
        tree = self._told(lambda: ast.parse(self.text, ALONE), self.place_of)
        if not self.keyword:
            return tree
        around = ast.parse(f"{self.keyword} __made__(input, baton): pass")
        function = around.body[0]
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        function.body = tree.body or function.body
        return around

    def verify(self, tree: ast.Module) -> None:
        """Compile the parsed text for what only that finds, such as an `await` in a lambda.

        Raises:
            SyntaxProblem: It is no Python; it knows the place.
        """
        self._told(lambda: compile(tree, ALONE, "exec", dont_inherit=True), self.place_of)

    def compile(self) -> CodeType:
        """Compile the text, all places in it being those of the document.

        Raises:
            SyntaxProblem: It is no Python; it knows the place.
        """
        tree, file = self.tree(), self.place.file
        for node in ast.walk(tree):
            if isinstance(node, ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias):
                begin = self.place_of(node.lineno, node.col_offset)
                end = self.place_of(node.end_lineno or 1, node.end_col_offset or 0)
                node.lineno, node.col_offset = begin.line, begin.column - 1
                node.end_lineno, node.end_col_offset = end.line, end.column - 1
        return self._told(
            lambda: compile(tree, file, "exec", dont_inherit=True),
            lambda line, column: Place(file, line, column + 1),
        )

    def run(self, inside: dict[str, Any]) -> Any:
        """Run the text with some globals, and return what it has made."""
        exec(self.compile(), inside)  # noqa: S102 - a document is a program
        return inside.pop("__made__")

    def _place_of_node(self, node: ast.expr) -> Place:
        before = self.text.split("\n")[node.lineno - 1].encode()[: node.col_offset]
        return self.place_of(node.lineno, len(before.decode()))  # Python counts bytes, people signs

    def _told(self, act: Callable[[], T], place_of: Callable[[int, int], Place]) -> T:
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                made = act()
            self.warned.extend(found)
            return made
        except SyntaxError as error:
            text = LINE.sub(lambda found: f"{place_of(int(found[0]), 0).line}", error.msg)
            where = place_of(error.lineno or 1, (error.offset or 1) - 1)
            raise SyntaxProblem(text, where) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxProblem(str(error) or type(error).__name__, self.place) from error

    def _alone(self) -> str:
        """Return a text that Python takes by itself; its places and literals are not exact."""
        if not self.keyword:
            return self.text
        body = textwrap.indent(self.text, "    ")
        return f"{self.keyword} __made__(input, baton):\n{body}\n    pass\n"

    def unknown_names(self, known: Container[str]) -> Iterator[Problem]:
        """Yield a problem for each name in the text that nobody defines."""
        free = dict.fromkeys(_free_names(symtable.symtable(self._alone(), ALONE, "exec")))
        unknown = [name for name in free if name not in ALWAYS_VISIBLE and name not in known]
        tree = self.tree() if unknown else ast.Module([], [])
        uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        for name in unknown:
            use = next((node for node in uses if node.id == name), None)
            yield Problem(
                code="unknown-name",
                what=f"nobody defines '{name}'",
                place=self._place_of_node(use) if use else self.place,
                hint=f"add it to the namespace, as in namespace: {{{name}: package.{name}}}",
            )

    def oddities(self) -> Iterator[Problem]:
        """Yield a warning for each thing that Python itself warns of."""
        if not self.warned:
            return
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            compile(self._alone(), ALONE, "exec", dont_inherit=True)
        for each in found:
            place = self.place_of(each.lineno - bool(self.keyword), 0)
            yield Problem("python-warning", f"{each.message}", place, level=Level.WARNING)

    def check(self, known: Container[str]) -> Iterator[Problem]:
        """Yield what is wrong or odd, though it is Python."""
        yield from self.unknown_names(known)
        yield from self.oddities()


class SyntaxProblem(ValueError):
    """Raised when text is no Python; ``place`` is where in the document."""

    def __init__(self, message: str, place: Place) -> None:
        self.place = place
        super().__init__(message)


def _free_names(table: symtable.SymbolTable) -> Iterator[str]:
    if table.get_type() != "module":
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced() and not symbol.is_assigned():
                yield symbol.get_name()
    for child in table.get_children():
        yield from _free_names(child)


def scope(namespace: Mapping[str, Any], self_: object) -> dict[str, Any]:
    """Return the globals of code in a document."""
    return {
        "__builtins__": builtins,
        "id": identify,
        "logger": logging.getLogger("piped.document"),
        **namespace,
        "self": self_,
    }


class Lambda:
    """A function of one argument, written as a lambda without its keyword: ``"n: n * 2"``.

    Raises:
        SyntaxProblem: The text is no lambda.
    """

    __slots__ = ("source", "text")

    def __init__(self, text: str, place: Place | None = None) -> None:
        lead = text[: len(text) - len(text.lstrip())]
        place = place or Place("<lambda>", 1, 1)
        place = place.moved(lead.count("\n"), len(lead) - lead.rfind("\n") - 1)
        text = text.strip()
        self.text = text
        bracket = "(" if "\n" in text else ""  # only where needed: its partner may be another's
        head = f"__made__ = {bracket}lambda "
        tail = "\n)" if bracket else ""
        self.source = Source(f"{head}{text}{tail}", place, head=len(head))
        if text.startswith("lambda "):
            raise SyntaxProblem("expected a lambda without its keyword, such as 'n: n * 2'", place)
        if ":" not in text:
            raise SyntaxProblem("expected a lambda, such as 'n: n * 2': there is no colon", place)
        tree = self.source.tree()
        statement = tree.body[0] if len(tree.body) == 1 else None
        body = statement.value if isinstance(statement, ast.Assign) else None
        if not isinstance(body, ast.Lambda):
            raise SyntaxProblem("expected one lambda, such as 'n: n * 2'", place)
        arguments = body.args
        positional = len(arguments.posonlyargs) + len(arguments.args)
        required = positional - len(arguments.defaults)
        named = [d for d in arguments.kw_defaults if d is None]
        if required > 1 or named or (positional == 0 and arguments.vararg is None):
            raise SyntaxProblem("expected a lambda of one argument, such as 'n: n * 2'", place)
        self.source.verify(tree)

    def __repr__(self) -> str:
        return f"Lambda({self.text!r})"

    def check(self, namespace: Container[str] = ()) -> Iterator[Problem]:
        """Yield a problem for each name that nobody defines, and for what Python warns of."""
        yield from self.source.check(namespace)

    def compile(self, namespace: Mapping[str, Any], self_: object = None) -> Callable[[Any], Any]:
        """Return the function."""
        function: Callable[[Any], Any] = self.source.run(scope(namespace, self_))
        return function


class Code:
    """The body of a function of ``input`` and ``baton``; async where it awaits.

    Raises:
        SyntaxProblem: The text is no Python.
    """

    __slots__ = ("is_async", "is_generator", "returns", "source", "text")

    def __init__(self, text: str, place: Place | None = None) -> None:
        self.text = text
        place = place or Place("<code>", 1, 1)
        source = _body(text, place)
        inside = list(_own_nodes(source.tree().body[0]))
        self.is_async = any(isinstance(n, ast.Await | ast.AsyncFor | ast.AsyncWith) for n in inside)
        self.is_async |= any(isinstance(n, ast.comprehension) and n.is_async for n in inside)
        self.is_generator = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in inside)
        self.returns = any(isinstance(n, ast.Return) and n.value is not None for n in inside)
        self.source = source if self.is_async else replace(source, keyword="def")
        self.source.verify(self.source.tree())

    def __repr__(self) -> str:
        return f"Code({self.text!r})"

    def check(self, namespace: Container[str] = ()) -> Iterator[Problem]:
        """Yield a problem for each name that nobody defines, and for what Python warns of."""
        yield from self.source.check(namespace)

    def compile(self, namespace: Mapping[str, Any], self_: object) -> Callable[[Any, Any], Any]:
        """Return the function of input and baton; a coroutine function where the code awaits."""
        function: Callable[[Any, Any], Any] = self.source.run(scope(namespace, self_))
        return function


def _body(text: str, place: Place) -> Source:
    """Return code as the body of a function.

    Its common indentation goes; the first line may be indented differently from the rest.
    """
    lead = len(text) - len(text.lstrip("\n"))
    body = text.strip("\n")
    first, _, rest = body.partition("\n")
    even = textwrap.dedent(body) if body[:1].isspace() else body
    ways = [
        Source(each, place.moved(lead, 0), keyword="async def")
        for each in (even, f"{first.strip()}\n{textwrap.dedent(rest)}")
    ]
    for source in ways:
        with suppress(SyntaxProblem):
            source.tree()
            return source
    return ways[0]


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of functions inside it."""
    ahead = [*ast.iter_child_nodes(function)]
    while ahead:
        node = ahead.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            ahead += ast.iter_child_nodes(node)
