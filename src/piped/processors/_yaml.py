"""YAML within bounds: safe, no key twice, and counted before anything is made of it."""

from __future__ import annotations

from typing import Any, Final

import yaml

from piped.errors import BatonError, InvalidBaton
from piped.processors._shown import kind_of, shown

MAX_DEPTH: Final = 100
MAX_NODES: Final = 100_000
MAX_DIGITS: Final = 4300
TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_INT: Final = "tag:yaml.org,2002:int"
_MERGE: Final = "tag:yaml.org,2002:merge"
_NESTED: Final = "exceeded maximum nesting depth"
"""What PyYAML says, from 6.0.4 on, of more brackets than it takes: it looks ahead of its events."""
_BROKEN: Final = (ValueError, LookupError, AttributeError, TypeError, OverflowError)
"""What PyYAML's constructors raise at values that are not what their tag says."""


def decode(text: str) -> Any:
    """Return what the one document in a text says; None where there is none.

    Raises:
        InvalidBaton: It is no YAML, or too deep, or too large with its aliases counted.
    """
    try:
        _fail_if_too_large(text)
        return _loaded(text)
    except yaml.YAMLError as error:
        raise _invalid(*_told(error)) from None
    except _BROKEN as error:
        raise _invalid(f"a value cannot be read ({error})") from None


def encode(value: Any) -> str:
    """Return a value as YAML in block style, without anchors.

    Raises:
        BatonError: Something in the value has no YAML.
    """
    try:
        text: str = yaml.dump(
            value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
        )
    except RecursionError:
        raise BatonError("cannot encode as YAML what is nested so deep") from None
    except yaml.representer.RepresenterError as error:
        raise BatonError(f"cannot encode {kind_of(error.args[-1])} as YAML") from error
    except (ValueError, OverflowError) as error:
        raise BatonError(f"cannot encode as YAML: {error}") from error
    return text


def _invalid(what: str, mark: Any = None) -> InvalidBaton:
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return InvalidBaton([f"not YAML: {what}{where}"])


def _told(error: Any) -> tuple[str, Any]:
    """Return what PyYAML says of a text, and the place."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} at position {error.position}", None
    what = error.problem or error.context or "it cannot be read"
    if what == _NESTED:
        what = TOO_DEEP
    return what, error.problem_mark or error.context_mark


def _fail_if_too_large(text: str) -> None:
    """Count the nodes, those of an alias again: the composer and what follows have no bounds."""
    total, sizes = 0, dict[str | None, int]()
    inside: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in inside):
                raise _invalid(f"the anchor '{event.anchor}' contains itself", event.start_mark)
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            sizes[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append((event.anchor, total))
            else:
                sizes[event.anchor] = 1
            total += 1
        if len(inside) > MAX_DEPTH:
            raise _invalid(TOO_DEEP, event.start_mark)
        if total > MAX_NODES:
            raise _invalid(f"more than {MAX_NODES} values, aliases counted", event.start_mark)


def _loaded(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _fail_if_unfit(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _fail_if_unfit(root: Any) -> None:
    """Find keys that are there twice, and numbers so long that reading them takes for ever."""
    ahead, seen = [root], set()
    while ahead:
        node = ahead.pop()
        if isinstance(node, yaml.ScalarNode):
            if node.tag == _INT and len(node.value.lstrip("+-")) > MAX_DIGITS:
                raise _invalid(f"a number of more than {MAX_DIGITS} digits", node.start_mark)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            ahead += node.value
            continue
        ahead += [each for pair in node.value for each in pair]
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in keys:
                raise _invalid(f"the key {shown(key.value)} is there twice", key.start_mark)
            keys.add((key.tag, key.value))


class _Loader(_LOADER):  # type: ignore[misc]  # which of the two it is, is known when it runs
    """Knows ``=`` too, which PyYAML resolves and cannot make: it is text."""


_Loader.add_constructor("tag:yaml.org,2002:value", _Loader.construct_yaml_str)


class _Dumper(_DUMPER):  # type: ignore[misc]  # which of the two it is, is known when it runs
    """Writes subclasses of plain values as what they are, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str.__str__(value)))
_Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_int(int(value)))
_Dumper.add_multi_representer(float, lambda dumper, value: dumper.represent_float(float(value)))
_Dumper.add_multi_representer(dict, lambda dumper, value: dumper.represent_dict(value))
_Dumper.add_multi_representer(list, lambda dumper, value: dumper.represent_list(value))
_Dumper.add_multi_representer(tuple, lambda dumper, value: dumper.represent_list(value))
