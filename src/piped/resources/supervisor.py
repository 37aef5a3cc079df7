"""Keeps providers alive: enters them, announces what they bring, and enters them again.

`Unavailable` is retried for ever with back-off; any other error counts, and five in a minute make
the provider failed for good; `Misconfigured` does so at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog

from piped.errors import Misconfigured, PipedError, Unavailable, unwrapped
from piped.resources.resource import Resource
from piped.spec import Provider

log = structlog.get_logger("piped.supervisor")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
ERRORS: Final = 5
WITHIN_S: Final = 60.0
STILL_S: Final = 5.0
"""How long a first try may take before a line of the log tells of it."""
CLOSING_S: Final = 10.0
"""How long a provider may take to close, beside its drain, before it is cancelled."""


class EssentialFailed(PipedError):
    """Raised when an essential provider has failed for good while the service starts."""


@dataclass(slots=True, eq=False)
class Life:
    """One provider under supervision: what became of it, and the switch that ends it."""

    provider: Provider
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # the first try had an outcome
    brought: Mapping[str, Any] | None = None  # its resources, while it runs
    reason: str = "not started yet"  # why it does not run
    failure: BaseException | None = None  # why it has failed for good
    pauses: int = 0
    errors: deque[float] = field(default_factory=lambda: deque(maxlen=ERRORS))
    task: asyncio.Task[None] | None = None
    is_on_trial: bool = False  # its failure is the affair of who tries it

    @property
    def state(self) -> Literal["ready", "lost", "failed"]:
        """How it is now; what is lost is tried again, what has failed is not."""
        if self.failure is not None:
            return "failed"
        return "lost" if self.brought is None else "ready"


class Supervisor:
    """Starts providers in order, keeps them running, and closes them in the opposite order.

    ``on_failure`` is called when one that the process cannot do without has failed for good.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        resources: Mapping[str, Resource],
        on_failure: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
    ) -> None:
        self.lives = [Life(provider) for provider in providers]
        self._resources = resources
        self._owners: dict[str, Life] = {}  # who has brought a resource last
        self._group: asyncio.TaskGroup | None = None
        self._on_failure = on_failure
        self._random = chance or random.Random()

    @property
    def failures(self) -> dict[str, BaseException]:
        """The providers that have failed for good, by label, and why."""
        return {life.provider.label: life.failure for life in self.lives if life.failure}

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start each provider and wait for the outcome of its first try.

        Raises:
            EssentialFailed: One that the process cannot do without has failed for good.
        """
        self._group = group
        for life in self.lives:
            await self.begin(life)
            if life.failure and life.provider.essential:
                raise EssentialFailed(f"{life.provider.label}: {life.failure}") from life.failure

    async def begin(self, life: Life) -> None:
        """Start a provider, one of ``lives``, and wait for the outcome of its first try."""
        assert self._group is not None
        life.task = self._group.create_task(self._keep(life), name=f"keep {life.provider.label}")
        try:
            async with asyncio.timeout(STILL_S):
                await life.settled.wait()
        except TimeoutError:
            log.warning("still starting", provider=life.provider.label)
            await life.settled.wait()

    def publish(self, life: Life) -> None:
        """Let what a provider has brought be the resources of their names."""
        for name, value in (life.brought or {}).items():
            self._owners[name] = life
            if name in self._resources:
                self._resources[name].ready(value)

    async def stop_edges(self) -> None:
        """Close, at the same time, the providers that take requests."""
        edges = [life for life in self.lives if life.provider.is_edge]
        for life in edges:
            life.closing.set()
        for life in edges:
            await self.close(life)

    async def stop(self) -> None:
        """Close the providers, dependents first; each within its drain and a little more."""
        for life in tuple(reversed(self.lives)):
            await self.close(life)

    async def close(self, life: Life) -> None:
        """Close a provider, within its drain and a little more."""
        life.closing.set()
        if life.task is None:
            return
        if not life.settled.is_set():  # it has brought nothing yet
            life.task.cancel()
        done, _ = await asyncio.wait([life.task], timeout=CLOSING_S + life.provider.drain_s)
        if not done:
            log.warning("provider does not close, cancelling it", provider=life.provider.label)
            life.task.cancel()
            await asyncio.wait([life.task], timeout=CLOSING_S)

    async def _keep(self, life: Life) -> None:
        try:
            while not life.closing.is_set():
                try:
                    await self._run_once(life)
                except Exception as error:
                    cause = unwrapped(error)
                    if not self._may_try_again(life, cause):
                        self._give_up(life, cause)
                        return
                if not life.closing.is_set():
                    await self._pause(life)
        finally:
            life.settled.set()

    async def _run_once(self, life: Life) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        brought: Mapping[str, Any] = {}
        reason = "cancelled"
        try:
            async with life.provider.running() as brought:
                life.brought, life.reason = brought, ""
                self.publish(life)
                life.settled.set()
                await life.closing.wait()
            reason = "closed" if life.closing.is_set() else "its provider ended"
        except Exception as error:
            reason = str(unwrapped(error))
            if loop.time() - since > WITHIN_S:
                life.pauses = 0
            raise
        finally:
            life.brought, life.reason = None, reason
            for resource in self._own(life, brought or life.provider.offers()):
                resource.lost(reason)

    def _own(self, life: Life, names: Iterable[str]) -> Iterator[Resource]:
        """Yield the resources of some names that nobody else has brought meanwhile."""
        for name in names:
            owner = self._owners.get(name, life)
            if name in self._resources and (owner is life or owner.brought is None):
                yield self._resources[name]

    def _give_up(self, life: Life, cause: BaseException) -> None:
        for resource in self._own(life, life.provider.offers()):
            resource.failed(str(cause))
        life.settled.set()
        if life.provider.essential and not life.is_on_trial:
            self._on_failure()

    def _may_try_again(self, life: Life, error: BaseException) -> bool:
        """Tell whether the provider is entered again; else it has failed for good."""
        label = life.provider.label
        now = asyncio.get_running_loop().time()
        if isinstance(error, Unavailable):
            log.warning("unavailable, trying again", provider=label, reason=str(error))
        elif isinstance(error, Misconfigured):
            life.failure = error
            log.error("failed for good", provider=label, reason=str(error))
        else:
            life.errors.append(now)
            log.error("provider failed", provider=label, exc_info=error)
            if len(life.errors) == ERRORS and now - life.errors[0] <= WITHIN_S:
                life.failure = error
                log.error("failed for good", provider=label, reason=f"{ERRORS} errors in a minute")
        if isinstance(error, Unavailable) or not life.provider.essential:
            life.settled.set()
        return life.failure is None

    async def _pause(self, life: Life) -> None:
        bound = min(FIRST_PAUSE_S * 2**life.pauses, LONGEST_PAUSE_S)
        life.pauses += bound < LONGEST_PAUSE_S  # for ever: a power without a bound would overflow
        try:
            async with asyncio.timeout(bound * (0.5 + self._random.random() / 2)):
                await life.closing.wait()
        except TimeoutError:
            pass
