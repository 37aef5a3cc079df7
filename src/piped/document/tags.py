"""What a tag makes of the node it stands before, while a text is read.

Nothing is looked up here: aliases and values from outside become nodes that wait (``pending``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from piped.batons import BatonPath
from piped.document import scalars
from piped.document.nodes import Mapping, Node, Scalar, Sequence
from piped.document.pending import Alias, Outside
from piped.document.report import suggestion
from piped.document.tree import described, shortened
from piped.errors import Place, Problem

_STANDARD: Final = "tag:yaml.org,2002:"
_ALIAS: Final = "!alias:"


def apply(tag: str, node: Node) -> Node | Problem:
    """Return what a tag makes of a node; the value of a scalar is the text as it was written."""
    name = f"!!{tag.removeprefix(_STANDARD)}" if tag.startswith(_STANDARD) else tag
    if name == "!":
        return node
    if name.startswith(_ALIAS):
        return _alias_with_suffix(name, node)
    if name in scalars.TAGGED:
        return _standard_scalar(name, node)
    if name in _READERS:
        return _READERS[name](name, node)
    return _unknown(name, node.place)


def _unknown(name: str, place: Place) -> Problem:
    what = f"unknown tag '{shortened(name)}'"
    known = sorted((*_READERS, *scalars.TAGGED))
    if name.startswith("!!"):
        standard = ", ".join(each for each in known if each.startswith("!!"))
        return Problem("unknown-tag", what, place, hint=f"known: {standard}")
    own = (each for each in known if not each.startswith("!!"))
    return Problem("unknown-tag", what, place, hint=suggestion(name, own))


def _bad(tag: str, expected: str, got: Node, hint: str = "") -> Problem:
    what = f"expected {expected} after '{tag}', got {described(got)}"
    return Problem("bad-tag", what, got.place, hint=hint)


def _standard_scalar(tag: str, node: Node) -> Node | Problem:
    if not isinstance(node, Scalar):
        return _bad(tag, "a scalar", node)
    try:
        return Scalar(node.place, scalars.TAGGED[tag](node.value))
    except ValueError as error:
        return Problem("bad-tag", str(error), node.place)


def _mapping(tag: str, node: Node) -> Node | Problem:
    return node if isinstance(node, Mapping) else _bad(tag, "a mapping", node)


def _sequence(tag: str, node: Node) -> Node | Problem:
    return node if isinstance(node, Sequence) else _bad(tag, "a list", node)


def _path(tag: str, node: Node) -> Node | Problem:
    if not isinstance(node, Scalar):
        return _bad(tag, "a path", node)
    return Scalar(node.place, BatonPath(node.value))


def _alias(tag: str, node: Node) -> Node | Problem:
    if not isinstance(node, Scalar) or not node.value:
        hint = "defaults are written with the other form: !alias:dotted.path {key: value}"
        return _bad(tag, "a dotted path", node, hint if isinstance(node, Mapping) else "")
    return Alias(node.place, node.value)


def _alias_with_suffix(tag: str, node: Node) -> Node | Problem:
    target = tag.removeprefix(_ALIAS)
    if not target:
        what = f"expected a dotted path after the colon of '{tag}'"
        return Problem("bad-tag", what, node.place)
    match node:
        case Scalar(value=""):
            return Alias(node.place, target)
        case Mapping():
            return Alias(node.place, target, defaults=node)
    return _bad(tag, "nothing or a mapping of defaults", node)


def _outside(tag: str, node: Node) -> Node | Problem:
    if not isinstance(node, Scalar) or not node.value:
        return _bad(tag, "a path", node)
    return Outside(node.place, node.value, tag=tag)


def _secret(tag: str, node: Node) -> Node | Problem:
    if not isinstance(node, Scalar) or not node.value:
        return _bad(tag, "a name", node)
    if node.value in (".", "..") or any(sign in node.value for sign in "/\\\0"):
        return _bad(tag, "a name that is no path", node, "the folder is set by PIPED_SECRETS")
    return Outside(node.place, node.value, tag=tag)


def _env(tag: str, node: Node) -> Node | Problem:
    match node:
        case Scalar(value=str(name)) if name:
            return Outside(node.place, name, tag=tag)
        case Mapping():
            return _env_with_options(tag, node)
    return _bad(tag, "the name of a variable", node)


def _env_with_options(tag: str, node: Mapping) -> Node | Problem:
    known = ("name", "default")
    for key, entry in node.items():
        if key not in known:
            what = f"'{tag}' has no option '{shortened(str(key))}'"
            hint = suggestion(str(key), known)
            return Problem("bad-tag", what, entry.key_place, hint=hint)
    match node.get("name"):
        case Scalar(value=str(name)) if name and type(node.get("name")) is Scalar:
            del node.entries["name"]
            return Outside(node.place, name, tag=tag, options=node)
        case None:
            return _without_name(tag, node.place)
        case other:
            return _bad(f"{tag} {{name:", "the name of a variable", other)


def _without_name(tag: str, place: Place) -> Problem:
    what = f"'{tag}' needs the option 'name'"
    hint = f"write {tag} {{name: PORT, default: 8080}}"
    return Problem("bad-tag", what, place, hint=hint)


_READERS: Final[dict[str, Callable[[str, Node], Node | Problem]]] = {
    "!path": _path,
    "!alias": _alias,
    "!env": _env,
    "!file": _outside,
    "!secret": _secret,
    "!filepath": _outside,
    "!pipedpath": _outside,
    "!!map": _mapping,
    "!!seq": _sequence,
}
