from __future__ import annotations

import asyncio
import secrets
import textwrap
from pathlib import Path
from typing import Any

import pytest

from piped.app import Service
from piped.errors import ConfigError
from tests.providers.nats.conftest import Server

pytestmark = pytest.mark.anyio


def written(folder: Path, text: str) -> Path:
    path = folder / "service.yaml"
    path.write_text(textwrap.dedent(text))
    return path


async def test_a_document_answers_requests_over_nats(shared: Server, tmp_path: Path) -> None:
    subject = f"t{secrets.token_hex(4)}"
    path = written(
        tmp_path,
        f"""
        nats:
          connections: {{main: {{servers: "{shared.url}"}}}}
          subjects:
            double: {{subject: {subject}, processor: pipeline.double, format: json}}
        pipelines:
          double: [{{eval-lambda: {{lambda: "baton: baton['message'] * 2"}}}}]
          ask:
            - request-nats: {{subject: {subject}, input_path: n, output_path: n, format: json}}
        """,
    )

    async with Service.load(path) as service:
        answers = await service.call("ask", {"n": 21})

    assert answers == [{"n": 42}]


async def test_a_document_keeps_jobs_and_values_on_a_server_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        nats:
          connections: {main: {embedded: true}}
          streams: {jobs: {subjects: [jobs.>]}}
          consumers:
            jobs: {stream: jobs, durable: workers, processor: pipeline.work, format: json}
          kv: {done: {}}
        pipelines:
          work:
            - store-nats-value: {bucket: done, key: !path message.id, input_path: message}
          submit:
            - publish-nats-message:
                {subject: jobs.new, format: json, jetstream: true, message_id: !path id}
          look:
            - fetch-nats-value: {bucket: done, key: !path id, output_path: ''}
        """,
    )

    async with Service.load(path) as service:
        await service.call("submit", {"id": "a"})
        found: list[Any] = [None]
        async with asyncio.timeout(10):
            while found == [None]:
                found = await service.call("look", {"id": "a"})

    assert found == [{"id": "a"}]
    assert (tmp_path / ".piped" / "nats" / "jetstream").is_dir()


async def test_a_connection_that_nobody_needs_is_not_opened(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        nats: {connections: {main: {servers: "127.0.0.1:1"}}}
        pipelines:
          other: [passthrough]
        """,
    )

    async with Service.load(path) as service:
        assert await service.call("other", 1) == [1]


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (
            "connections: {main: {servers: 'http://a'}}",
            "expected a URL such as nats://",
        ),
        (
            "connections: {main: {embedded: true, servers: a}}",
            "expected 'servers' or 'embedded', got both",
        ),
        (
            "connections: {main: {embedded: true, token: a}}",
            "an embedded server has a token of its own",
        ),
        (
            "connections: {main: {token: a, nkey: b}}",
            "expected one of them, got 'token' and 'nkey'",
        ),
        ("connections: {main: {user: a}}", "expected 'user' and 'password' together"),
        ("connections: {main: {tls: {cert: a}}}", "expected 'cert' and 'key' together"),
        ("kv: {a: {connection: man}}", "nobody provides 'nats.man'"),
    ],
)
def test_what_cannot_be_is_a_problem(tmp_path: Path, section: str, text: str) -> None:
    path = written(
        tmp_path,
        f"""
        nats: {{{section}}}
        pipelines:
          a: [{{fetch-nats-value: {{bucket: a, key: b}}}}, {{request-nats: {{subject: a}}}}]
        """,
    )

    with pytest.raises(ConfigError) as raised:
        Service.load(path)

    assert text in str(raised.value)
