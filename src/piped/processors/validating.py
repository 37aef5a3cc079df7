"""Batons checked against a schema or a model, before anybody works with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from piped.batons import Baton
from piped.errors import BatonError, Problem
from piped.processors import _json, _yaml
from piped.processors._breaches import as_text
from piped.processors._models import model_of
from piped.processors._schemas import Schema, flaws_of
from piped.processors._shown import kind_of, shown
from piped.spec import InputOutputProcessor, Meta, processor


class _Unreadable(ValueError):
    """Raised when there is no schema where one should be; ``code`` is that of the problem."""

    def __init__(self, code: str, what: str) -> None:
        self.code = code
        super().__init__(what)


@processor("validate")
class Validate(InputOutputProcessor):
    """Check the input by a JSON Schema or a model, and tell all that is wrong with it.

    By a schema, the output is the input as it is. By a model, it is what the model makes of the
    input, with its defaults, as a dict.

    Example:
        validate:
          schema:
            required: [name]
            properties:
              name: {type: string}
              age: {type: integer, minimum: 0}
        in:  {name: Ada, age: 36}
        out: {name: Ada, age: 36}

    Raises:
        InvalidBaton: The input breaks the schema, or the model does not take it.
    """

    schema: Annotated[
        dict[str, Any] | str | None,
        Meta(description="The JSON Schema, or its text: !file schema.json."),
    ] = None
    schema_file: Annotated[
        str | None,
        Meta(description="The file of the JSON Schema, from the working directory on."),
    ] = None
    model: Annotated[
        str | None,
        Meta(description="The dotted name of a pydantic model, a msgspec Struct or a dataclass."),
    ] = None
    max_problems: Annotated[
        int, Meta(ge=1, le=1000, description="How many problems of one input are told at most.")
    ] = 20
    _read: Mapping[str, Any] | None = field(default=None, init=False)

    def check(self) -> Iterable[Problem]:
        ways = ("schema", "schema_file", "model")
        given = [each for each in ways if getattr(self, each) is not None]
        if len(given) != 1:
            got = " and ".join(f"'{each}'" for each in given) or "none"
            what = f"expected exactly one of 'schema', 'schema_file' and 'model', got {got}"
            yield Problem("exactly-one", what, at=given[1] if given else "")
        elif self.model is not None:
            yield from self._wrong_model(self.model)
        else:
            yield from self._wrong_schema(given[0])

    def _wrong_model(self, name: str) -> Iterable[Problem]:
        try:
            model_of(name, self.max_problems)
        except ValueError as error:
            what = f"'{name}' cannot be the model: {error}"
            hint = "install pydantic" if "No module named 'pydantic" in what else ""
            yield Problem("unknown-name", what, at="model", hint=hint)

    def _wrong_schema(self, at: str) -> Iterable[Problem]:
        try:
            schema = self._schema()
        except _Unreadable as error:
            yield Problem(error.code, f"{error}", at=at)
            return
        for flaw in flaws_of(schema):
            if isinstance(self.schema, dict):
                path, what = f"{at}.{flaw.path}" if flaw.path else at, flaw.what
            else:
                path, what = at, as_text(flaw.path, flaw.what)
            yield Problem("wrong-schema", what, at=path, hint=flaw.hint)

    def _schema(self) -> Mapping[str, Any]:
        """Return the schema; a file is read once."""
        if self._read is None:
            if isinstance(self.schema, dict):
                self._read = self.schema
            else:
                text = _content(self.schema_file) if self.schema is None else self.schema
                self._read = _parsed(text)
        return self._read

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.model is not None:
            model = model_of(self.model, self.max_problems)
            return lambda value, _baton: model(value)
        check = Schema(self._schema(), self.max_problems).check

        def call(value: Any, _baton: Baton) -> Any:
            check(value)
            return value

        return call


def _content(name: str | None) -> str:
    path = Path(os.path.expanduser(name or ""))
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Reading a pipe or a device may never end.
        raise _Unreadable("unreadable-file", f"expected a regular file, got '{name}'")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _Unreadable("missing-file", f"no file '{name}'") from None
    except UnicodeDecodeError:
        raise _Unreadable("not-utf-8", f"'{name}' is not UTF-8") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _Unreadable("unreadable-file", f"cannot read '{name}': {reason}") from error


def _parsed(text: str) -> Mapping[str, Any]:
    """Return the schema that a text is, as JSON where it begins like it, else as YAML."""
    try:
        is_json = text.lstrip().startswith("{")
        schema = _json.decode(text) if is_json else _yaml.decode(text)
    except BatonError as error:
        raise _Unreadable("wrong-schema", f"{error}") from error
    if not isinstance(schema, dict):
        got = shown(schema) if isinstance(schema, str) else kind_of(schema)
        raise _Unreadable("wrong-schema", f"expected a mapping as the schema, got {got}")
    return schema
