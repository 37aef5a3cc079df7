"""The suite that proves a transport of worker pools: what a pool promises, whatever carries it.

Derive from ``PoolSuite``, or where workers are elsewhere from ``FleetSuite``, and say with a
fixture how the pool ``math`` is reached:

    class TestOurTransport(FleetSuite):
        @pytest.fixture
        def overrides(self, tmp_path):
            return ["workers.math.transport:zmq", f"workers.math.listen:ipc://{tmp_path}/math"]

The tests are async and run under anyio's plugin for pytest. ``tests/conftest.py`` of a bundle says
``pytest.register_assert_rewrite("piped.testing")``, to see more of what failed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar, TypeAlias

import pytest

from piped.errors import DeadlineExceeded, QueueFull
from piped.testing._fleet import Fleet, Member, opened
from piped.testing._stage import until
from piped.workers.errors import (
    AttemptsUsed,
    CannotCross,
    NotServed,
    NoWorkers,
    PartSetAside,
    RemoteError,
)

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Fleet]]


class PoolSuite:
    """What every pool promises; each test runs a whole document."""

    pytestmark = pytest.mark.anyio

    workers: ClassVar[tuple[str, ...]] = ()
    """The workers that are started beside the front; none where it does the work itself."""

    big_bytes: ClassVar[int] = 2 << 20
    """How big a baton is that has to cross."""

    @pytest.fixture
    def overrides(self) -> list[str]:
        """Return the overrides that choose the transport."""
        return []

    @pytest.fixture
    def fleet(self, tmp_path: Path, overrides: list[str]) -> Open:
        """Return what opens a fleet, with more overrides."""

        def open_(
            *more: str, workers: tuple[str, ...] = self.workers
        ) -> AbstractAsyncContextManager[Fleet]:
            return opened(tmp_path, [*overrides, *more], workers)

        return open_

    async def test_answers_come_back(self, fleet: Open) -> None:
        async with fleet() as pool:
            answer = await pool.ask("echo", {"text": "é", "number": 2**70, "none": None})

            assert answer == {"text": "é", "number": 2**70, "none": None}
            assert pool.front.counters.answered == 1

    async def test_what_is_scattered_is_gathered(self, fleet: Open) -> None:
        async with fleet() as pool:
            baton = await pool.call("both", {"left": 4, "right": pool.stage.part("b")})

            assert (baton["left_answer"], baton["right_answer"]["nonce"]) == (4, "b")

    @pytest.mark.parametrize("empty", [[], {}, "", None, [[]]])
    async def test_what_is_empty_crosses(self, fleet: Open, empty: object) -> None:
        async with fleet() as pool:
            answer = await pool.ask("echo", empty)

            assert answer == empty

    async def test_no_answer_crosses_to_another_request(self, fleet: Open) -> None:
        nonces = [secrets.token_hex(16) for _ in range(500)]
        async with fleet() as pool:
            parts = (pool.stage.part(nonce) for nonce in nonces)

            answers = await asyncio.gather(*(pool.ask("play", part) for part in parts))

            assert [answer["nonce"] for answer in answers] == nonces
            assert len({answer["key"] for answer in answers}) == len(nonces)
            assert pool.front.counters.answered == len(nonces)

    async def test_big_batons_cross(self, fleet: Open) -> None:
        text = "x" * self.big_bytes
        async with fleet() as pool:
            answers = await asyncio.gather(*(pool.ask("echo", text) for _ in range(4)))

            assert answers == [text] * 4

    async def test_bytes_cross_as_messagepack(self, fleet: Open) -> None:
        async with fleet("workers.math.format:msgpack") as pool:
            answer = await pool.ask("echo", {"bytes": b"\0\xff"})

            assert answer == {"bytes": b"\0\xff"}

    async def test_errors_keep_their_type_and_say_where_they_were_raised(self, fleet: Open) -> None:
        async with fleet() as pool:
            with pytest.raises(ValueError, match="invalid literal for int") as caught:
                await pool.ask("number", "four")

            cause = caught.value.__cause__
            assert isinstance(cause, RemoteError)
            assert cause.type_name == "ValueError"
            assert cause.place.startswith("pipelines.number[0].map")
            assert f"in {cause.place}" in caught.value.__notes__
            assert pool.front.counters.failed == 1

    async def test_what_cannot_cross_is_named_and_sent_to_nobody(self, fleet: Open) -> None:
        async with fleet() as pool:
            with pytest.raises(CannotCross) as caught:
                await pool.ask("echo", {"found": [1, {2}]})

            assert caught.value.path == "found.1"
            assert pool.front.counters.submitted == 0

    async def test_a_result_that_cannot_cross_is_named(self, fleet: Open) -> None:
        async with fleet() as pool:
            with pytest.raises(CannotCross, match=r"found\.1: .*set"):
                await pool.ask("strange", None)

    async def test_a_pipeline_that_is_not_served_is_an_error(self, fleet: Open) -> None:
        async with fleet() as pool:
            with pytest.raises(NotServed) as caught:
                await pool.ask("unserved", 1)

            assert str(caught.value) == "pool 'math' does not serve 'unserved'"

    async def test_a_deadline_ends_the_wait(self, fleet: Open) -> None:
        async with fleet() as pool:
            with pytest.raises(DeadlineExceeded):
                await pool.call("hurry", pool.stage.part(is_held=True))

            assert pool.pending == 0

    async def test_who_leaves_cancels_the_part(self, fleet: Open) -> None:
        async with fleet() as pool:
            asked = pool.asked("play", pool.stage.part(is_held=True))
            await until(lambda: pool.stage.runs)
            asked.cancel()
            await asyncio.wait([asked])

            assert pool.pending == 0
            assert pool.front.counters.cancelled == 1

    async def test_a_full_pool_refuses(self, fleet: Open) -> None:
        async with fleet("workers.math.max_pending:2") as pool:
            asked = [pool.asked("play", pool.stage.part(each, is_held=True)) for each in "ab"]
            await until(lambda: pool.pending == 2)

            with pytest.raises(QueueFull):
                await pool.ask("echo", 1)
            pool.stage.gate.set()
            answers = await asyncio.gather(*asked)

            assert [answer["nonce"] for answer in answers] == ["a", "b"]
            assert pool.front.counters.refused == 1
            assert await pool.ask("echo", 1) == 1

    async def test_a_pool_that_is_full_of_bytes_refuses(self, fleet: Open) -> None:
        async with fleet("workers.math.max_pending_bytes:1000") as pool:
            with pytest.raises(QueueFull):
                await pool.ask("echo", "x" * 1000)

            assert await pool.ask("echo", "x") == "x"


class FleetSuite(PoolSuite):
    """What a pool promises whose workers come and go."""

    workers: ClassVar[tuple[str, ...]] = ("one", "two")

    def cut(self, worker: Member) -> None:
        """Cut a worker off from its front, so that it does not even say goodbye.

        Called before the worker is ended. By default nothing is cut: what the transport then says
        at the end of a worker that is broken off is part of the test.
        """

    async def vanished(self, pool: Fleet, name: str) -> None:
        """Have a worker vanish, as a process does that is killed."""
        worker = pool.workers.pop(name)
        self.cut(worker)
        await worker.broken()

    async def test_an_empty_pool_may_fail_at_once(self, fleet: Open) -> None:
        async with fleet("workers.math.when_empty:fail", workers=()) as pool:
            with pytest.raises(NoWorkers):
                await pool.ask("echo", 1)

            assert not pool.front.is_served

    async def test_an_empty_pool_waits_for_a_worker(self, fleet: Open) -> None:
        async with fleet(workers=()) as pool:
            asked = pool.asked("echo", 1)
            await until(lambda: pool.pending == 1)
            await pool.add("one")

            assert await asked == 1

    async def test_a_worker_that_drains_loses_nothing(self, fleet: Open) -> None:
        async with fleet(workers=("one",)) as pool:
            asked = pool.asked("play", pool.stage.part("a", is_held=True))
            await until(lambda: pool.stage.runs)
            leaving = asyncio.ensure_future(pool.workers["one"].left())
            await pool.add("two")
            after = await pool.ask("echo", "after")
            pool.stage.gate.set()
            answer = await asked
            await leaving

            assert (after, answer["nonce"], len(pool.stage.runs)) == ("after", "a", 1)
            assert (pool.front.counters.answered, pool.front.counters.redelivered) == (2, 0)

    async def test_parts_of_a_worker_that_vanishes_are_done_by_another(self, fleet: Open) -> None:
        async with fleet() as pool:
            asked = pool.asked("play", pool.stage.part("a", is_held=True))
            await until(lambda: pool.stage.runs)
            await self.vanished(pool, await pool.holder())
            await until(lambda: len(pool.stage.runs) == 2)
            pool.stage.gate.set()
            answer = await asked

            [(_, first), (_, second)] = pool.stage.runs
            assert (answer["nonce"], answer["key"]) == ("a", first)
            assert first == second
            assert pool.front.counters.redelivered == 1

    async def test_a_part_that_kills_two_workers_is_set_aside(self, fleet: Open) -> None:
        async with fleet(workers=("one", "two", "three")) as pool:
            asked = pool.asked("play", pool.stage.part(is_held=True))
            await until(lambda: len(pool.stage.runs) == 1)
            await self.vanished(pool, await pool.holder())
            await until(lambda: len(pool.stage.runs) == 2)
            await self.vanished(pool, await pool.holder())
            with pytest.raises(PartSetAside):
                await asked

            assert len(pool.stage.runs) == 2
            assert pool.front.counters.set_aside == 1
            assert await pool.ask("echo", "well") == "well"

    async def test_what_may_be_tried_once_runs_once(self, fleet: Open) -> None:
        async with fleet("workers.math.attempts:1") as pool:
            asked = pool.asked("play", pool.stage.part(is_held=True))
            await until(lambda: pool.stage.runs)
            await self.vanished(pool, await pool.holder())
            with pytest.raises(AttemptsUsed):
                await asked

            assert len(pool.stage.runs) == 1

    async def test_workers_join_a_front_that_is_started_again(self, fleet: Open) -> None:
        async with fleet() as pool:
            asked = pool.asked("play", pool.stage.part("former", is_held=True))
            await until(lambda: pool.stage.runs)
            await pool.close()
            failure = await asyncio.gather(asked, return_exceptions=True)
            await pool.open()
            await pool.known(*self.workers)
            pool.stage.gate.set()
            answer = await pool.ask("play", pool.stage.part("new"))

            assert isinstance(failure[0], Exception)
            assert answer["nonce"] == "new"
            assert pool.front.counters.answered == 1
