"""Where the paths of a site lead: what treats their requests, by which rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from piped.providers.web.auth import Auth
from piped.providers.web.failures import ErrorAnswer
from piped.providers.web.tallies import RouteTally
from piped.spec import Dependency

if TYPE_CHECKING:
    from piped.providers.web.dispatch import Dispatcher
    from piped.providers.web.request import Request


class Endpoint(Protocol):
    """What treats the requests of a route.

    It is called inside the journey of the request. What takes time it does in one task, begun by
    ``dispatcher.start(request, target, work)``; what it raises, at once or there, is answered by
    ``dispatcher.fail``.
    """

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a node of the tree and for those below, unless they say otherwise."""

    deadline_s: float
    max_body: int | None  # None is that of the site
    errors: Mapping[type[BaseException], ErrorAnswer]
    auth: Auth | None
    stream_deadline_s: float = math.inf  # of an answer in pieces, after it began


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads, and the rules on the way."""

    endpoint: Endpoint
    rules: Rules
    pipelines: tuple[Dependency[Any], ...]  # that treat its requests
    stream_body: bool  # whether they are treated while their bodies arrive
    tally: RouteTally = field(default_factory=RouteTally)

    @property
    def deadline_s(self) -> float:
        return self.rules.deadline_s

    @property
    def errors(self) -> Mapping[type[BaseException], ErrorAnswer]:
        return self.rules.errors

    @property
    def is_ready(self) -> bool:
        """Whether no pipeline of it is lost."""
        return all(each.is_ready for each in self.pipelines)


class Match(NamedTuple):
    """What was found for a path."""

    target: Target
    prepath: list[str]
    postpath: list[str]
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PipelineEndpoint:
    """Gives a request to a pipeline: at once if that is synchronous, else in a task."""

    pipeline: Dependency[Any]

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        pipeline = self.pipeline.value
        if pipeline.is_async:
            dispatcher.start(request, target, pipeline({"request": request}))
        else:
            pipeline.now({"request": request})
