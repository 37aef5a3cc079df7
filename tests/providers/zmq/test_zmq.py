from __future__ import annotations

import asyncio
import contextvars
import socket as unix
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from structlog.testing import capture_logs

from piped.engine.journey import journey
from piped.errors import Misconfigured
from piped.providers.zmq import Queue, Zmq
from piped.resources import Resource
from piped.spec import Dependency
from tests.conftest import until
from tests.providers.zmq.conftest import (
    LOCAL,
    Recorder,
    address,
    bound,
    place_of,
    read,
    running,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("faults")]
Peer = Callable[..., zmq.asyncio.Socket]


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder whose paths are short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield path


@pytest.fixture
def precious(folder: str) -> Iterator[str]:
    """The path of a file that must stay as it is."""
    path = Path(folder, "precious")
    path.write_text("precious")
    yield str(path)
    assert path.read_text() == "precious"


def test_a_provider_offers_each_queue_under_both_names() -> None:
    provider = Zmq(queues={"jobs": Queue(type="PUSH", binds=[LOCAL])})

    assert list(provider.offers()) == [
        "zmq.queue.jobs",
        "zmq.socket.jobs",
        "zmq.poller",
        "zmq.context",
    ]
    assert not provider.feeds()


def test_a_queue_with_a_processor_feeds() -> None:
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(Recorder()))

    assert Zmq(queues={"jobs": queue}).feeds()


async def test_queues_that_nobody_needs_are_not_made() -> None:
    provider = Zmq(queues={name: Queue(type="PUSH", binds=[LOCAL]) for name in ("a", "b", "c")})
    provider.needed = frozenset({"zmq.queue.a", "zmq.socket.b", "zmq.poller"})

    async with provider.running() as resources:
        assert set(resources) == {
            *("zmq.queue.a", "zmq.socket.a", "zmq.queue.b", "zmq.socket.b"),
            *("zmq.poller", "zmq.context"),
        }
        assert resources["zmq.queue.a"] is resources["zmq.socket.a"]


async def test_a_provider_that_does_not_feed_reads_nothing(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="REP", binds=[LOCAL], processor=bound(pipeline))
    provider = Zmq(queues={"ask": queue, "other": queue})
    provider.needed = frozenset({"zmq.queue.ask"})
    async with provider.running() as resources:
        await peer(zmq.REQ, address(resources["zmq.queue.ask"])).send(b"1")
        for _ in range(100):
            await asyncio.sleep(0)

        assert "zmq.queue.other" not in resources
        assert pipeline.batons == []


async def test_a_stopped_poller_holds_messages_until_it_is_started(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        poller = r["zmq.poller"]
        pipeline.treat = lambda baton: poller.stopService()
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for word in (b"1", b"2"):
            await push.send(word)
        held = list(await pipeline.got(1))
        for _ in range(100):
            await asyncio.sleep(0)
        still_held = list(pipeline.batons)
        pipeline.treat = lambda baton: None
        poller.startService()

        assert held == still_held == [b"1"]
        assert await pipeline.got(2) == [b"1", b"2"]
        assert poller.is_running


async def test_an_async_pipeline_treats_one_message_at_a_time_in_order(peer: Peer) -> None:
    at_once: list[int] = []
    open_now = 0

    async def treat(baton: Any) -> None:
        nonlocal open_now
        open_now += 1
        at_once.append(open_now)
        await asyncio.sleep(0)
        open_now -= 1

    pipeline = Recorder(is_async=True)
    pipeline.treat = treat
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for number in range(20):
            await push.send(b"%d" % number)

        assert await pipeline.got(20) == [b"%d" % number for number in range(20)]
        assert set(at_once) == {1}


async def test_concurrency_bounds_how_many_messages_are_open_at_once(peer: Peer) -> None:
    go = asyncio.Event()

    async def treat(baton: Any) -> None:
        await go.wait()

    pipeline = Recorder(is_async=True)
    pipeline.treat = treat
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline), concurrency=3)
    async with running({"jobs": queue}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for number in range(5):
            await push.send(b"%d" % number)
        await pipeline.got(3)
        for _ in range(100):
            await asyncio.sleep(0)
        open_at_once = len(pipeline.batons)
        go.set()

        assert open_at_once == 3
        assert len(await pipeline.got(5)) == 5


async def test_a_queue_reads_nothing_until_its_pipeline_is_ready(peer: Peer) -> None:
    pipeline = Recorder()
    resource = Resource("pipeline.later")
    later = Dependency[Any]("pipeline.later", resource=resource)
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL], processor=later)}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        await push.send(b"1")
        resource.ready(pipeline)
        first = list(await pipeline.got(1))
        resource.lost("gone")
        await push.send(b"2")
        for _ in range(100):
            await asyncio.sleep(0)
        while_lost = list(pipeline.batons)
        resource.ready(pipeline)

        assert first == while_lost == [b"1"]
        assert await pipeline.got(2) == [b"1", b"2"]


async def test_a_queue_whose_pipeline_never_comes_can_be_closed(peer: Peer) -> None:
    never = Dependency[Any]("pipeline.never", resource=Resource("pipeline.never"))
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL], processor=never)}) as r:
        await peer(zmq.PUSH, address(r["zmq.queue.jobs"])).send(b"1")
        for _ in range(100):
            await asyncio.sleep(0)


async def test_closing_waits_for_the_messages_that_are_being_treated(peer: Peer) -> None:
    go = asyncio.Event()
    done: list[Any] = []

    async def treat(baton: Any) -> None:
        await go.wait()
        done.append(baton)

    pipeline = Recorder(is_async=True)
    pipeline.treat = treat
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        await peer(zmq.PUSH, address(r["zmq.queue.jobs"])).send(b"1")
        await pipeline.got(1)
        asyncio.get_running_loop().call_soon(go.set)

    assert done == [b"1"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_each_message_has_a_journey_and_a_context_of_its_own(
    peer: Peer, is_async: bool
) -> None:
    trace: ContextVar[str] = contextvars.ContextVar("trace", default="none")
    seen: list[tuple[int, str]] = []

    def note(baton: Any) -> None:
        seen.append((journey.get(), trace.get()))
        trace.set(f"of {baton!r}")

    async def note_later(baton: Any) -> None:
        note(baton)

    pipeline = Recorder(is_async=is_async)
    pipeline.treat = note_later if is_async else note
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        await push.send(b"1")
        await push.send(b"2")
        await pipeline.got(2)

    assert [each for _, each in seen] == ["none", "none"]
    assert len({number for number, _ in seen} - {0}) == 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_is_logged_once_with_its_traceback(peer: Peer, is_async: bool) -> None:
    def fail(baton: Any) -> None:
        raise ValueError("no")

    pipeline = Recorder(is_async=is_async)
    pipeline.treat = fail
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    with capture_logs() as lines:
        async with running({"jobs": queue}) as r:
            await peer(zmq.PUSH, address(r["zmq.queue.jobs"])).send(b"1")
            await pipeline.got(1)

    assert [line for line in lines if line["log_level"] == "error"] == [
        {"event": "message failed", "queue": "jobs", "exc_info": True, "log_level": "error"}
    ]


async def test_a_processor_may_be_any_callable(peer: Peer) -> None:
    batons: list[Any] = []
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(batons.append))
    async with running({"jobs": queue}) as r:
        await peer(zmq.PUSH, address(r["zmq.queue.jobs"])).send(b"1")
        await until(lambda: bool(batons))

    assert batons == [b"1"]


async def test_binds_come_before_connects_and_both_are_logged() -> None:
    queues = {
        "out": Queue(type="PUSH", connects=["inproc://both"]),
        "in": Queue(type="PULL", binds=["inproc://both"]),
    }
    with capture_logs() as lines:
        async with running(queues):
            pass

    assert lines == [
        {"event": "bound", "queue": "in", "address": "inproc://both", "log_level": "info"},
        {"event": "connecting", "queue": "out", "address": "inproc://both", "log_level": "info"},
    ]


async def test_queues_of_one_process_speak_over_inproc() -> None:
    pipeline = Recorder()
    queues = {
        "out": Queue(type="PUSH", connects=["inproc://both"]),
        "in": Queue(type="PULL", binds=["inproc://both"], processor=bound(pipeline)),
    }
    async with running(queues) as r:
        r["zmq.queue.out"].send(b"1")

        assert await pipeline.got(1) == [b"1"]


async def test_an_address_in_use_is_misconfigured() -> None:
    async with running({"a": Queue(type="PULL", binds=[LOCAL])}) as r:
        place = address(r["zmq.queue.a"])
        with pytest.raises(Misconfigured) as caught:
            async with running({"b": Queue(type="PULL", binds=[place])}):
                pass

        assert str(caught.value) == f"cannot bind queue 'b' to {place}: address already in use"


async def test_an_ipc_address_is_not_taken_from_who_listens_there(folder: str) -> None:
    place = f"ipc://{folder}/jobs"
    async with running({"a": Queue(type="PULL", binds=[place])}):
        with pytest.raises(Misconfigured) as caught:
            async with running({"b": Queue(type="PULL", binds=[place])}):
                pass

    assert str(caught.value) == f"cannot bind queue 'b' to {place}: address already in use"


async def test_an_ipc_file_that_a_dead_process_has_left_is_no_obstacle(
    folder: str, peer: Peer
) -> None:
    pipeline = Recorder()
    place = f"ipc://{folder}/jobs"
    with unix.socket(unix.AF_UNIX) as dead:
        dead.bind(f"{folder}/jobs")
    async with running({"a": Queue(type="PULL", binds=[place], processor=bound(pipeline))}):
        await peer(zmq.PUSH, place).send(b"1")

        assert await pipeline.got(1) == [b"1"]


async def test_an_ipc_address_that_is_a_file_of_somebody_is_left_alone(precious: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        async with running({"a": Queue(type="PULL", binds=[f"ipc://{precious}"])}):
            pass

    assert str(caught.value) == f"cannot bind queue 'a' to ipc://{precious}: file exists"


async def test_the_file_of_an_ipc_address_is_removed_at_the_end(folder: str) -> None:
    async with running({"a": Queue(type="PULL", binds=[f"ipc://{folder}/jobs"])}):
        assert names_in(folder) == ["jobs"]

    assert names_in(folder) == []


def names_in(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_socket_that_somebody_made_from_the_context_does_not_hold_up_the_end(
    is_closed: bool,
) -> None:
    async with asyncio.timeout(10):
        async with running({}) as r:
            theirs = r["zmq.context"].socket(zmq.PUSH)
            theirs.connect("tcp://127.0.0.1:1")
            theirs.send(b"to nobody")
            if is_closed:
                theirs.close()

    assert theirs.closed


async def test_all_queues_drain_together_as_long_as_the_application_says(peer: Peer) -> None:
    async def hang(baton: Any) -> None:
        await asyncio.Event().wait()

    pipeline = Recorder(is_async=True)
    pipeline.treat = hang
    queues = {n: Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline)) for n in ("a", "b")}
    with capture_logs() as lines:
        async with running(queues, drain_s=0.01) as r:
            for name in queues:
                await peer(zmq.PUSH, address(r[f"zmq.queue.{name}"])).send(b"1")
            await pipeline.got(2)

    assert [line for line in lines if line["log_level"] == "warning"] == [
        {"event": "messages cancelled", "queue": name, "count": 1, "log_level": "warning"}
        for name in queues
    ]


async def test_a_queue_that_is_not_essential_is_skipped_when_it_cannot_be_bound() -> None:
    async with running({"a": Queue(type="PULL", binds=[LOCAL])}) as r:
        place = address(r["zmq.queue.a"])
        with capture_logs() as lines:
            async with running({"b": Queue(type="PULL", binds=[place], essential=False)}) as other:
                assert "zmq.queue.b" not in other

    reason = f"cannot bind queue 'b' to {place}: address already in use"
    assert lines == [
        {"event": "queue lost", "queue": "b", "reason": reason, "log_level": "warning"}
    ]


async def test_an_option_that_the_socket_refuses_is_misconfigured() -> None:
    queue = Queue(type="PULL", binds=[LOCAL], sockopts={"RATE": -1})

    with pytest.raises(Misconfigured) as caught:
        async with running({"jobs": queue}):
            pass

    assert str(caught.value) == "cannot set the options of queue 'jobs': invalid argument"


async def test_the_same_queue_can_be_opened_again_at_once() -> None:
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL])}) as r:
        place = address(r["zmq.queue.jobs"])
    async with running({"jobs": Queue(type="PULL", binds=[place])}) as r:
        assert address(r["zmq.queue.jobs"]) == place


async def test_queues_that_other_machines_can_reach_are_named_once() -> None:
    queues = {
        "a": Queue(type="PULL", binds=["tcp://*:*"]),
        "b": Queue(type="PULL", binds=[LOCAL]),
        "c": Queue(type="PULL", binds=["tcp://0.0.0.0:*"], sockopts={"PLAIN_SERVER": True}),
    }
    with capture_logs() as lines:
        async with running(queues) as r:
            place = address(r["zmq.queue.a"])

    assert [line for line in lines if line["log_level"] == "warning"] == [
        {
            "event": "unauthenticated: other machines can reach these queues",
            "addresses": [place],
            "log_level": "warning",
        }
    ]


async def test_a_connect_to_a_wildcard_means_this_machine(peer: Peer) -> None:
    pull = peer(zmq.PULL)
    wildcard = place_of(pull).replace("127.0.0.1", "0.0.0.0")
    async with running({"jobs": Queue(type="PUSH", connects=[wildcard])}) as r:
        r["zmq.queue.jobs"].send(b"1")

        assert await read(pull) == b"1"


async def test_ipv6_is_spoken_where_an_address_needs_it() -> None:
    pipeline = Recorder()
    queue = Queue(type="PULL", binds=["tcp://[::1]:*"], processor=bound(pipeline))
    async with running({"in": queue}) as r:
        place = address(r["zmq.queue.in"])
        async with running({"out": Queue(type="PUSH", connects=[place])}) as other:
            other["zmq.queue.out"].send(b"1")
            await pipeline.got(1)

    assert place.startswith("tcp://[::1]:")


async def test_a_sub_gets_what_it_subscribes_to(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(
        type="SUB", binds=[LOCAL], processor=bound(pipeline), sockopts={"SUBSCRIBE": ["a", "b"]}
    )
    async with running({"news": queue}) as r:
        pub = peer(zmq.XPUB, address(r["zmq.queue.news"]))
        subscriptions = {await read(pub), await read(pub)}
        for word in (b"c1", b"b1", b"a1"):
            await pub.send(word)

        assert subscriptions == {b"\x01a", b"\x01b"}
        assert await pipeline.got(2) == [b"b1", b"a1"]


async def test_an_xpub_with_a_processor_gets_the_subscriptions(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="XPUB", binds=[LOCAL], processor=bound(pipeline))
    async with running({"news": queue}) as r:
        peer(zmq.SUB, address(r["zmq.queue.news"]))

        assert await pipeline.got(1) == [b"\x01"]


@pytest.mark.parametrize("kind", ["PAIR", "XREQ", "DEALER"])
async def test_two_way_queues_send_and_receive(peer: Peer, kind: Any) -> None:
    pipeline = Recorder()
    other = peer(zmq.PAIR if kind == "PAIR" else zmq.DEALER)
    queue = Queue(type=kind, connects=[place_of(other)], processor=bound(pipeline))
    async with running({"both": queue}) as r:
        r["zmq.queue.both"].send(b"ping")
        await other.send((await read(other)) + b" pong")

        assert await pipeline.got(1) == [b"ping pong"]


async def test_a_queue_can_be_closed_while_it_is_being_cancelled() -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with running({"jobs": Queue(type="PULL", binds=[LOCAL])}):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    await until(task.done)

    assert task.cancelled()
