"""What pipelines and their processors have counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Final

from piped.app import Service
from piped.engine import Pipeline
from piped.observe.metrics.measures import Group, Row, counter, gauge, label

MAX_PIPELINES: Final = 300
"""How many pipelines are shown: the first of the document."""
MAX_STEPS: Final = 1000
"""How many processors are shown."""


@dataclass(slots=True)
class _Steps:
    """The processors of one name on one line of a document."""

    begun: int = 0
    failed: int = 0
    spent_s: float = 0.0


def _pipelines(service: Service) -> Iterator[tuple[str, Pipeline]]:
    """Yield the pipelines that somebody may call, or has called."""
    used = (
        (name, each)
        for name, each in service.blueprint.pipelines.items()
        if each.tally.count or f"pipeline.{name}" in service.resources
    )
    yield from islice(used, MAX_PIPELINES)


def _rows(service: Service) -> Iterator[Row]:
    for name, pipeline in _pipelines(service):
        yield (label(name),), pipeline


def _steps(service: Service) -> Iterator[Row]:
    found: dict[tuple[str, ...], _Steps] = {}
    for name, pipeline in _pipelines(service):
        for each in pipeline.steps():
            place = each.node.place
            where = f"{label(PurePath(place.file).name)}:{place.line}"
            steps = found.setdefault((label(name), label(each.node.name), where), _Steps())
            steps.begun += each.begun
            steps.failed += each.failed
            steps.spent_s += each.spent_s
    yield from islice(found.items(), MAX_STEPS)


PIPELINE: Final = Group(
    "Of each pipeline",
    ("pipeline",),
    _rows,
    (
        counter("piped_pipeline_runs", "Runs that have begun.", lambda p: p.tally.count),
        counter("piped_pipeline_failed", "Runs that ended in an error.", lambda p: p.tally.failed),
        counter(
            "piped_pipeline_cancelled", "Runs that were cancelled.", lambda p: p.tally.cancelled
        ),
        gauge("piped_pipeline_in_flight", "Runs that await something.", lambda p: p.in_flight),
        counter(
            "piped_pipeline_seconds",
            "How long all runs took, as reckoned.",
            lambda p: p.tally.spent_s,
        ),
    ),
)

PROCESSOR: Final = Group(
    "Of each processor",
    ("pipeline", "processor", "place"),
    _steps,
    (
        counter("piped_processor_runs", "Batons that it was given.", lambda s: s.begun),
        counter("piped_processor_failed", "Batons on which it failed.", lambda s: s.failed),
        counter(
            "piped_processor_seconds",
            "How long all of them took, as reckoned.",
            lambda s: s.spent_s,
        ),
    ),
)
