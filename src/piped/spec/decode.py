"""From nodes of a document to components: every parameter by itself, all problems at once."""

from __future__ import annotations

import operator
import re
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec

from piped.batons import BatonPath
from piped.document.nodes import Mapping, Node, Scalar, Sequence, plain
from piped.errors import Level, Place, Problem, suggest
from piped.spec.bases import Provider
from piped.spec.code import SyntaxProblem
from piped.spec.components import Spec, spec_of
from piped.spec.dependency import Dependency, dependencies_of
from piped.spec.imports import BROKEN, NotImported, told
from piped.spec.places import placed
from piped.spec.types import ROWS, Input, WrongValue
from piped.spec.words import example, unannotated, words

T = TypeVar("T")

_Bounds: TypeAlias = tuple[tuple[str, Callable[[Any, Any], Any], str], ...]

INVALID: Final = object()

BOUNDS: Final[_Bounds] = (
    ("ge", operator.ge, ">="),
    ("gt", operator.gt, ">"),
    ("le", operator.le, "<="),
    ("lt", operator.lt, "<"),
)

LENGTHS: Final[_Bounds] = (
    ("min_length", operator.ge, "of length >="),
    ("max_length", operator.le, "of length <="),
)

OLD_TRUTHS: Final = ("yes", "no", "on", "off", "Yes", "No", "On", "Off", "YES", "NO", "ON", "OFF")
"""What was a truth in YAML 1.1, and is text."""


@dataclass(slots=True)
class Decoder:
    """Makes components of mappings and collects what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)
    dependencies: list[Dependency[Any]] = field(default_factory=list)  # all that were read

    def component(self, spec: Spec, node: Node, at: str) -> Any:
        """Return the component that a mapping describes, or INVALID.

        Args:
            spec: What the component says of itself.
            node: The mapping of its parameters; null counts as an empty one.
            at: Its path in the document.
        """
        before = len(self._errors())
        if isinstance(node, Scalar) and node.value is None:
            node = Mapping(node.place)
        if not isinstance(node, Mapping):
            what = f"expected the parameters of {spec.name}, got {_shown(node)}"
            return self._wrong(node, at, what, _takes(spec))
        if self._asked(spec, node, at, lambda: spec.parameters) is INVALID:
            return INVALID
        values = self._parameters(spec, node, at)
        self._fail_if_missing(spec, node, at)
        return INVALID if len(self._errors()) > before else self._made(spec, values, node, at)

    def section(self, spec: Spec, node: Node, at: str) -> Any:
        """Return the provider that a section of the document describes, or INVALID."""
        if spec.entries is None:
            return self.component(spec, node, at)
        if self._asked(spec, node, at, lambda: spec.parameters) is INVALID:
            return INVALID
        parameter = spec.parameters[spec.entries]
        if isinstance(node, Scalar) and node.value is None:
            node = Mapping(node.place)
        entries = self.value(parameter.hint, node, at)
        if entries is INVALID:
            return INVALID
        return self._made(spec, {parameter.field: entries}, node, at)

    def _made(self, spec: Spec, values: dict[str, Any], node: Node, at: str) -> Any:
        """Return the component of some values, or INVALID where it finds an error in them."""
        before = len(self._errors())
        made = self._asked(spec, node, at, lambda: _checked(spec.component(**values)))
        if made is INVALID:
            return INVALID
        component, problems = made
        if isinstance(component, Provider):
            component.place, component.at = node.place, at
        self.problems += [placed(each, node, at) for each in problems]
        return INVALID if len(self._errors()) > before else component

    def value(self, hint: Any, node: Node, at: str) -> Any:
        """Return the value of a node as a type, or INVALID.

        A class with ``__read__(node, decoder, at)`` reads itself: a tree with the user's own keys.
        """
        bare = unannotated(hint)
        origin, arguments = get_origin(bare), get_args(bare)
        if origin in (Union, types.UnionType):
            return self._union(hint, bare, node, at)
        row = ROWS.get(origin or bare)
        if row is not None:
            return self._bounded(hint, self._read(row.read, node, at), node, at)
        if origin is Input:
            return self._input(arguments[0], node, at)
        if hasattr(bare, "__read__"):
            return bare.__read__(node, self, at)
        if isinstance(bare, type) and (spec := spec_of(bare)):
            return self.component(spec, node, at)
        if origin is list and isinstance(node, Sequence):
            items = [(arguments[0], item, f"{at}[{i}]") for i, item in enumerate(node.items)]
            return self._bounded(hint, self._all(items), node, at)
        if origin is dict and isinstance(node, Mapping):
            keys = [key if arguments[0] is Any else str(key) for key in node.entries]
            parts = [(arguments[1], e.node, f"{at}.{k}") for k, e in node.items()]
            values = self._all(parts)
            if values is INVALID:
                return INVALID
            return self._bounded(hint, dict(zip(keys, values, strict=True)), node, at)
        if origin is list or origin is dict:
            what = f"expected {words(hint)}, got {_shown(node)}"
            spec = spec_of(unannotated(arguments[-1]))
            return self._wrong(node, at, what, _takes(spec) if spec else "")
        return self._leaf(hint, node, at)

    def _asked(self, spec: Spec, node: Node, at: str, act: Callable[[], T]) -> T | Any:
        """Return what a component gives, or INVALID where its own code breaks."""
        try:
            return act()
        except NotImported:
            return INVALID
        except BROKEN as error:
            module, name = spec.component.__module__, spec.component.__qualname__
            what = f"{module}.{name} is broken: {told(error, module.partition('.')[0])}"
            self._report("broken-component", what, node.place, at)
            return INVALID

    def _parameters(self, spec: Spec, node: Mapping, at: str) -> dict[str, Any]:
        values = {}
        for key, entry in node.items():
            parameter = spec.parameters.get(key)
            if parameter is None:
                what = f"{spec.name} has no parameter '{key}'"
                hint = suggest(str(key), spec.parameters)
                name, colon, rest = str(key).partition(":")
                if colon and name in spec.parameters:
                    hint = f"write a blank behind the colon: {name}: {rest}"
                self._report("unknown-parameter", what, entry.key_place, f"{at}.{key}", hint)
                continue
            value = self.value(parameter.hint, entry.node, f"{at}.{key}")
            if value is not INVALID:
                values[parameter.field] = value
        return values

    def _fail_if_missing(self, spec: Spec, node: Mapping, at: str) -> None:
        for key, parameter in spec.parameters.items():
            if parameter.required and key not in node.entries:
                what = f"{spec.name} needs the parameter '{key}'"
                hint = f"add {key}: {example(parameter.hint)}"
                self._report("missing-parameter", what, node.place, at, hint)

    def _union(self, hint: Any, bare: Any, node: Node, at: str) -> Any:
        choices = [each for each in get_args(bare) if each is not type(None)]
        if isinstance(node, Scalar) and node.value is None and type(None) in get_args(bare):
            return None
        special = [each for each in choices if _is_special(each)]
        if not special:
            return self._leaf(hint, node, at)
        if len(choices) == 1:
            return self.value(choices[0], node, at)
        failed = []
        for choice in choices:  # the first that takes it
            attempt = Decoder()
            value = attempt.value(choice, node, at)
            if value is not INVALID:
                self.problems += attempt.problems
                self.dependencies += attempt.dependencies
                return value
            if isinstance(node, Mapping) and _has_keys(choice):
                failed.append(attempt)
        if len(failed) == 1:  # a mapping can mean this one only, which knows what is wrong inside
            self.problems += failed[0].problems
            return INVALID
        return self._wrong(node, at, f"expected {words(hint)}, got {_shown(node)}")

    def _input(self, hint: Any, node: Node, at: str) -> Any:
        if isinstance(node, Scalar) and isinstance(node.value, BatonPath):
            return Input(node.value)
        value = self.value(hint, node, at)
        return INVALID if value is INVALID else Input(value)

    def _all(self, parts: list[tuple[Any, Node, str]]) -> Any:
        values = [self.value(*each) for each in parts]
        return INVALID if any(each is INVALID for each in values) else values

    def _read(self, read: Callable[[Node], Any], node: Node, at: str) -> Any:
        try:
            value = read(node)
            for dependency in dependencies_of(value):
                dependency.at = at
                self.dependencies.append(dependency)
            return value
        except SyntaxProblem as error:
            self._report("python-syntax", f"{error}", error.place, at)
        except WrongValue as error:
            self._report(error.code, f"{error}", error.place or node.place, at, error.hint)
        return INVALID

    def _bounded(self, hint: Any, value: Any, node: Node, at: str) -> Any:
        """Return a value where it, or its length, is within the bounds of its `Meta`."""
        measured, bounds = value, BOUNDS
        if isinstance(value, str | list | dict):
            measured, bounds = len(value), LENGTHS
        elif not isinstance(value, int | float):
            return value
        for extra in getattr(hint, "__metadata__", ()):
            for name, holds, sign in bounds:
                bound = getattr(extra, name, None)
                if bound is not None and not holds(measured, bound):
                    what = f"expected {words(hint)} {sign} {bound:g}, got {_shown(node)}"
                    return self._wrong(node, at, what)
        return value

    def _leaf(self, hint: Any, node: Node, at: str) -> Any:
        external = isinstance(node, Scalar) and node.external
        value = plain(node)
        if external and isinstance(value, str):
            bare = unannotated(hint)
            if bare in (str, Any):
                return value
            value = value.__class__(value.strip())  # a secret remains one
        try:
            try:
                return msgspec.convert(value, hint, strict=not external)
            except TypeError:  # msgspec bounds no unions such as `int | float`
                bare = msgspec.convert(value, unannotated(hint), strict=not external)
                return self._bounded(hint, bare, node, at)
        except msgspec.ValidationError as error:
            is_old_truth = unannotated(hint) is bool and value in OLD_TRUTHS
            advice = "write true or false" if is_old_truth else ""
            return self._wrong(node, at, f"{_worded(error, hint)}, got {_shown(node)}", advice)

    def _wrong(self, node: Node, at: str, what: str, hint: str = "") -> Any:
        self._report("wrong-value", what, node.place, at, hint)
        return INVALID

    def _report(self, code: str, what: str, place: Place, at: str, hint: str = "") -> None:
        self.problems.append(Problem(code, what, place, at, hint=hint))

    def _errors(self) -> list[Problem]:
        return [each for each in self.problems if each.level is Level.ERROR]


def _is_special(hint: Any) -> bool:
    bare = unannotated(hint)
    origin = get_origin(bare) or bare
    return (
        origin in ROWS
        or origin is Input
        or hasattr(origin, "__read__")
        or (isinstance(origin, type) and spec_of(origin) is not None)
        or any(_is_special(each) for each in get_args(bare) if not isinstance(each, str))
    )


def _has_keys(hint: Any) -> bool:
    bare = unannotated(hint)
    return get_origin(bare) is dict or spec_of(bare) is not None


def _worded(error: msgspec.ValidationError, hint: Any) -> str:
    text = str(error).partition(" - at ")[0]
    if get_origin(unannotated(hint)) is Literal or text.startswith("Invalid enum value"):
        return f"expected {words(hint)}"
    if match := re.match(r"Expected `([^`]*)`( (?:of|<|>|=|with|matching).*)?", text):
        kind = words(hint) if "|" in match[1] or match[1] in ("object", "array") else match[1]
        return f"expected {kind}{match[2] or ''}".replace("`", "")
    return text[:1].lower() + text[1:].replace("`", "")


def _shown(node: Node) -> str:
    value = plain(node)
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _takes(spec: Spec) -> str:
    return f"each {spec.name} takes: {', '.join(sorted(spec.parameters))}"


def _checked(made: Any) -> tuple[Any, list[Problem]]:
    """Return a component, and what it says is wrong with it."""
    if not hasattr(made, "check"):
        return made, []
    given = made.check()
    if not isinstance(given, Iterable):
        raise TypeError(f"check() gives {type(given).__name__}, expected problems")
    problems = list(given)
    for each in problems:
        if not isinstance(each, Problem):
            raise TypeError(f"check() yields {type(each).__name__}, expected Problem")
    return made, problems
