"""The lifespan of mounted applications: it begins before the first request, ends after the last."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.app import Service, blueprint_of
from piped.reload import CannotReload
from piped.resources.supervisor import EssentialFailed
from tests.conftest import Clock, turn, until
from tests.providers.web.asgi.support import (
    START,
    Mounted,
    Receive,
    Scope,
    Send,
    document,
    module,
    mounting,
    server_of,
)
from tests.providers.web.support import request_bytes
from tests.providers.web.websocket.support import CLOSE, closing

pytestmark = pytest.mark.anyio

MOUNTED = {"__config__": {"asgi": "shop:app"}}


class App:
    """An application with a lifespan, which notes what it hears and tells its name in answers."""

    def __init__(self, name: str = "", startup: Any = None, shutdown: Any = None) -> None:
        self.name = name
        self.startup = startup or {"type": "lifespan.startup.complete"}
        self.shutdown = shutdown or {"type": "lifespan.shutdown.complete"}
        self.heard: list[str] = []
        self.held: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            self.heard.append("session")
            self.heard.append((await receive())["type"])
        else:
            self.heard.append(scope["path"])
            if scope["path"] == "/held":
                self.held = asyncio.Event()
                await self.held.wait()
            await send(START)
            body = f"{self.name} {scope['state']}".encode()
            await send({"type": "http.response.body", "body": body})

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heard.append((await receive())["type"])
        scope["state"]["from"] = "lifespan"
        await send(self.startup)
        if self.startup["type"].endswith("complete"):
            self.heard.append((await receive())["type"])
            await send(self.shutdown)


async def test_a_lifespan_encloses_the_requests_and_shares_its_state_with_them() -> None:
    app = App()
    async with mounting(app) as served:
        before = [*app.heard]
        client = await served.connect()
        got = await client.get("/a")
        client.close()

    assert before == ["lifespan.startup"]
    assert got.body == b" {'from': 'lifespan'}"
    assert app.heard == ["lifespan.startup", "/a", "lifespan.shutdown"]


async def test_what_a_request_does_to_the_state_is_its_own() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        seen.append({**scope["state"]})
        scope["state"]["mine"] = True
        await send(START)
        await send({"type": "http.response.body"})

    async with mounting(app) as served:
        client = await served.connect()
        await client.get()
        await client.get()
        client.close()

    assert seen == [{}, {}]


async def test_an_application_without_a_lifespan_is_served_all_the_same() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await receive()
            raise TypeError("only http here")
        await send(START)
        await send({"type": "http.response.body", "body": b"hello"})

    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            got = await client.get()
            client.close()

    (line,) = [each for each in logs if "app" in each]
    assert got.body == b"hello"
    assert (line["event"], line["error"], line["log_level"]) == (
        "application left its lifespan, going on without",
        "TypeError: only http here",
        "warning",
    )


async def test_an_application_that_cannot_start_keeps_the_service_from_starting() -> None:
    trace = "Traceback (most recent call last):\n  ...\nOSError: no database\n"
    app = App(startup={"type": "lifespan.startup.failed", "message": trace})

    with pytest.raises(EssentialFailed) as caught:
        async with mounting(app):
            pass

    assert str(caught.value) == (
        "asgi.shop:app: the application 'shop:app' did not start: OSError: no database"
    )


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3)])
async def test_an_application_that_gives_up_keeps_the_service_from_starting(
    error: BaseException,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise error

    with pytest.raises(EssentialFailed) as caught:
        async with mounting(app):
            pass

    assert str(caught.value) == (
        "asgi.shop:app: the application 'shop:app' did not start: the application gave up:"
        f" {type(error).__name__}"
    )


async def test_a_site_that_may_fail_waits_for_no_application() -> None:
    app = App(startup={"type": "lifespan.startup.failed"})

    async with mounting(app, site={"essential": False}) as served:
        client = await served.connect()
        got = await client.get()
        client.close()

    assert got.status == 503


async def test_what_goes_wrong_at_the_end_is_told() -> None:
    app = App(shutdown={"type": "lifespan.shutdown.failed", "message": "OSError: too late"})

    with capture_logs() as logs:
        async with mounting(app):
            pass

    (line,) = [each for each in logs if each["log_level"] == "error"]
    assert (line["event"], line["reason"]) == (
        "application did not end well",
        "OSError: too late",
    )


async def test_what_does_not_keep_to_the_order_is_told_of() -> None:
    app = App(shutdown={"type": "lifespan.startup.complete"})

    with capture_logs() as logs:
        async with mounting(app):
            pass

    (line,) = [each for each in logs if each["log_level"] == "error"]
    assert line["error"] == (
        "ApplicationError: expected 'lifespan.shutdown.complete' from the application,"
        " got 'lifespan.startup.complete'"
    )


async def test_a_factory_is_called_once_for_all_routes_and_sites(tmp_path: Path) -> None:
    made: list[App] = []

    def make() -> App:
        made.append(App())
        return made[-1]

    node = {"__config__": {"asgi": {"app": "shop:make", "factory": True}}}
    file = document(tmp_path, {"a": node, "b": node})
    with module(make=make):
        async with Service.load(file) as service:
            client = await Mounted(service, server_of(service)).connect()
            bodies = [(await client.get(f"/{each}")).body for each in "ab"]
            client.close()

    assert bodies == [b" {'from': 'lifespan'}"] * 2
    assert [each.heard for each in made] == [["lifespan.startup", "/a", "/b", "lifespan.shutdown"]]


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (ZeroDivisionError("no"), "the factory 'shop:app' failed: ZeroDivisionError: no"),
        ("text", "expected an ASGI application at 'shop:app()', got str"),
    ],
)
async def test_a_factory_that_makes_none_keeps_the_service_from_starting(
    made: Any, fault: str
) -> None:
    def make() -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.raises(EssentialFailed) as caught:
        async with mounting(make, asgi={"app": "shop:app", "factory": True}):
            pass

    assert str(caught.value) == f"asgi.shop:app(): {fault}"


async def test_only_what_a_site_leads_to_is_started(tmp_path: Path) -> None:
    app = App()
    with module(app=app):
        file = document(tmp_path, MOUNTED, {"enabled": False})
        async with Service.load(file):
            pass

    assert app.heard == []


async def test_an_application_that_is_not_changed_goes_on_at_a_reload(tmp_path: Path) -> None:
    app = App("one")
    with module(app=app):
        async with Service.load(document(tmp_path, MOUNTED)) as service:
            served = Mounted(service, server_of(service))
            client = await served.connect()
            before = await client.get("/a")
            changed = blueprint_of(document(tmp_path, MOUNTED, {"max_body": "2MiB"}))
            difference = await service.reload(changed)
            after = await client.get("/b")
            client.close()

    assert (difference.changed, before.body) == (("web.site",), after.body)
    assert app.heard == ["lifespan.startup", "/a", "/b", "lifespan.shutdown"]


async def test_a_new_application_starts_before_requests_are_led_there_and_the_old_ends_after_its(
    tmp_path: Path,
) -> None:
    one, two = App("one"), App("two")
    with module(app=one, other=two):
        async with Service.load(document(tmp_path, MOUNTED)) as service:
            served = Mounted(service, server_of(service))
            slow, quick = await served.connect(), await served.connect()
            await slow.send(request_bytes("/held"))
            await until(lambda: one.held)
            other = {"__config__": {"asgi": "shop:other"}}
            await service.reload(blueprint_of(document(tmp_path, other)))
            started = [*two.heard]
            new = await quick.get("/new")
            is_old_running = "lifespan.shutdown" not in one.heard
            assert one.held is not None
            one.held.set()
            old = await slow.answer()
            await until(lambda: "lifespan.shutdown" in one.heard)
            slow.close()
            quick.close()

    assert started == ["lifespan.startup"]
    assert is_old_running
    assert (old.body, new.body) == (b"one {'from': 'lifespan'}", b"two {'from': 'lifespan'}")
    assert two.heard == ["lifespan.startup", "/new", "lifespan.shutdown"]


async def test_an_application_that_cannot_start_leaves_the_old_one_running(
    tmp_path: Path,
) -> None:
    one = App("one")
    two = App("two", startup={"type": "lifespan.startup.failed", "message": "OSError: no"})
    with module(app=one, other=two):
        async with Service.load(document(tmp_path, MOUNTED)) as service:
            client = await Mounted(service, server_of(service)).connect()
            other = {"__config__": {"asgi": "shop:other"}}
            with pytest.raises(CannotReload) as caught:
                await service.reload(blueprint_of(document(tmp_path, other)))
            got = await client.get("/a")
            client.close()

    assert str(caught.value) == (
        "asgi.shop:other: the application 'shop:other' did not start: OSError: no"
    )
    assert got.body == b"one {'from': 'lifespan'}"
    assert one.heard == ["lifespan.startup", "/a", "lifespan.shutdown"]


class TestTime:
    """What waits for an application, and for how long."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_an_application_that_is_silent_at_its_start_is_given_up(
        self, clock: Clock
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.Event().wait()

        async def start() -> None:
            async with mounting(app, asgi={"app": "shop:app", "startup_timeout": "3s"}):
                pass

        starting = asyncio.ensure_future(start())
        await turn(100)
        await clock.advance(4, turns=100)
        with pytest.raises(EssentialFailed) as caught:
            await starting

        assert str(caught.value) == (
            "asgi.shop:app: the application 'shop:app' did not start: nothing was heard of it"
            " for 3 s"
        )

    async def test_the_sessions_of_an_application_that_is_taken_away_are_ended(
        self, clock: Clock, tmp_path: Path
    ) -> None:
        one, two = App("one"), App("two")
        with module(app=one, other=two):
            async with Service.load(document(tmp_path, MOUNTED)) as service:
                client = await Mounted(service, server_of(service)).connect()
                await client.open()
                other = {"__config__": {"asgi": "shop:other"}}
                await service.reload(blueprint_of(document(tmp_path, other)))
                opcode, payload = await client.frame()
                await client.send(closing(1001))
                rest = await client.rest()
                await until(lambda: "lifespan.shutdown" in one.heard)
                client.close()

        assert (opcode, payload, rest) == (CLOSE, b"\x03\xe9", b"")
        assert one.heard == [
            *("lifespan.startup", "session", "websocket.disconnect", "lifespan.shutdown")
        ]
