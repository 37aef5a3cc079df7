"""Whether a service can do its work now, and what keeps it from that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from piped.app import Service
from piped.spec.types import POOLS

if TYPE_CHECKING:  # a service without pools does not load them
    from piped.workers.front import Front


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How a provider is, and why, if it is not ready."""

    state: Literal["ready", "lost", "failed"]
    reason: str


@dataclass(frozen=True, slots=True)
class PoolState:
    """Whether a pool has a worker, how many it has, and how many parts wait for one."""

    served: bool
    workers: int
    depth: int


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a service is ready, and each thing that may keep it from that.

    ``lost`` says of each resource that is needed and not there why that is so; pipelines are left
    out, for they only follow what they need.
    """

    ready: bool
    stopping: bool
    providers: dict[str, ProviderState]
    pools: dict[str, PoolState]
    lost: dict[str, str]


def readiness(service: Service) -> Readiness:
    """Return whether a service is ready.

    It is while nobody has asked it to end, every provider runs, every resource that is needed is
    there, and every pool that is used has a worker.
    """
    providers = {
        each.provider.label: ProviderState(each.state, each.reason) for each in service.lives
    }
    pools = {name: _pool_state(front) for name, front in pools_of(service)}
    resources = (each for each in service.resources.values() if not each.is_ready)
    lost = {each.name: each.reason for each in resources if not each.name.startswith("pipeline.")}
    is_ready = (
        not service.is_stopping
        and not lost
        and all(each.state == "ready" for each in providers.values())
        and all(each.served for each in pools.values())
    )
    return Readiness(is_ready, service.is_stopping, providers, pools, lost)


def pools_of(service: Service) -> Iterator[tuple[str, Front | None]]:
    """Yield the name of each pool that is used, and its front; None where that is lost."""
    for life in service.lives:
        for name in life.provider.offers():
            if name.startswith(POOLS):
                yield name.removeprefix(POOLS), (life.brought or {}).get(name)


def _pool_state(front: Front | None) -> PoolState:
    if front is None:
        return PoolState(served=False, workers=0, depth=0)
    return PoolState(front.is_served, len(front.workers()), front.depth)
