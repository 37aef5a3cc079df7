"""The base of processors that move several values of a baton from path to path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from piped.batons import MISSING, Baton, BatonPath, fresh, getter, setter
from piped.errors import Problem, suggest
from piped.processors._shown import shown
from piped.spec import Meta, Processor, Step, undeclared

Put: TypeAlias = Callable[[Baton, Any], Baton]

FORMS: Final = "a path, {from: to}, or {input_path: from, output_path: to}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a mapping, prefixes included; ``extra`` holds the further options it may have.

    An ``output_path`` of None discards the output.
    """

    input_path: BatonPath
    output_path: BatonPath | None
    extra: Mapping[str, Any]


class _WrongEntry(ValueError):
    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


@dataclass(slots=True, kw_only=True, eq=False)
class MappingProcessor(Processor):
    """A processor that works on several values of the baton, each from one path to another.

    ``mapping`` is a mapping or a list. An entry is ``a``, ``{a: b}``, ``{a: null}``,
    ``{a: {output_path: b}}`` or ``{input_path: a, output_path: b}``; without an output path the
    output goes where the input was. Entries are treated in the order written.

    A subclass gives ``process_mapping``, and may name options that entries can have in ``extras``.
    """

    __verbs__: ClassVar[tuple[str, ...]] = ("process_mapping",)
    extras: ClassVar[Mapping[str, Any]] = {}  # the further options of an entry, and their defaults

    mapping: Annotated[
        dict[str, Any] | list[Any],
        Meta(description="From where to where: a list of paths, or a mapping of paths to paths."),
    ]
    input_path_prefix: Annotated[
        str, Meta(description="Text put before each input path, such as 'request.'.")
    ] = ""
    output_path_prefix: Annotated[
        str, Meta(description="Text put before each output path, such as 'answer.'.")
    ] = ""
    skip_if_nonexistent: Annotated[
        bool, Meta(description="Leave out the entries whose input is missing.")
    ] = True
    input_fallback: Annotated[
        Any, Meta(description="The input where there is none, unless that is skipped.")
    ] = None

    def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
        """Treat the input of one entry and return its output."""
        raise NotImplementedError(f"{type(self).__name__} has no process_mapping()")

    def source(self, entry: Entry) -> Callable[[Baton], Any]:
        """Return what fetches an entry's input from a baton, or MISSING; made once."""
        return getter(entry.input_path)

    def sink(self, entry: Entry) -> Put:
        """Return what stores an entry's output and returns the baton to go on with; made once."""
        if entry.output_path is None:
            return lambda baton, _output: baton
        return setter(entry.output_path)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.process_mapping)

    def check(self) -> Iterable[Problem]:
        for each in self._read():
            if isinstance(each, Problem):
                yield each

    def entries(self) -> list[Entry]:
        """Return the entries of the mapping, in the order written."""
        return [each for each in self._read() if isinstance(each, Entry)]

    def step(self) -> Step:
        ways = [(entry, self.source(entry), self.sink(entry)) for entry in self.entries()]
        call, skip = self.process_mapping, self.skip_if_nonexistent
        fallback = fresh(self.input_fallback)

        def step(baton: Baton) -> Any:
            for entry, get, put in ways:
                value = get(baton)
                if value is MISSING:
                    if skip:
                        continue
                    value = fallback()
                result = call(value, entry, baton)
                if hasattr(result, "__await__"):
                    raise undeclared(result)
                baton = put(baton, result)
            return baton

        async def async_step(baton: Baton) -> Any:
            for entry, get, put in ways:
                value = get(baton)
                if value is MISSING:
                    if skip:
                        continue
                    value = fallback()
                baton = put(baton, await call(value, entry, baton))
            return baton

        return async_step if self.is_async else step

    def _read(self) -> Iterator[Entry | Problem]:
        read = _Reader(self.extras, self.input_path_prefix, self.output_path_prefix)
        for at, part in self._parts():
            try:
                yield read(part)
            except _WrongEntry as error:
                yield Problem("wrong-mapping", f"{error}", at=f"mapping{at}", hint=error.hint)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        if isinstance(self.mapping, dict):
            yield from ((f".{key}", {key: target}) for key, target in self.mapping.items())
        else:
            yield from ((f"[{index}]", part) for index, part in enumerate(self.mapping))


@dataclass(slots=True)
class _Reader:
    extras: Mapping[str, Any]
    input_prefix: str
    output_prefix: str
    _known: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {"input_path", "output_path", *self.extras}

    def __call__(self, part: Any) -> Entry:
        source, options = self._split(part)
        target = options.pop("output_path", source)
        for name, value in options.items():
            self._fail_if_unknown(name, value)
        return Entry(
            prefixed(self.input_prefix, source),
            None if target is None else prefixed(self.output_prefix, target),
            {**self.extras, **options},
        )

    def _split(self, part: Any) -> tuple[str, dict[str, Any]]:
        """Return the input path of an entry in any of its forms, and its other options."""
        if isinstance(part, str):
            return part, {}
        if not isinstance(part, dict):
            raise _WrongEntry(f"expected {FORMS}, got {shown(part)}")
        if "input_path" in part:
            options = dict(part)
            return options.pop("input_path"), options
        if len(part) != 1 or "output_path" in part:
            raise _WrongEntry(f"the entry has no input path: {shown(part)}")
        [(source, target)] = part.items()
        options = dict(target) if isinstance(target, dict) else {"output_path": target}
        if options.pop("input_path", source) != source:
            raise _WrongEntry(f"the entry '{source}' has another input path: {shown(part)}")
        return source, options

    def _fail_if_unknown(self, name: str, value: Any) -> None:
        if name not in self._known:
            what = f"an entry of the mapping has no option '{name}'"
            raise _WrongEntry(what, suggest(f"{name}", self._known))
        kind = type(self.extras[name])
        if not isinstance(value, kind):
            raise _WrongEntry(f"expected {kind.__name__} for '{name}', got {shown(value)}")


def prefixed(prefix: str, path: Any) -> BatonPath:
    """Return a path with text put before it.

    Raises:
        ValueError: The whole is no path; an empty part is in it.
    """
    if not isinstance(path, str):
        raise _WrongEntry(f"expected a path into the baton, got {shown(path)}")
    whole = f"{prefix}{path}"
    if whole and not all(whole.split(".")):
        raise _WrongEntry(f"expected a path into the baton, got {whole!r}, which has an empty part")
    return BatonPath(whole)


def wrong_paths(prefix: str, paths: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with paths that text is put before, by the parameters that have them."""
    for at, path in paths.items():
        try:
            prefixed(prefix, path)
        except ValueError as error:
            yield Problem("wrong-mapping", f"{error}", at=at)
