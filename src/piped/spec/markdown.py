"""Reference pages: what components say of themselves, as Markdown.

Nothing is said here that a declaration does not say: the docstring gives the prose, the fields the
parameters, their ``Meta`` the descriptions.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, get_args, get_origin, get_type_hints

from msgspec import Meta

from piped.batons import MISSING, BatonPath
from piped.spec.bases import Provider
from piped.spec.code import Code, Lambda
from piped.spec.components import Parameter, Spec, spec_of
from piped.spec.types import SIZES, Duration, Input, Size
from piped.spec.words import unannotated, words

SECTIONS: Final = ("Example", "Raises")


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
    paragraphs = tuple(" ".join(each.split()) for each in text.split("\n\n") if each.strip())
    example = inspect.cleandoc("\n".join(found.get("Example", ())))
    return Prose(_ticked(summary), paragraphs, example, _raises(found.get("Raises", ())))


def _ticked(text: str) -> str:
    return text.replace("``", "`")


def _raises(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    text = inspect.cleandoc("\n".join(lines))
    entries = re.findall(r"^(\w+): (.*(?:\n +.*)*)", text, re.MULTILINE)
    return tuple((name, _ticked(" ".join(why.split()))) for name, why in entries)


def component(spec: Spec, title: str = "", level: int = 2) -> str:
    """Return the section of one component: its prose, example, parameters, and its parts."""
    prose = prose_of(spec.component)
    blocks = [f"{'#' * level} {title or spec.name}", prose.summary, *prose.paragraphs]
    if spec.deprecated:
        blocks.append(f"**Deprecated:** {spec.deprecated}")
    if prose.example:
        blocks.append(f"```yaml fragment\n{prose.example}\n```")
    blocks.append(_parameters(spec))
    blocks += [f"Raises `{name}`: {why}" for name, why in prose.raises]
    blocks += [
        component(part, f"`{path}`", level + 1)
        for path, part in parts_of(spec, title.strip("`") or _root(spec))
    ]
    return "\n\n".join(each for each in blocks if each)


def shared(bases: Iterable[type], level: int = 2) -> str:
    """Return a section for each base whose parameters several components have."""
    blocks = []
    for base in bases:
        prose = prose_of(base)
        every = Spec("part", base.__name__, base).parameters.values()
        own = [each for each in every if owner(base, each.field) is base]
        title = f"{'#' * level} {name_of(base)}"
        blocks += [title, prose.summary, *prose.paragraphs, table(own)]
    return "\n\n".join(blocks)


def bases_of(specs: Iterable[Spec]) -> list[type]:
    """Return the unmarked bases that parameters of components come from, each once, roots first."""
    found: dict[type, None] = {}
    for spec in specs:
        for each in reversed(spec.component.__mro__[1:]):
            if any(owner(spec.component, p.field) is each for p in spec.parameters.values()):
                found.setdefault(each)
    return [each for each in found if spec_of(each) is None]


def name_of(base: type) -> str:
    """Return what a base is called: ``InputOutputProcessor`` is an input output processor."""
    return "Every " + re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base.__name__).lower()


def owner(kind: type, field: str) -> type:
    """Return the class that declares a field, the nearest of those that do."""
    return next(each for each in kind.__mro__ if field in inspect.get_annotations(each))


def _parameters(spec: Spec) -> str:
    """Return the table of a component's own parameters, and links to those of its bases."""
    if spec.entries is not None:
        return ""  # the section's keys are the user's own names
    by_owner: dict[type, list[Parameter]] = {}
    for each in spec.parameters.values():
        by_owner.setdefault(owner(spec.component, each.field), []).append(each)
    own = by_owner.pop(spec.component, [])
    links = ", ".join(_link(each) for each in spec.component.__mro__ if each in by_owner)
    return "\n\n".join(filter(None, (table(own), links and f"And the parameters of {links}.")))


def _link(base: type) -> str:
    spec = spec_of(base)
    text = spec.name if spec else name_of(base).lower()
    return f"[{text}](#{(spec.name if spec else text).replace(' ', '-')})"


def table(parameters: Iterable[Parameter]) -> str:
    """Return the parameters as a table: those that must be given first, then as declared."""
    rows = [
        f"| `{each.key}` | {type_words(each.hint)} | {default_text(each)} | {each.description} |"
        for each in sorted(parameters, key=lambda each: not each.required)
    ]
    head = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else ""


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


def _in_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Lambda | Code):
        return value.text
    if isinstance(value, Input):
        return _in_yaml(value.given)
    if isinstance(value, str):
        return str(value) or "''"
    if spec_of(value):
        return "{}"
    return str(dict(value) if isinstance(value, dict) else value)


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def _size(size: int) -> str:
    for unit in ("MiB", "KiB"):
        if size and size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]}{unit}"
    return str(size)


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


def _root(spec: Spec) -> str:
    return spec.name if issubclass(spec.component, Provider) else ""


def contents(specs: Iterable[Spec]) -> str:
    """Return a list of components, with links to their sections on the same page."""
    return "\n".join(
        f"* [{each.name}](#{each.name}): {prose_of(each.component).summary}" for each in specs
    )
