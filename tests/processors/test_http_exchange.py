from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from piped.errors import DeadlineExceeded, RequestFailed, Unavailable
from piped.providers.http_client import HttpClient
from tests.processors.http_fakes import OK, FakeAnswer, FakeClient, failure, made_of, outcome, send
from tests.processors.http_service import Asked, Service, answer, serving

pytestmark = pytest.mark.anyio


class Middle(random.Random):
    """Makes each pause as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("expect", "status", "is_failure"),
    [
        ("", 399, False),
        ("", 400, True),
        ("", 500, True),
        (", expect: [2xx]", 299, False),
        (", expect: [2xx]", 300, True),
        (", expect: [404, 200]", 404, False),
        (", expect: [404]", 200, True),
    ],
)
async def test_a_status_is_expected_or_a_failure(
    expect: str, status: int, is_failure: bool
) -> None:
    client = FakeClient(FakeAnswer(b"so it is", status))

    found = await outcome(f"{{url: 'http://u.test/x?secret=1'{expect}}}", {}, client)

    if is_failure:
        assert isinstance(found, RequestFailed)
        assert str(found) == f"GET http://u.test/x: {status}: 'so it is'"
        assert (getattr(found, "status", None), found.http_status) == (status, 502)
    else:
        assert found["response"]["status"] == status


@pytest.mark.parametrize("size", [999, 1_000_000])
async def test_the_body_of_a_failure_is_cut(size: int) -> None:
    body = FakeAnswer(b"x" * size, 500, content_length=f"{size}")

    error = await failure("{url: 'http://a.test'}", {}, FakeClient(body))

    assert str(error) == f"GET http://a.test/: 500: 'x{'x' * 75}..."


async def test_a_service_that_is_away_is_a_failed_request(client: Any) -> None:
    async with serving() as service:
        url = service.url
        service.says(answer())

    error = await failure(f"{{url: '{url}/x'}}", {}, client)

    assert type(error) is RequestFailed
    assert str(error) == f"GET {url}/x: cannot connect: connection refused"


async def test_an_answer_that_drips_ends_with_the_deadline(service: Service, client: Any) -> None:
    async def drip(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", length=10_000_000))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    service.says(drip)

    error = await failure(f"{{url: '{service.url}/x?a=1', timeout: 50ms}}", {}, client)
    await service.gone.wait()

    assert isinstance(error, DeadlineExceeded)
    assert str(error) == f"GET {service.url}/x: no answer within 0.05 s"


async def test_a_connection_that_ends_in_the_body_is_a_failed_request(
    service: Service, client: Any
) -> None:
    async def leave(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"abc", length=9))
        await writer.drain()
        raise EOFError

    service.says(leave)

    error = await failure(f"{{url: '{service.url}'}}", {}, client)

    assert str(error) == (
        f"GET {service.url}/: peer closed connection without sending complete message body"
        " (received 3 bytes, expected 9)"
    )


async def test_a_cancelled_request_frees_its_connection(service: Service) -> None:
    async def hang(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    service.says(hang, answer(b"ok"))

    async with HttpClient(max_connections=1).running() as resources:
        client = resources["http_client"]
        task = asyncio.create_task(send(f"{{url: '{service.url}'}}", {}, client))
        await service.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        baton = await send(f"{{url: '{service.url}', output: bytes}}", {}, client)

    assert baton == {"response": b"ok"}


async def test_ten_requests_at_once_keep_their_answers_apart(service: Service) -> None:
    async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(asked.target.encode(), Set_Cookie=f"id={asked.target}"))
        await writer.drain()

    service.says(echo)
    text = f"{{url: '{service.url}/{{n}}', output: text}}"

    async with HttpClient(max_connections=3).running() as resources:
        client = resources["http_client"]
        batons = await asyncio.gather(*(send(text, {"n": n}, client) for n in range(10)))

    assert [each["response"] for each in batons] == [f"/{n}" for n in range(10)]
    assert service.connections <= 3
    assert not any("cookie" in each.headers for each in service.asked)


async def test_redirects_within_the_host_are_followed(service: Service, client: Any) -> None:
    service.says(answer(b"", 302, Location="/b?x=1"), answer(b"there"))

    text = f"{{url: '{service.url}/a', auth: {{bearer: t}}}}"
    baton = await send(text, {}, client)

    assert baton["response"]["url"] == f"{service.url}/b?x=1"
    assert [each.target for each in service.asked] == ["/a", "/b?x=1"]
    assert service.asked[1].headers["authorization"] == "Bearer t"
    assert service.connections == 1


async def test_redirects_can_be_left_alone() -> None:
    client = FakeClient(FakeAnswer(b"", 302, location="/b"))

    baton = await send("{url: 'http://a.test', redirects: none}", {}, client)

    assert baton["response"]["status"] == 302
    assert baton["response"]["headers"]["location"] == "/b"


@pytest.mark.parametrize(
    ("url", "location", "mode", "what"),
    [
        ("http://a.test", "http://b.test/", "same-host", "a redirect to another host, 'b.test:80'"),
        ("http://a.test", "//b.test/", "same-host", "a redirect to another host, 'b.test:80'"),
        ("http://a.test", "//a.test:8/", "same-host", "a redirect to another host, 'a.test:8'"),
        ("https://a.test", "http://a.test/", "same-host", "a redirect to 'a.test' without TLS"),
        ("https://a.test", "http://b.test/", "any", "a redirect to 'b.test' without TLS"),
        (
            "http://a.test",
            "file:///etc/passwd",
            "any",
            "a redirect to a wrong url: it begins neither with http:// nor with https://",
        ),
        ("http://a.test", "http://[", "any", "a redirect to a wrong url: it is no URL"),
        (
            "http://a.test",
            "http://u:p@b.test",
            "any",
            "a redirect to a wrong url: it carries a name or a password, which belong to 'auth'",
        ),
    ],
)  # fmt: skip
async def test_redirects_that_lead_astray_are_refused(
    url: str, location: str, mode: str, what: str
) -> None:
    client = FakeClient(FakeAnswer(b"", 302, location=location), OK)

    error = await failure(f"{{url: '{url}', redirects: {mode}}}", {}, client)

    assert str(error) == f"GET {url}/: {what}"
    assert len(client.asked) == 1


async def test_allowed_hosts_hold_for_redirects() -> None:
    client = FakeClient(FakeAnswer(b"", 302, location="http://169.254.169.254/"), OK)
    text = "{url: 'http://a.test', redirects: any, allow_hosts: [a.test]}"

    error = await failure(text, {}, client)

    assert str(error) == (
        "GET http://a.test/: a redirect to '169.254.169.254', which is none of the allow_hosts"
    )


async def test_another_host_gets_none_of_our_headers() -> None:
    client = FakeClient(FakeAnswer(b"", 307, location="https://b.test/x"), OK)
    text = (
        "{url: 'https://a.test', method: PUT, redirects: any, json: {a: 1}, auth: {bearer: t},"
        " headers: {x-key: k, cookie: c=1, accept: '*/*'}}"
    )

    await send(text, {}, client)

    assert client.asked[1] == (
        "PUT",
        "https://b.test/x",
        {"user-agent": "piped/1", "content-type": "application/json", "accept": "*/*"},
        b'{"a":1}',
    )


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
    ],
)
async def test_redirects_change_methods_as_http_says(method: str, status: int, then: str) -> None:
    client = FakeClient(FakeAnswer(b"", status, location="/b"), OK)

    await send(f"{{url: 'http://a.test', method: {method}, body: x}}", {}, client)

    [_, (asked, _, headers, body)] = client.asked
    keeps = method == then
    assert asked == then
    assert (body, "content-type" in headers) == ((b"x" if keeps else None), keeps)


async def test_a_loop_of_redirects_ends() -> None:
    client = FakeClient(FakeAnswer(b"", 302, location="/"))

    error = await failure("{url: 'http://a.test'}", {}, client)

    assert str(error) == "GET http://a.test/: more than 5 redirects"
    assert len(client.asked) == 6


async def tried(text: str, *answers: FakeAnswer | Exception) -> tuple[Any, int]:
    """Return the response or the error, and how often was asked."""
    client = FakeClient(*answers)
    found = await outcome(f"{{url: 'http://a.test', output: text, {text}}}", {}, client)
    return found["response"] if isinstance(found, dict) else found, len(client.asked)


BAD, GONE, CUT = FakeAnswer(b"", 503), Unavailable("no"), RequestFailed("cut")


@pytest.mark.parametrize(
    ("text", "answers", "result", "asked"),
    [
        ("retries: {delay: 0}", [BAD, CUT, OK], "ok", 3),
        ("retries: {delay: 0}", [BAD], "GET http://a.test/: 503 (attempt 3)", 3),
        ("timeout: 1s", [BAD, OK], "GET http://a.test/: 503", 1),
        ("retries: {delay: 0}", [FakeAnswer(b"", 500), OK], "GET http://a.test/: 500", 1),
        ("retries: {delay: 0, statuses: [500]}", [FakeAnswer(b"", 500), OK], "ok", 2),
        ("method: POST, retries: {delay: 0}", [BAD, OK], "GET http://a.test/: 503", 1),
        ("method: POST, retries: {delay: 0}", [CUT, OK], "GET http://a.test/: cut", 1),
        ("method: POST, retries: {delay: 0}", [GONE, OK], "ok", 2),
        ("method: POST, retries: {delay: 0}", [DeadlineExceeded("slow"), OK], "ok", 2),
        ("method: POST, retries: {delay: 0, unsafe: true}", [BAD, CUT, OK], "ok", 3),
        ("retries: {delay: 0}, max_size: 1", [OK], "GET http://a.test/: expected an answer of up"
         " to 1 bytes, got more", 1),
        ("retries: {attempts: 1}", [BAD, OK], "GET http://a.test/: 503", 1),
    ],
)  # fmt: skip
async def test_what_may_help_and_does_no_harm_is_tried_again(
    text: str, answers: list[FakeAnswer | Exception], result: str, asked: int
) -> None:
    found, count = await tried(text, *answers)

    assert (str(found).replace("POST", "GET"), count) == (result, asked)


async def test_an_attempt_that_hangs_makes_room_for_the_next(service: Service, client: Any) -> None:
    async def hang(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    service.says(hang, answer(b"ok"))
    retries = "{attempts: 100, attempt_timeout: 50ms, delay: 0}"  # a slow machine needs some more
    text = f"{{url: '{service.url}', output: bytes, retries: {retries}}}"

    baton = await send(text, {}, client)

    assert baton == {"response": b"ok"}


async def test_each_pause_is_longer_and_as_long_as_the_service_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("piped.processors._http_exchange.asyncio.sleep", pause)
    wants = FakeAnswer(b"", 429, retry_after="4")
    text = "http-request: {url: 'http://a.test', retries: {attempts: 6, delay: 1s, max_delay: 3s}}"
    made = made_of(text, FakeClient(BAD, BAD, BAD, BAD, wants, OK))
    made._random = Middle()

    await made.step()({})

    assert pauses == [1.0, 2.0, 3.0, 3.0, 4.0]


async def test_nobody_waits_for_longer_than_the_deadline() -> None:
    wants = FakeAnswer(b"", 503, retry_after="3600")

    error, asked = await tried("retries: {delay: 0}", wants, OK)

    assert (str(error), asked) == ("GET http://a.test/: 503", 1)
    assert error.retry_after_s == 3600.0


@pytest.mark.parametrize("when", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1", "", "9" * 5000])
async def test_a_time_that_is_over_or_none_is_no_reason_to_wait(when: str) -> None:
    wants = FakeAnswer(b"", 503, retry_after=when)

    found, asked = await tried("retries: {delay: 0}", wants, OK)

    assert (asked, f"{found}"[:2]) == ((1, "GE") if when.startswith("9") else (2, "ok"))
