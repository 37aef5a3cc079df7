"""Pipelines made of YAML and of small processors, synchronous ones and ones that wait."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest

from piped.batons import Baton
from piped.document import parse
from piped.engine import (
    DefinitionReader,
    GraphBuilder,
    Pipeline,
    Results,
    endless_calls,
    link,
)
from piped.errors import Level, Problem
from piped.processors.flow import LambdaDecider, Passthrough, Stop
from piped.processors.pipelines import RunPipeline, RunPipelineIf
from piped.spec import DecidingProcessor, Dependency, Processor, Spec, processor, spec_of


@processor("note")
class Note(Processor):
    """Write a name into the baton's way."""

    name: str

    def process(self, baton: Baton) -> Baton:
        baton["way"].append(self.name)
        return baton


@processor("note")
class SlowNote(Note):
    """The same, but it waits."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        return Note.process(self, baton)


@processor("replace")
class Replace(Processor):
    """Go on with another baton on the same way."""

    value: Any

    def process(self, baton: Baton) -> Baton:
        return {"way": baton["way"], "value": self.value}


@processor("replace")
class SlowReplace(Replace):
    """The same, but it waits."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        return Replace.process(self, baton)


@processor("fail")
class Fail(Processor):
    """Raise a ValueError, as long as the baton's ``failures`` last."""

    text: str = "no"

    def process(self, baton: Baton) -> Baton:
        left = baton.setdefault("failures", -1)
        if left == 0:
            return baton
        baton["failures"] = left - 1
        raise ValueError(self.text)


@processor("fail")
class SlowFail(Fail):
    """The same, but it waits."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        return Fail.process(self, baton)


@processor("see-error")
class SeeError(Processor):
    """Write Python's current exception into the baton's way."""

    def process(self, baton: Baton) -> Baton:
        baton["way"].append(f"{sys.exc_info()[1]!r}")
        return baton


@processor("see-error")
class SlowSeeError(SeeError):
    """The same, but it waits before and after."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        SeeError.process(self, baton)
        await asyncio.sleep(0)
        return baton


@processor("raise-again")
class RaiseAgain(Processor):
    """Raise the current exception once more."""

    def process(self, baton: Baton) -> Baton:
        raise  # the engine runs error consumers inside an except block


@processor("choose")
class Choose(DecidingProcessor):
    """Choose always the same consumers."""

    indexes: list[int]

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        return self.indexes


@processor("again")
class Again(DecidingProcessor):
    """Count ``n`` down and choose the first consumer until it is 0, then the last."""

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        baton["n"] -= 1
        return (0,) if baton["n"] > 0 else (consumers - 1,)


@processor("needs")
class Needs(Processor):
    """Need a resource."""

    resource: Dependency[Any]

    def process(self, baton: Baton) -> Baton:
        return baton


QUICK = (Note, Replace, Fail, SeeError)
SLOW = (SlowNote, SlowReplace, SlowFail, SlowSeeError)
OTHERS: tuple[type, ...] = (RaiseAgain, Choose, Again, Needs, Passthrough, Stop, LambdaDecider)
OTHERS += (RunPipeline, RunPipelineIf)


def specs(*components: type) -> dict[str, Spec]:
    """Return the specs of marked classes by their names."""
    found = [spec_of(each) for each in components]
    return {spec.name: spec for spec in found if spec is not None}


def compiled(
    text: str, processors: dict[str, Spec], file: str = "test.yaml"
) -> tuple[dict[str, Pipeline], list[Problem]]:
    """Return the pipelines of a YAML text that can run, and what is wrong with it."""
    node, problems = parse(text, file)
    reader = DefinitionReader()
    reader.read(node)
    builder = GraphBuilder(reader, processors)
    graphs = builder.build_all()
    pipelines = {name: Pipeline(graph) for name, graph in graphs.items()}
    link(pipelines)
    problems = [*problems, *reader.problems, *builder.problems, *endless_calls(graphs)]
    if not any(each.level is Level.ERROR for each in problems):
        for pipeline in pipelines.values():
            pipeline.compile()
    return pipelines, problems


def send(pipeline: Pipeline, baton: Baton) -> Results:
    """Send a baton through a pipeline, in a loop only where it must be awaited."""
    if not pipeline.is_async:
        return pipeline.now(baton)
    return asyncio.run(pipeline(baton))


def failure_of(pipeline: Pipeline, baton: Baton) -> BaseException:
    """Send a baton through a pipeline and return what it raises."""
    try:
        send(pipeline, baton)
    except BaseException as error:
        return error
    raise AssertionError("expected an exception")


Build: TypeAlias = Callable[[str], dict[str, Pipeline]]
Way: TypeAlias = Callable[..., list[str]]
Problems: TypeAlias = Callable[[str], list[str]]


@pytest.fixture(params=["sync", "async"])
def build(request: pytest.FixtureRequest) -> Build:
    """Build pipelines: once of processors that do not wait, once of the same that do."""
    components = (*OTHERS, *(QUICK if request.param == "sync" else SLOW))

    def build(text: str) -> dict[str, Pipeline]:
        pipelines, problems = compiled(text, specs(*components))
        assert problems == []
        return pipelines

    return build


@pytest.fixture
def results_of(build: Build) -> Callable[..., Results]:
    """Send a baton through the pipeline `p` of a YAML text, and return the results."""

    def results_of(text: str, **baton: Any) -> Results:
        return send(build(text)["p"], {"way": [], **baton})

    return results_of


@pytest.fixture
def way(build: Build) -> Way:
    """Send a baton through the pipeline `p` of a YAML text, and return its way."""

    def way(text: str, **baton: Any) -> list[str]:
        found: list[str] = []
        send(build(text)["p"], {"way": found, **baton})
        return found

    return way


@pytest.fixture
def problems() -> Problems:
    """Tell everything that is wrong with the pipelines of a YAML text, as users read it."""

    def problems(text: str) -> list[str]:
        return [str(each) for each in compiled(text, specs(*OTHERS, *QUICK))[1]]

    return problems
