"""What may be wrong with the pools of a document, and with what is sent to them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from piped.blueprint import Blueprint
from piped.engine import Pipeline
from piped.errors import Level, Place, Problem
from piped.spec import PoolName, Processor, dependencies_of, elsewhere

if TYPE_CHECKING:  # most documents do without pools
    from piped.workers import Pool

THREAD_SAFE: Final = re.compile(r"context\..*|workers")
"""The names of resources that threads may use."""


def check_pools(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield what is wrong between the pools of a blueprint and its pipelines."""
    workers: Any = blueprint.providers.get("workers")
    found: list[Pool] = [*workers.pools.values()] if workers else []
    pools = {pool.label: pool for pool in found}
    yield from _bound_to_loop(blueprint, pools)
    steps = (step for each in blueprint.pipelines.values() for step in each.processors())
    for step in steps if pools else ():
        yield from _not_served(step, pools)
    for pool in pools.values():
        yield from _in_own_workers(pool, pools, blueprint.pipelines)


def _bound_to_loop(blueprint: Blueprint, pools: Mapping[str, Pool]) -> Iterator[Problem]:
    """Yield the pipelines that are to run in threads, and cannot: the event loop is not there."""
    threaded = [pool for pool in pools.values() if pool.blocking is True]
    needs = blueprint.needs_of_pipelines() if threaded else {}
    for each in (each for pool in threaded for each in pool.pipelines):
        name = each.name.removeprefix("pipeline.")
        if name not in needs:  # it is broken, or unknown
            continue
        bound = sorted(need for need in needs[name] if not THREAD_SAFE.fullmatch(need))
        if blueprint.pipelines[name].is_async:
            what = f"'{name}' waits, and pipelines that wait cannot run in threads"
        elif bound:
            what = f"'{name}' uses '{bound[0]}', which threads cannot"
        else:
            continue
        hint = "mark the step that keeps Python busy by 'blocking: true', instead of the pool"
        yield Problem("bound-to-loop", what, each.place, each.at, hint=hint)


def _not_served(step: Processor, pools: Mapping[str, Pool]) -> Iterator[Problem]:
    """Yield the pipelines that a step sends to a pool whose workers do not run them."""
    named = [each.name for each in dependencies_of(step) if isinstance(each, PoolName)]
    if len(named) != 1 or named[0] not in pools:
        return
    pool = pools[named[0]]
    for each in elsewhere(step):
        name = each.name.removeprefix("pipeline.")
        if name not in pool.served:
            what = f"pool '{pool.name}' does not serve '{name}'"
            why = f"it serves: {', '.join(pool.served)}"
            hint = f"add '{name}' to {pool.label}.pipelines, or name another one"
            yield Problem("not-served", what, each.place, each.at, why, hint)


def _in_own_workers(
    pool: Pool, pools: Mapping[str, Pool], pipelines: Mapping[str, Pipeline]
) -> Iterator[Problem]:
    """Yield the steps that send to a pool, or submit to any, while they are run by its workers."""
    told: set[tuple[Place | None, str]] = set()
    for way in _ways_from(pool, pools, pipelines):
        for step, name in _names_of_pools(pipelines[way[-1]]):
            if (name.place, name.at) in told:
                continue
            told.add((name.place, name.at))
            if step.is_for_later:
                yield from _job_of_worker(pool, way, name)
            elif name.name == pool.label:
                yield _own_part(pool, way, name)


def _names_of_pools(pipeline: Pipeline) -> Iterator[tuple[Processor, PoolName]]:
    for step in pipeline.processors():
        named = (each for each in dependencies_of(step) if isinstance(each, PoolName))
        yield from ((step, each) for each in named)


def _own_part(pool: Pool, way: tuple[str, ...], sent: PoolName) -> Problem:
    what = f"pool '{pool.name}' may wait for itself: it runs {_led(way)}, which sends to it"
    why = "each part keeps its place at a worker while it waits for one that needs a place, too"
    hint = f"leave out 'workers: {pool.name}' here, or let another pool serve what is sent"
    where = (sent.place, sent.at)
    return Problem("waits-for-itself", what, *where, why, hint, level=Level.WARNING)


def _job_of_worker(pool: Pool, way: tuple[str, ...], sent: PoolName) -> Iterator[Problem]:
    if pool.transport != "local":  # there the worker is in the front
        what = f"workers submit no jobs: pool '{pool.name}' runs {_led(way)}"
        hint = "let a pipeline of the front submit it, with what the workers have answered"
        yield Problem("job-of-worker", what, sent.place, sent.at, hint=hint, level=Level.WARNING)


def _led(way: tuple[str, ...]) -> str:
    """Tell a way from pipeline to pipeline."""
    return " -> ".join(f"'{each}'" for each in way)


def _ways_from(
    pool: Pool, pools: Mapping[str, Pool], pipelines: Mapping[str, Pipeline]
) -> Iterator[tuple[str, ...]]:
    """Yield the shortest way from what a pool serves to each pipeline that a part waits for."""
    ahead: deque[tuple[str, ...]] = deque((name,) for name in pool.served if name in pipelines)
    seen = {way[0] for way in ahead}
    while ahead:
        way = ahead.popleft()
        yield way
        for name in _awaited(pipelines[way[-1]], pools):
            if name in pipelines and name not in seen:
                seen.add(name)
                ahead.append((*way, name))


def _awaited(pipeline: Pipeline, pools: Mapping[str, Pool]) -> Iterator[str]:
    """Yield the names of what the steps of a pipeline may wait for: pipelines, and others."""
    for step in pipeline.processors():
        if step.is_for_later:
            continue
        for each in dependencies_of(step):
            yield each.name.removeprefix("pipeline.")
            if each.name in pools and not elsewhere(step):  # the baton says which one
                yield from pools[each.name].served
