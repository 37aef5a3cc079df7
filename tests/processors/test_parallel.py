from __future__ import annotations

import asyncio
import sys
import traceback
from functools import partial

import pytest

from piped.errors import TooDeep
from piped.processors.parallel import MAX_TASKS, at_once


@pytest.mark.anyio
async def test_works_are_done_at_the_same_time_and_give_their_results_in_order() -> None:
    met = asyncio.Barrier(2)

    async def first() -> str:
        await met.wait()
        await asyncio.sleep(0)
        return "first"

    async def second() -> str:
        await met.wait()
        return "second"

    async with asyncio.timeout(5):
        assert await at_once([first, second]) == ["first", "second"]


@pytest.mark.anyio
async def test_the_first_failure_cancels_the_others_and_is_raised_itself() -> None:
    async def fail() -> None:
        raise ValueError("a")

    async def wait() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(ValueError, match="a") as raised:
        await at_once([wait, fail])

    assert raised.value.__context__ is None


@pytest.mark.anyio
async def test_works_see_the_failure_that_is_being_treated() -> None:
    async def look() -> BaseException | None:
        await asyncio.sleep(0)
        return sys.exc_info()[1]

    error = KeyError("a")
    try:
        raise error
    except KeyError:
        before = traceback.format_exc()
        found = await at_once([look, look])
        after = traceback.format_exc()

    assert found == [error, error]
    assert after == before
    assert error.__context__ is None
    assert await at_once([look]) == [None]


@pytest.mark.anyio
async def test_works_in_works_without_end_do_not_fill_the_memory() -> None:
    most = 0

    async def work(depth: int) -> None:
        nonlocal most
        await asyncio.sleep(0)
        if depth == 12:
            most = max(most, len(asyncio.all_tasks()))
        if depth == 20:
            raise TooDeep("deep")
        await at_once([partial(work, depth + 1)] * 2)

    with pytest.raises(TooDeep):
        await work(0)

    assert MAX_TASKS / 2 < most < MAX_TASKS + 10


@pytest.mark.anyio
async def test_works_that_are_in_no_others_are_as_many_as_they_are() -> None:
    met = asyncio.Barrier(MAX_TASKS + 1)

    async with asyncio.timeout(5):
        await at_once([met.wait] * (MAX_TASKS + 1))
