"""Processors made of YAML, with fakes in place of the pipelines and resources they name."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeAlias

import pytest

from piped import processors
from piped.document import parse
from piped.document.nodes import Mapping
from piped.errors import Problem
from piped.providers.http_client import HttpClient
from piped.resources import Resource
from piped.spec import (
    INVALID,
    Decoder,
    PipelineName,
    Processor,
    Spec,
    absolute,
    dependencies_of,
    spec_of,
)
from tests.processors.http_service import Service, serving

HOME = "web.compute"  # the pipeline in which the processors of the tests are written

Make: TypeAlias = Callable[..., Any]
Run: TypeAlias = Callable[..., Any]
Problems: TypeAlias = Callable[[str], list[str]]


def marked_classes() -> Iterable[Spec]:
    """Yield the spec of each processor that comes with Piped."""
    for module in pkgutil.iter_modules(processors.__path__, f"{processors.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            spec = spec_of(value) if isinstance(value, type) else None
            if spec and spec.kind == "processor" and value.__module__ == module.name:
                yield spec


SPECS = {spec.name: spec for spec in marked_classes()}


class FakePipeline:
    """Sends batons through one function; a list that it returns is the list of results."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)

    def now(self, baton: Any) -> list[Any]:
        assert not self.is_async
        return [self.function(baton)]

    async def __call__(self, baton: Any) -> list[Any]:
        result = self.function(baton)
        return [await result if inspect.isawaitable(result) else result]

    async def traced(self, baton: Any) -> tuple[list[Any], list[Any]]:
        return await self(baton), [{"baton": baton}]


class FakeRequest:
    """A request that remembers what was done to it."""

    def __init__(self, **args: list[str]) -> None:
        self.id = 7
        self.args = args
        self.status = 200
        self.is_finished = False
        self.answer_lines: list[tuple[str, bytes]] = []
        self.headers: list[tuple[str, str]] = []
        self.body: bytes | None = None

    def set_header(self, name: str, value: str) -> None:
        self.answer_lines = [each for each in self.answer_lines if each[0] != name.lower()]
        self.headers = [each for each in self.headers if each[0] != name.lower()]
        self.add_header(name, value)

    def add_header(self, name: str, value: str) -> None:
        self.answer_lines.append((name.lower(), f"{name}: {value}\r\n".encode()))
        self.headers.append((name.lower(), value))

    def write(self, content: bytes) -> None:
        assert isinstance(content, bytes)
        self.body = (self.body or b"") + content

    def finish(self) -> bool:
        first, self.is_finished = not self.is_finished, True
        return first


def decoded(text: str) -> tuple[Any, list[Problem]]:
    """Return the processor that a YAML text describes, and what is wrong with it."""
    node, problems = parse(text, "test.yaml")
    assert not problems
    assert isinstance(node, Mapping)
    [(name, entry)] = node.items()
    decoder = Decoder()
    made = decoder.component(SPECS[name], entry.node, name)
    return made, decoder.problems


def made_of(text: str, resources: dict[str, Any]) -> Any:
    """Return a processor whose dependencies are bound to resources, given by their names."""
    made, found = decoded(text)
    assert found == []
    assert made is not INVALID
    made.home = HOME
    for dependency in dependencies_of(made):
        if isinstance(dependency, PipelineName):
            dependency.name = f"pipeline.{absolute(dependency.name, HOME)}"
        value = resources.get(dependency.name)
        if dependency.name.startswith("pipeline.") and inspect.isfunction(value):
            value = FakePipeline(value)
        resource = Resource(dependency.name)
        if dependency.name in resources:
            resource.ready(value)
        dependency.resource = resource
    return made


def run_in(processor: Processor, baton: Any) -> Any:
    """Send a baton through one processor."""
    step = processor.step()
    if not processor.is_async:
        return step(baton)

    async def run_step() -> Any:
        return await step(baton)

    return asyncio.run(run_step())


@pytest.fixture
def make() -> Make:
    """Make a processor: `make("stop: {}", **{"context.pending": {}})`."""

    def make(text: str, **resources: Any) -> Any:
        return made_of(text, resources)

    return make


@pytest.fixture
def run() -> Run:
    """Send a baton through a processor: `run("set-value: {path: a, value: 1}", {})`."""

    def run(text: str, baton: Any, /, **resources: Any) -> Any:
        return run_in(made_of(text, resources), baton)

    return run


@pytest.fixture
def problems() -> Problems:
    """Tell what is wrong with a processor: what, and the hint in parentheses."""

    def problems(text: str) -> list[str]:
        found = decoded(text)[1]
        return [f"{each.what} ({each.hint})" if each.hint else each.what for each in found]

    return problems


@pytest.fixture
def request_() -> FakeRequest:
    return FakeRequest()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service elsewhere, to send requests to."""
    async with serving() as service:
        yield service


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    """The resource `http_client`."""
    async with HttpClient().running() as resources:
        yield resources["http_client"]
