"""The processors that run status tests and report on them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from piped.batons import MISSING, Baton, BatonPath, get, getter, setter
from piped.errors import BatonError, Problem
from piped.spec import Dependency, Meta, Processor, Step, find_python, processor
from piped.status.cases import StatusTestCase, attempt, instances_of, run_test
from piped.status.reporter import Reporter

AVAILABLE_S: Final = 10.0
NAMESPACE_S: Final = 30.0


def _reporter_in(baton: Baton, path: str) -> Reporter:
    reporter = get(baton, path)
    if not hasattr(reporter, "begin"):
        kind = "nothing" if reporter is MISSING else type(reporter).__name__
        raise BatonError(
            f"expected a reporter at '{path}', got {kind}:"
            " create-statustest-reporter has to come before"
        )
    found: Reporter = reporter
    return found


@processor("create-statustest-reporter")
class CreateStatustestReporter(Processor):
    """Put a new reporter of status tests into the baton.

    The reporter prints a tree of the tests as they run. Give ``reporter`` a class of your own to
    have another report, and ``processor`` something that gets a baton for each test that has
    ended: ``{test, status, reporter}``, with ``failure``, ``todo`` or ``reason`` where there is
    one. ``status`` is success, failure, error, skipped, expected_failure or todone.

    Example:
        create-statustest-reporter: {output_path: report}

    Raises:
        BatonError: An argument shall come from the baton, and is not there.
    """

    reporter: Annotated[
        str | None, Meta(description="The dotted name of a class; null is the tree on stdout.")
    ] = None
    processor: Annotated[
        Dependency[Any] | None, Meta(description="What gets a baton for each result.")
    ] = None
    arguments: Annotated[
        dict[str, Any],
        Meta(
            description="Arguments of the class; where a key ends in _path, the argument is what"
            " the baton has at that path, and its name is the key without _path."
        ),
    ] = field(default_factory=dict)
    output_path: Annotated[BatonPath, Meta(description="Where the reporter goes.")] = BatonPath(
        "reporter"
    )

    def step(self) -> Step:
        make = Reporter if self.reporter is None else find_python(self.reporter)
        put = setter(self.output_path)
        given = {key: value for key, value in self.arguments.items() if not _is_path(key)}
        if self.processor is not None:
            given["processor"] = self.processor
        fetched = [(key, getter(value)) for key, value in self.arguments.items() if _is_path(key)]

        def step(baton: Baton) -> Baton:
            found = {key.removesuffix("_path"): fetch(baton) for key, fetch in fetched}
            for name, value in found.items():
                if value is MISSING:
                    path = self.arguments[f"{name}_path"]
                    raise BatonError(f"nothing at '{path}' for the reporter's argument '{name}'")
            return put(baton, make(**given, **found))

        return step

    def check(self) -> Iterator[Problem]:
        for key, value in self.arguments.items():
            if _is_path(key) and not isinstance(value, str):
                yield Problem("wrong-value", f"expected a path in '{key}', got {value!r}")
        if self.reporter is None:
            return
        try:
            find_python(self.reporter)
        except ValueError as error:
            yield Problem("wrong-value", f"{error}", hint="expected the dotted name of a class")


def _is_path(key: str) -> bool:
    return key.endswith("_path")


@processor("wait-for-statustest-reporter")
class WaitForStatustestReporter(Processor):
    """End a round of status tests: sum up, and have the process exit with 1 if one failed.

    The baton is returned as it is. With ``done`` the reporter prints what was no success and a
    summary, and begins to count anew. That no test was run is no failure, but is said.

    Example:
        wait-for-statustest-reporter: {done: true}

    Raises:
        BatonError: There is no reporter.
    """

    reporter_path: Annotated[BatonPath, Meta(description="Where the reporter is.")] = BatonPath(
        "reporter"
    )
    done: Annotated[bool, Meta(description="Print the summary.")] = False
    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)

    def process(self, baton: Baton) -> Baton:
        reporter = _reporter_in(baton, self.reporter_path)
        if self.done:
            reporter.summary()
        if reporter.has_failed:
            self._service.value.exit_code = 1
        return baton


@dataclass(slots=True, kw_only=True, eq=False)
class StatusTestProcessor(Processor):
    """Run the status test cases that are written inside the class.

    Derive from it, mark the class with ``@processor("test-...")``, and write classes derived from
    ``StatusTestCase`` in it. ``dependencies`` maps keywords of their ``setUp`` to resources:
    ``{"sum_pipeline": "pipeline.zmq.sum"}``. The baton is returned as it is.
    """

    __test__: ClassVar[bool] = False  # pytest shall not take it for a test of its own

    dependencies: ClassVar[Mapping[str, str]] = {}

    reporter_path: Annotated[BatonPath, Meta(description="Where the reporter is.")] = BatonPath(
        "reporter"
    )
    _handles: dict[str, Dependency[Any]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._handles = {name: Dependency(to) for name, to in self.dependencies.items()}

    def check(self) -> Iterator[Problem]:
        if hasattr(self, "configure"):
            yield Problem(
                "old-interface",
                f"'{type(self).__name__}.configure' is of Piped 0.x: nobody calls it",
                hint="name resources in the class variable 'dependencies'; see docs/differences.md",
            )

    def get_namespace(self, baton: Baton) -> Any:
        """Return more keywords for ``setUp``; they win over ``dependencies``. May be async."""
        return {}

    def get_testcases(self, baton: Baton) -> Iterable[type[StatusTestCase]]:
        """Return the cases to run: those in the class, in the order of their names."""
        inner = (getattr(type(self), name) for name in dir(type(self)))
        return [
            each for each in inner if inspect.isclass(each) and issubclass(each, StatusTestCase)
        ]

    async def process(self, baton: Baton) -> Baton:
        reporter = _reporter_in(baton, self.reporter_path)
        resources: dict[str, Any] = {}
        gather = partial(self._gather, resources, baton)
        broken = await attempt(gather, AVAILABLE_S + NAMESPACE_S, "get_namespace")
        for case in self.get_testcases(baton):
            for test in instances_of(case):
                reporter.begin(test)
                await reporter.end(test, await run_test(test, resources, broken))
        return baton

    async def _gather(self, resources: dict[str, Any], baton: Baton) -> None:
        try:
            async with asyncio.timeout(AVAILABLE_S):
                for name, handle in self._handles.items():
                    resources[name] = await handle.wait()
        except TimeoutError:
            for name, handle in self._handles.items():
                resources[name] = handle.value  # raises Unavailable, which says why
        more = self.get_namespace(baton)
        resources.update(await more if inspect.isawaitable(more) else more)
