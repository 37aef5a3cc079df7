"""What is wrong with a value, in our words: where it is, what was expected, and what came."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from piped.errors import suggest
from piped.processors._shown import LONGEST, shown
from piped.processors._text import lowered

NAMED: Final = 12
"""How many of the allowed values are named."""


def dotted(parts: Iterable[str | int]) -> str:
    """Return keys and indexes as a path, ``order.items[2].price``; of a long one the end."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = part if part.isprintable() else repr(part)[1:-1]
            path += f".{name}" if path else name
    return path if len(path) <= LONGEST else f"...{path[3 - LONGEST :]}"


def told(error: Any) -> tuple[str, str]:
    """Return where a value breaks a schema, and how, of an error of jsonschema."""
    nearest = _nearest(error)
    if nearest is not error:
        return told(nearest)
    where, word = dotted(error.absolute_path), _WORDS.get(error.validator, _other)
    return where, word(error)


def as_text(where: str, what: str) -> str:
    """Return a problem as one text: ``order.size: expected integer, got 'x'``."""
    return f"{where}: {what}" if where else what


def suggestion(error: Any) -> str:
    """Return a hint where one of several texts was expected, and another one came."""
    error = _nearest(error)
    if error.validator != "enum" or not isinstance(error.instance, str):
        return ""
    return suggest(
        error.instance, [each for each in error.validator_value if isinstance(each, str)]
    )


def needs(name: str) -> str:
    """Return what is wrong where a key is missing."""
    return f"needs {shown(name)}"


def unexpected(names: Iterable[Any]) -> str:
    """Return what is wrong where there are keys that nobody knows."""
    return f"unexpected {_listed(sorted(map(shown, names)))}"


def bounded(problems: Sequence[str], most: int) -> list[str]:
    """Return the first of some problems, and that there are more where there are."""
    return [*problems[:most], *(["and more"] if len(problems) > most else [])]


def _nearest(error: Any) -> Any:
    """Return, of a choice, the error in the one alternative that can be meant; else the error."""
    ways: dict[Any, list[Any]] = {}
    for each in error.context or ():
        ways.setdefault(each.relative_schema_path[0], []).append(each)
    for keywords, depth in (("type",), 0), (("const", "enum"), 1):
        ways = {
            way: errors
            for way, errors in ways.items()
            if not any(e.validator in keywords and len(e.relative_path) <= depth for e in errors)
        } or ways
        if len(ways) == 1:
            return next(iter(ways.values()))[0]
    return error


def _got(expected: str, error: Any) -> str:
    return f"expected {expected}, got {shown(error.instance)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _type(error: Any) -> str:
    given = error.validator_value
    return _got(_any_of([given] if isinstance(given, str) else map(str, given)), error)


def _required(error: Any) -> str:
    name = next((n for n in error.validator_value if error.message.startswith(f"{n!r} ")), "")
    return needs(name)


def _enum(error: Any) -> str:
    values = [shown(each) for each in error.validator_value]
    return _got(f"one of {_listed(values)}" if len(values) > 1 else _listed(values), error)


def _additional(error: Any) -> str:
    known, patterns = (error.schema.get(each, {}) for each in ("properties", "patternProperties"))
    return unexpected(
        key
        for key in error.instance
        if key not in known and not any(re.search(each, key) for each in patterns)
    )


def _bound(kind: str, sign: str, strict: str = "") -> Callable[[Any], str]:
    def word(error: Any) -> str:
        is_strict = error.schema.get(strict) is True  # as draft 4 has it
        own = sign.removesuffix("=") if is_strict else sign
        return _got(f"{kind} {own} {error.validator_value}", error)

    return word


def _format(error: Any) -> str:
    name = "regular expression" if error.validator_value == "regex" else error.validator_value
    return _got(name, error)


def _alternatives(error: Any) -> str:
    count = len(error.validator_value)
    if not error.context:
        return f"fits more than one of {count} alternatives, got {shown(error.instance)}"
    types = [
        e.validator_value for e in error.context if e.validator == "type" and not e.relative_path
    ]
    names = [n for each in types for n in ([each] if isinstance(each, str) else each)]
    if len(types) == count and all(isinstance(each, str) for each in names):
        return _got(_any_of(dict.fromkeys(names)), error)
    return f"fits none of {count} alternatives, got {shown(error.instance)}"


def _dependent(error: Any) -> str:
    for name, others in error.validator_value.items():
        for each in others if isinstance(others, list) else ():
            if error.message == f"{each!r} is a dependency of {name!r}":
                return f"{needs(each)}, as there is {shown(name)}"
    return _other(error)


def _not(error: Any) -> str:
    is_never = error.validator is None or error.validator_value in ({}, True)
    return _got("nothing here" if is_never else "anything else", error)


def _other(error: Any) -> str:
    if len(error.message) <= LONGEST:
        return lowered(str(error.message))
    return f"breaks '{error.validator}', got {shown(error.instance)}"


_WORDS: Final[Mapping[Any, Callable[[Any], str]]] = {
    None: _not,
    "not": _not,
    "type": _type,
    "required": _required,
    "enum": _enum,
    "const": lambda error: _got(shown(error.validator_value), error),
    "minimum": _bound("number", ">=", "exclusiveMinimum"),
    "maximum": _bound("number", "<=", "exclusiveMaximum"),
    "exclusiveMinimum": _bound("number", ">"),
    "exclusiveMaximum": _bound("number", "<"),
    "multipleOf": _bound("number", "that is a multiple of"),
    "minLength": _bound("string", "of length >="),
    "maxLength": _bound("string", "of length <="),
    "minItems": _bound("array", "of length >="),
    "maxItems": _bound("array", "of length <="),
    "minProperties": _bound("object", "of length >="),
    "maxProperties": _bound("object", "of length <="),
    "uniqueItems": lambda error: _got("array without repetitions", error),
    "additionalProperties": _additional,
    "pattern": lambda error: _got(f"string matching {shown(error.validator_value)}", error),
    "format": _format,
    "anyOf": _alternatives,
    "oneOf": _alternatives,
    "dependentRequired": _dependent,
    "dependencies": _dependent,
}
