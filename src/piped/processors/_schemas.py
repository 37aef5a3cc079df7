"""JSON Schema: schemas checked before they are used, and values checked by them.

Nothing is ever fetched: a schema refers to itself, and to the drafts of JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import islice
from math import isfinite
from typing import Any, Final
from urllib.parse import urlsplit

import jsonschema
import referencing
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # has no types
from referencing.exceptions import CannotDetermineSpecification, Unresolvable
from referencing.jsonschema import UnknownDialect, specification_with

from piped.errors import InvalidBaton, suggest
from piped.processors._breaches import as_text, bounded, dotted, suggestion, told
from piped.processors._shown import shown
from piped.processors._text import lowered

LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFTS: Final = (
    LATEST,
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-04/schema#",
)

MOST_PROBLEMS: Final = 20
"""How many problems of one schema are told."""

_LOCAL: Final[Any] = referencing.Registry()
_NAMES: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_VALUES: Final = frozenset({"enum", "const", "default", "examples"})

_FORMATS: Final = jsonschema.FormatChecker(["date", "ipv4", "ipv6", "uuid"])
_extended: Final[Any] = extend  # it is untyped
_REGEX_ERRORS: Final = (re.error, OverflowError, RecursionError)


@_FORMATS.checks("regex", raises=_REGEX_ERRORS)
def _is_regex(value: object) -> bool:
    return not isinstance(value, str) or bool(re.compile(value))


@_FORMATS.checks("email")
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[^@\s]+@[^@\s]+", value))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    form = r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.\d+)?(?:[Zz]|([+-]\d\d:\d\d))"
    found = re.fullmatch(form, value, re.ASCII)
    return bool(found and datetime.fromisoformat(f"{found[1].upper()}{found[2] or ''}"))


@_FORMATS.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    signs = r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]*"
    return bool(re.fullmatch(signs, value) and urlsplit(value))


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a schema: where in it, what, and what to do now."""

    path: str
    what: str
    hint: str = ""


def flaws_of(schema: Mapping[str, Any]) -> list[Flaw]:
    """Return what is wrong with a schema."""
    try:
        return list(islice(dict.fromkeys(_flaws(schema)), MOST_PROBLEMS))
    except RecursionError:
        return [Flaw("", "the schema is nested too deep")]


def _flaws(schema: Mapping[str, Any]) -> Iterator[Flaw]:
    draft = schema.get("$schema", LATEST)
    if not isinstance(draft, str) or f"{draft}".rstrip("#") not in {
        each.rstrip("#") for each in DRAFTS
    }:
        what = f"expected a draft of JSON Schema that is known, got {shown(draft)}"
        yield Flaw("$schema", what, suggest(str(draft), DRAFTS))
        return
    dialect = _dialect(schema)
    errors = dialect(dialect.META_SCHEMA, registry=_LOCAL, format_checker=_FORMATS)
    flawed = False
    for error in errors.iter_errors(schema):
        flawed = True
        path, what = told(error)
        yield Flaw(path, what, suggestion(error))
    if flawed:
        return
    for flaw in _lost_references(schema):
        flawed = True
        yield flaw
    if not flawed and _is_endless(schema):
        yield Flaw("", "the schema refers to itself without end")


def _dialect(schema: Mapping[str, Any]) -> Any:
    return validator_for(schema, default=jsonschema.Draft202012Validator)


def _is_endless(schema: Mapping[str, Any]) -> bool:
    try:
        _validator(schema).is_valid(None)
    except RecursionError:
        return True
    return False


def _lost_references(schema: Mapping[str, Any]) -> Iterator[Flaw]:
    """Yield the references that lead nowhere, or out of the schema."""
    specification = specification_with(schema.get("$schema", LATEST))
    root = REGISTRY.resolver_with_root(specification.create_resource(schema))
    for path, reference, resolver in _references(schema, (), root, specification):
        try:
            resolver.lookup(reference)
        except (Unresolvable, CannotDetermineSpecification, UnknownDialect, ValueError):
            if ":" in reference.partition("#")[0]:
                what = f"no schema is fetched from elsewhere: {shown(reference)}"
                yield Flaw(
                    dotted(path), what, "put that schema below '$defs', and refer to it there"
                )
            else:
                yield Flaw(dotted(path), f"nothing is at {shown(reference)} in the schema")


def _references(
    schema: Any, path: tuple[str | int, ...], resolver: Any, specification: Any
) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    """Yield the path of each reference, the reference, and what resolves it."""
    if isinstance(schema, list):
        for i, each in enumerate(schema):
            yield from _references(each, (*path, i), resolver, specification)
    if not isinstance(schema, Mapping):
        return
    if path and isinstance(schema.get("$id"), str):
        resolver = resolver.in_subresource(specification.create_resource(schema))
    for key, each in schema.items():
        if key in ("$ref", "$dynamicRef") and isinstance(each, str):
            yield (*path, key), each, resolver
        elif key in _NAMES and isinstance(each, Mapping):
            for name, inner in each.items():
                yield from _references(inner, (*path, key, name), resolver, specification)
        elif key not in _VALUES:
            yield from _references(each, (*path, key), resolver, specification)


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what checks values by a schema; tuples and all mappings count, NaN is no number."""
    dialect = _dialect(schema)
    types = dialect.TYPE_CHECKER.redefine_many(
        {
            "array": lambda _, value: isinstance(value, list | tuple),
            "object": lambda _, value: isinstance(value, Mapping),
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
        }
    )
    made: Any = _extended(dialect, _KEYWORDS, type_checker=types)
    return made(schema, registry=_LOCAL, format_checker=_FORMATS)


def _multiple_of(validator: Any, step: Any, value: Any, _schema: Any) -> Iterator[Any]:
    """Compare as people do: 0.07 is seven times 0.01, which it is not in binary."""
    if validator.is_type(value, "number") and (_exact(value) / _exact(step)).denominator != 1:
        yield jsonschema.ValidationError("")  # told in our words


def _properties(validator: Any, properties: Any, value: Any, _schema: Any) -> Iterator[Any]:
    """Check as jsonschema does, which forgets the path of what a false schema forbids."""
    if validator.is_type(value, "object"):
        for name, inner in properties.items():
            if name in value:
                schema = {"not": {}} if inner is False else inner
                yield from validator.descend(value[name], schema, path=name, schema_path=name)


def _unique_items(validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterator[Any]:
    """Look at each item once; jsonschema compares each dict with every other one."""
    if not wanted or not validator.is_type(value, "array"):
        return
    if len({_sameness(each) for each in value}) < len(value):
        yield jsonschema.ValidationError("")  # told in our words


_KEYWORDS: Final = {
    "multipleOf": _multiple_of,
    "properties": _properties,
    "uniqueItems": _unique_items,
}


def _sameness(value: Any) -> Any:
    """Return what is equal for equal values of JSON; their hashes cannot be made to collide."""
    if isinstance(value, list | tuple):
        return tuple(map(_sameness, value))
    if isinstance(value, Mapping):
        return frozenset((_sameness(key), _sameness(each)) for key, each in value.items())
    if isinstance(value, str):
        return f"str {str.__str__(value)}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:x}"  # the hash of a text is salted, that of a number is not
    return f"{type(value).__name__} {value!r}"


def _exact(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or isfinite(value)


class Schema:
    """A schema that is known to be right, made ready to check values."""

    __slots__ = ("_most", "_validator")

    def __init__(self, schema: Mapping[str, Any], max_problems: int) -> None:
        self._validator = _validator(schema)
        self._most = max_problems

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            InvalidBaton: It breaks the schema; or it is nested too deep to know.
        """
        try:
            errors = list(islice(self._validator.iter_errors(value), self._most + 1))
            problems = [as_text(*told(each)) for each in errors]
        except RecursionError:
            raise InvalidBaton(["nested too deep to be checked"]) from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InvalidBaton([f"cannot be checked: {lowered(str(error))}"]) from None
        if problems:
            raise InvalidBaton(bounded(problems, self._most))
