"""A named resource: ready with a value, or lost with a reason."""

from __future__ import annotations

import asyncio

import pytest

from piped.errors import Misconfigured, Unavailable
from piped.resources import Resource


def test_a_resource_begins_lost() -> None:
    resource = Resource("zmq.queue.jobs")

    assert (resource.is_ready, resource.reason) == (False, "not started yet")
    assert repr(resource) == "<Resource zmq.queue.jobs (lost: not started yet)>"
    with pytest.raises(Unavailable, match=r"^'zmq.queue.jobs' is not available: not started yet$"):
        _ = resource.value


def test_a_ready_resource_has_a_value_and_no_reason() -> None:
    resource = Resource("r")

    resource.ready(5)

    assert (resource.is_ready, resource.value, resource.reason) == (True, 5, "")
    assert repr(resource) == "<Resource r (ready)>"


def test_a_lost_resource_keeps_no_value_and_knows_why() -> None:
    resource = Resource("r")
    resource.ready(5)

    resource.lost("the peer left")

    with pytest.raises(Unavailable, match=r"^'r' is not available: the peer left$"):
        _ = resource.value


def test_who_watches_is_told_of_changes_and_only_of_changes() -> None:
    resource, told = Resource("r"), list[bool]()
    resource.watch(lambda: told.append(resource.is_ready))

    resource.lost("still")
    resource.ready(1)
    resource.ready(2)
    resource.lost("gone")
    resource.lost("for another reason")

    assert (told, resource.reason) == ([True, False], "for another reason")


def test_who_no_longer_watches_is_not_told() -> None:
    resource, told = Resource("r"), list[str]()

    def first() -> None:
        told.append("first")
        resource.unwatch(first)

    resource.watch(first)
    resource.watch(lambda: told.append("second"))
    resource.ready(1)
    resource.lost("gone")
    resource.unwatch(first)

    assert told == ["first", "second", "second"]


@pytest.mark.anyio
async def test_waiting_for_a_ready_resource_takes_no_time() -> None:
    resource = Resource("r")
    resource.ready(5)

    assert await resource.wait() == 5


@pytest.mark.anyio
async def test_all_who_wait_get_the_value_when_it_is_ready() -> None:
    resource = Resource("r")

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(resource.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        resource.ready(5)

    assert [task.result() for task in waiting] == [5, 5, 5]
    assert resource._watchers == []


@pytest.mark.anyio
async def test_who_waits_goes_on_waiting_where_it_is_lost_again_at_once() -> None:
    resource = Resource("r")

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(resource.wait())
        await asyncio.sleep(0)
        resource.ready(5)
        resource.lost("gone")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        resource.ready(6)

    assert waiting.result() == 6


@pytest.mark.anyio
async def test_who_is_cancelled_while_waiting_leaves_nothing_behind() -> None:
    resource = Resource("r")

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(resource.wait())
        await asyncio.sleep(0)
        waiting.cancel()

    assert resource._watchers == []


def test_a_resource_that_has_failed_is_lost_for_good_until_it_is_ready_again() -> None:
    resource, told = Resource("r"), list[bool]()
    resource.watch(lambda: told.append(resource.has_failed))

    resource.lost("gone")
    resource.failed("the address is in use")

    assert (resource.is_ready, resource.has_failed) == (False, True)
    assert repr(resource) == "<Resource r (failed: the address is in use)>"
    with pytest.raises(Unavailable, match=r"^'r' is not available: the address is in use$"):
        _ = resource.value
    resource.ready(5)
    assert (resource.value, told) == (5, [True, False])


@pytest.mark.anyio
async def test_nobody_waits_for_what_has_failed() -> None:
    resource = Resource("r")

    waiting = asyncio.create_task(resource.wait())
    await asyncio.sleep(0)
    resource.failed("the address is in use")

    for each in (waiting, resource.wait()):
        with pytest.raises(Misconfigured) as raised:
            await each
        assert str(raised.value) == "'r' has failed for good: the address is in use"
    assert resource._watchers == []
