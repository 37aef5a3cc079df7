"""Models that values are checked by: of pydantic, of msgspec, and dataclasses."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from piped.errors import InvalidBaton
from piped.processors._breaches import as_text, bounded, dotted, needs, unexpected
from piped.processors._shown import shown
from piped.processors._text import lowered
from piped.spec import find_python

_LACKS: Final = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")


def model_of(name: str, max_problems: int) -> Callable[[Any], Any]:
    """Return what checks a value by a model, and gives what the model makes of it as plain values.

    Raises:
        ValueError: Nothing has that name, or it is no model.
    """
    found = find_python(name)
    if hasattr(found, "__pydantic_validator__"):
        return _by_pydantic(found, max_problems)
    if not isinstance(found, type) or not (
        issubclass(found, msgspec.Struct) or dataclasses.is_dataclass(found)
    ):
        raise ValueError("expected a model of pydantic, a Struct of msgspec or a dataclass")
    try:
        msgspec.json.Decoder(found)
    except (TypeError, NameError) as error:
        raise ValueError(lowered(str(error))) from error
    return lambda value: _by_msgspec(found, value)


def _by_pydantic(model: Any, max_problems: int) -> Callable[[Any], Any]:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(model)

    def check(value: Any) -> Any:
        try:
            return adapter.dump_python(adapter.validate_python(value))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            problems = [_told(each) for each in found[: max_problems + 1]]
            raise InvalidBaton(bounded(problems, max_problems)) from None

    return check


def _told(error: Mapping[str, Any]) -> str:
    path = error["loc"]
    if error["type"] == "missing":
        path, what = path[:-1], needs(path[-1])
    elif error["type"] == "extra_forbidden":
        path, what = path[:-1], unexpected(path[-1:])
    else:
        text = lowered(error["msg"].removeprefix("Value error, ")).removesuffix(".")
        text = re.sub(r"^input should be", "expected", text)
        what = f"{text}, got {shown(error['input'])}"
    return as_text(dotted(path), what)


def _by_msgspec(model: type, value: Any) -> Any:
    try:
        return _plain(msgspec.convert(value, model))
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        if found := _LACKS.fullmatch(text):
            what = needs(found[1])
        elif found := _UNKNOWN.fullmatch(text):
            what = unexpected([found[1]])
        else:
            what = lowered(text).replace("`", "")
        raise InvalidBaton([as_text(path.removesuffix("`").removeprefix("."), what)]) from None
    except RecursionError:
        raise InvalidBaton(["nested too deep to be checked"]) from None


def _plain(value: Any) -> Any:
    """Return models as dicts, all the way down; dates and the like stay what they are."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
