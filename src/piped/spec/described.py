"""What a component says of itself, collected for those who show it: pages, terminals, editors.

Nothing is said here that a declaration does not say: the docstring gives the prose, the fields the
parameters, their ``Meta`` the descriptions and bounds.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from piped.batons import MISSING, BatonPath
from piped.spec.bases import Provider
from piped.spec.code import Code, Lambda
from piped.spec.components import Parameter, Spec, spec_of
from piped.spec.dependency import Dependency
from piped.spec.error_types import ErrorTypes
from piped.spec.types import SIZES, Duration, Input, Size
from piped.spec.words import unannotated, words

SECTIONS: Final = ("Example", "Raises")
PARAGRAPH: Final = re.compile(r"\n\n|\n(?=\* )")
"""What is between paragraphs; an item of a list is one."""


@dataclass(frozen=True, slots=True)
class Prose:
    """A docstring, taken apart: its first line, its paragraphs, its example, what it raises."""

    summary: str
    paragraphs: tuple[str, ...]
    example: str
    raises: tuple[tuple[str, str], ...]


def prose_of(component: type) -> Prose:
    """Return what the docstring of a component says; reStructuredText's ticks become Markdown's."""
    summary, _, rest = (inspect.getdoc(component) or "").partition("\n")
    found: dict[str, list[str]] = {"": []}
    section = ""
    for line in rest.splitlines():
        name = line.removesuffix(":")
        if name in SECTIONS and line.endswith(":"):
            section, line = name, ""
        found.setdefault(section, []).append(line)
    text = _ticked("\n".join(found[""])).strip()
    paragraphs = tuple(" ".join(each.split()) for each in PARAGRAPH.split(text) if each.strip())
    example = inspect.cleandoc("\n".join(found.get("Example", ())))
    return Prose(_ticked(summary), paragraphs, example, _raises(found.get("Raises", ())))


def _ticked(text: str) -> str:
    return text.replace("``", "`")


def _raises(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    text = inspect.cleandoc("\n".join(lines))
    entries = re.findall(r"^(\w+): (.*(?:\n +.*)*)", text, re.MULTILINE)
    return tuple((name, _ticked(" ".join(why.split()))) for name, why in entries)


def name_of(base: type) -> str:
    """Return what a base is called: ``InputOutputProcessor`` is an input output processor."""
    return "Every " + re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base.__name__).lower()


def owner(kind: type, field: str) -> type:
    """Return the class that declares a field, the nearest of those that do."""
    return next(each for each in kind.__mro__ if field in inspect.get_annotations(each))


def by_owner(spec: Spec) -> dict[type, list[Parameter]]:
    """Return the parameters of a component by the class that declares them, its own first."""
    found: dict[type, list[Parameter]] = {each: [] for each in spec.component.__mro__}
    for each in spec.parameters.values():
        found[owner(spec.component, each.field)].append(each)
    return {kind: parameters for kind, parameters in found.items() if parameters}


def type_words(hint: Any) -> str:
    """Return a type in words, with the bounds that its ``Meta`` sets."""
    inner = [each for each in get_args(hint) if isinstance(each, Meta)]
    inner += [
        bound
        for choice in get_args(hint)[:1]
        for nested in get_args(choice)
        for bound in getattr(nested, "__metadata__", ())
        if isinstance(bound, Meta)
    ]
    low = next((str(each.ge) for each in inner if each.ge is not None), "")
    high = next((str(each.le) for each in inner if each.le is not None), "")
    bounds = f"{low} to {high}" if low and high else f"{low} or more" if low else ""
    text = words(hint)
    return f"{text}, {bounds}" if bounds else text


def default_text(parameter: Parameter) -> str:
    """Return the default of a parameter as it would be written in a document."""
    if parameter.required:
        return "*required*"
    value, bare = parameter.default, unannotated(parameter.hint)
    if value is MISSING:
        return "*none*"
    if isinstance(value, BatonPath) and value.startswith("<"):
        return f"*as `{value[1:-1]}`*"
    if bare is Duration or bare is Size:
        return f"`{(_duration if bare is Duration else _size)(value)}`"
    return f"`{_in_yaml(value)}`"


def default_value(parameter: Parameter) -> Any:
    """Return the default of a parameter as JSON has it, or MISSING where none can be told."""
    value, bare = parameter.default, unannotated(parameter.hint)
    if parameter.required or (isinstance(value, BatonPath) and value.startswith("<")):
        return MISSING
    if bare is Duration or bare is Size:
        return (_duration if bare is Duration else _size)(value)
    if isinstance(value, Dependency):
        return value.name
    if spec_of(value):
        return {}
    try:
        return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_in_json))
    except (TypeError, ValueError):
        return MISSING


def _in_json(value: Any) -> Any:
    if isinstance(value, Lambda | Code):
        return value.text
    if isinstance(value, Input):
        return value.given
    if isinstance(value, str):
        return str(value)
    if isinstance(value, type):
        return value.__name__
    raise TypeError(f"JSON has no {type(value).__name__}")


def _in_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Lambda | Code):
        return value.text
    if isinstance(value, Input):
        return _in_yaml(value.given)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str):
        text = str(value) or "''"
        return text if text.isprintable() else msgspec.json.encode(text).decode()
    if spec_of(value):
        return "{}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_in_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = [_in_yaml(each) for each in value]
        is_one = isinstance(value, ErrorTypes) and len(items) == 1
        return items[0] if is_one else f"[{', '.join(items)}]"
    return str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def _size(size: int) -> str:
    for unit in ("MiB", "KiB"):
        if size and size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]}{unit}"
    return str(size)


def root_of(spec: Spec) -> str:
    """Return the path of a component in a document; '' for one that stands anywhere."""
    return spec.name if issubclass(spec.component, Provider) else ""


def parts_of(spec: Spec, path: str) -> Iterator[tuple[str, Spec]]:
    """Yield the marked mappings inside a component, with the paths where they stand.

    A part of a part is told by the part itself. What a part reads by itself, below keys of the
    user, stands at ``__key__``.
    """
    hints = get_type_hints(spec.component, include_extras=True)
    for each in fields(spec.component):
        if each.name.startswith("_"):
            continue
        key = each.name.removesuffix("_")
        below = f"{path}.__{key}__" if not each.init else f"{path}.{key}" if path else key
        if each.name == spec.entries:
            below = path
        for suffix, part in _marked(hints[each.name]):
            if part.component is not spec.component:
                yield f"{below}{suffix}", part


def _marked(hint: Any) -> Iterator[tuple[str, Spec]]:
    bare = unannotated(hint)
    if isinstance(bare, type) and (spec := spec_of(bare)):
        yield "", spec
        return
    suffixes: dict[Any, str] = {list: "[]", dict: ".<name>"}
    suffix = suffixes.get(get_origin(bare), "")
    for inner in get_args(bare):
        yield from ((suffix + more, spec) for more, spec in _marked(inner))
