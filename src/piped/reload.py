"""Puts one plan in the place of another while batons are under way.

What is the same in both goes on. What is new is opened first; then pipelines and sites lead to what
is new; then what nobody needs any more is drained and closed. Where something cannot be opened, all
that was done is undone, and the old plan goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from piped.difference import Kept
from piped.engine import link
from piped.errors import PipedError
from piped.resources import Life, Resource, Supervisor
from piped.spec import Provider
from piped.wiring import Follower, Plan, Resources, bind, followers_of

OPEN_S: Final = 30.0
"""How long a provider may take to open before the reload is given up."""

log = structlog.get_logger("piped.service")


class CannotReload(PipedError):
    """Raised when something new cannot be opened: what ran before goes on."""


def merge(new: Plan, kept: Kept) -> None:
    """Have old units and pipelines stand in a new plan for those that are the same."""
    blueprint, same = new.blueprint, kept.units
    new.units = [same.get(each, each) for each in new.units]
    blueprint.units = [same.get(each, each) for each in blueprint.units]
    blueprint.providers = {key: same.get(each, each) for key, each in blueprint.providers.items()}
    blueprint.pipelines.update(kept.pipelines)
    link(blueprint.pipelines)


@dataclass(slots=True)
class Exchange:
    """One reload; ``before`` are the followers of the old plan, ``now`` those of the new one."""

    supervisor: Supervisor
    resources: Resources
    old: Plan
    new: Plan
    kept: Kept
    before: dict[str, Follower]
    now: dict[str, Follower] = field(default_factory=dict)
    _undo: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    _leaving: list[Life] = field(default_factory=list)

    async def run(self) -> None:
        """Put the new plan, which has been merged with the old one, in its place.

        Raises:
            CannotReload: Something cannot be opened; the old plan goes on.
        """
        opening = self._opening()
        later = [each for each in opening if each.is_edge or not each.needed]
        self._bind(opening)
        try:
            for unit in opening:
                if unit not in later:
                    await self._open(unit)
            self._follow()
            for unit in sorted(later, key=lambda each: self._life_before(each) is not None):
                await self._open(unit)
            self._settle()
        except Exception:
            while self._undo:
                await self._undo.pop()()
            raise

    async def close_old(self) -> None:
        """Close what nobody needs any more, when the requests that may need it are answered."""
        edges = [life for life in self._leaving if life.provider.is_edge]
        for life in edges:
            life.closing.set()
        others = [life for life in self._leaving if life not in edges]
        for life in edges:
            await self._close(life)
        if others:
            await self._answered()
        for life in reversed(others):
            await self._close(life)
        self._keep_only(self.new, self.now)

    def _keep_only(self, plan: Plan, followers: Container[str]) -> None:
        """Take away the resources that a plan does not need."""
        for name in [*self.resources]:
            if name not in plan.needed and name.removeprefix("pipeline.") not in followers:
                del self.resources[name]

    def _opening(self) -> list[Provider]:
        running = {life.provider for life in self.supervisor.lives}
        return [unit for unit in self.new.units if unit not in running]

    def _bind(self, opening: Iterable[Provider]) -> None:
        """Bind what is new; pipelines that were not there begin to follow what they need."""
        for name in sorted(self.new.needed):
            self.resources.setdefault(name, Resource(name))
        pipelines = [each for each in self.new.pipelines if each.name not in self.kept.pipelines]
        bind(opening, pipelines, self.resources)
        self.now = followers_of(self.new, self.resources)
        added = [each for name, each in self.now.items() if name not in self.before]
        for each in added:
            each.follow()
        self._undo.append(partial(self._forget, added))

    async def _forget(self, added: Iterable[Follower]) -> None:
        for each in added:
            each.leave()
        self._keep_only(self.old, self.before)

    def _follow(self) -> None:
        """Let the names of pipelines lead to the new ones."""
        both = [name for name in self.now if name in self.before]
        for name in both:
            self.before[name].leave()
            self.now[name].follow()
        self._undo.append(partial(self._follow_again, both))

    async def _follow_again(self, names: Iterable[str]) -> None:
        for name in names:
            self.now[name].leave()
            self.before[name].follow()

    def _life_before(self, unit: Provider) -> Life | None:
        """Return the life of what had the name of a unit until now."""
        lives = (each for each in self.supervisor.lives if each.provider.label == unit.label)
        return next(lives, None)

    async def _open(self, unit: Provider) -> None:
        before = self._life_before(unit)
        if before is not None:
            old = before.provider
            self._undo.append(partial(self._give_back, before, old, unit))
            if unit.take_over(old):
                before.provider = unit
                return
            if not self._may_overlap(old, unit):
                self._undo.append(partial(self._open_again, before))
                await self.supervisor.close(before)
        life = Life(unit, is_on_trial=True)
        self.supervisor.lives.append(life)
        self._undo.append(partial(self._drop, life, before))
        try:
            async with asyncio.timeout(OPEN_S):
                await self.supervisor.begin(life)
        except TimeoutError as error:
            raise CannotReload(f"{unit.label}: not open after {OPEN_S:g} s") from error
        self._fail_if_failed(life)

    def _may_overlap(self, old: Provider, new: Provider) -> bool:
        if not new.is_edge:
            return new.overlaps
        addresses = {address for address, _ in old.listens(self.old.needed)}
        return addresses.isdisjoint(address for address, _ in new.listens(self.new.needed))

    async def _give_back(self, life: Life, old: Provider, unit: Provider) -> None:
        old.take_over(unit)
        life.provider = old

    async def _open_again(self, before: Life) -> None:
        life = Life(before.provider)
        lives = self.supervisor.lives
        lives[lives.index(before)] = life
        try:
            async with asyncio.timeout(OPEN_S):
                await self.supervisor.begin(life)
        except TimeoutError:
            log.error("provider not open again", provider=life.provider.label)

    async def _drop(self, life: Life, before: Life | None) -> None:
        await self._close(life)
        if before is not None:
            self.supervisor.publish(before)

    async def _close(self, life: Life) -> None:
        await self.supervisor.close(life)
        self.supervisor.lives.remove(life)

    def _settle(self) -> None:
        """Make the new plan the one that counts; nothing is undone any more."""
        lives = {life.provider: life for life in self.supervisor.lives}
        for unit, old in self.kept.units.items():
            old.is_debug, old.document = unit.is_debug, unit.document
            old.needed, old.drain_s = unit.needed, unit.drain_s
        staying = [lives[unit] for unit in self.new.units]
        for life in staying:
            self._fail_if_failed(life)
        for life in staying:
            life.is_on_trial = False
        self._leaving = [life for life in self.supervisor.lives if life not in staying]
        self.supervisor.lives[:] = [*staying, *self._leaving]
        for name, follower in self.before.items():
            if name not in self.now:
                follower.leave()
        self._undo.clear()

    def _fail_if_failed(self, life: Life) -> None:
        if life.is_on_trial and life.failure is not None and life.provider.essential:
            raise CannotReload(f"{life.provider.label}: {life.failure}") from life.failure

    async def _answered(self) -> None:
        """Wait until what was asked before is answered, no longer than a drain."""
        edges = [life.provider for life in self.supervisor.lives if life.provider.is_edge]
        try:
            async with asyncio.timeout(self.new.blueprint.drain_s):
                for each in edges:
                    await each.settled()
        except TimeoutError:
            log.warning("requests of before the reload are still open")
