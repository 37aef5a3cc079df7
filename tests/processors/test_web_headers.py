from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from piped.providers.web.headers import Headers
from tests.processors.conftest import FakeRequest, Make, Problems, Run

AT_NOON = 1769860800.9  # Saturday, 31 January 2026, 12:00 in Greenwich


class Asked:
    """What a client has asked, and from where."""

    def __init__(self, client_ip: str = "192.0.2.1", **headers: str) -> None:
        self.is_finished = False
        self.client_ip = client_ip
        fields = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        self.headers = Headers(fields)


def test_determine_ip_is_that_of_the_peer(run: Run) -> None:
    request = Asked(x_forwarded_for="203.0.113.9")

    assert run("determine-ip: {}", {"request": request})["ip"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 198.51.100.2, 198.51.100.3", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::1, 198.51.100.2", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("unknown", "192.0.2.1"),
        ("", "192.0.2.1"),
        (", 198.51.100.2", "192.0.2.1"),
        ("fe80::1%<script>", "192.0.2.1"),
        ("203.0.113.999", "192.0.2.1"),
    ],
)
def test_determine_ip_asks_the_proxy(run: Run, header: str, address: str) -> None:
    request = Asked(x_forwarded_for=header)

    assert run("determine-ip: {proxied: true}", {"request": request})["ip"] == address


def test_determine_ip_takes_another_header_and_path(run: Run) -> None:
    text = """
        determine-ip:
          request_path: web
          proxied: true
          proxy_header: X-Real-IP
          output_path: client.ip
    """
    request = Asked(x_real_ip="203.0.113.9")

    assert run(text, {"web": request}) == {"web": request, "client": {"ip": "203.0.113.9"}}


@pytest.mark.parametrize(
    ("headers", "got"), [({}, "''"), ({"x_forwarded_for": "unknown, a"}, "'unknown, a'")]
)
def test_determine_ip_fails_where_the_proxy_tells_none(
    run: Run, headers: dict[str, str], got: str
) -> None:
    text = "determine-ip: {proxied: true, fail_if_not_proxied: true}"

    with pytest.raises(BatonError) as raised:
        run(text, {"request": Asked(**headers)})

    assert str(raised.value) == f"expected an address in 'x-forwarded-for', got {got}"


def test_determine_ip_asks_no_proxy_where_there_is_none(run: Run) -> None:
    text = "determine-ip: {fail_if_not_proxied: true}"

    assert run(text, {"request": Asked()})["ip"] == "192.0.2.1"


@pytest.mark.parametrize("proxied", ["true", "false"])
def test_determine_ip_fails_where_nobody_knows_it(run: Run, proxied: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"determine-ip: {{proxied: {proxied}}}", {"request": Asked(client_ip="")})

    assert str(raised.value) == "the client of the request has no address"


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", "192.0.2.1"), ("skip_if_request_stopped: true", None)],
)
def test_determine_ip_looks_at_finished_requests_too(
    run: Run, options: str, expected: str | None
) -> None:
    request = Asked()
    request.is_finished = True

    assert run(f"determine-ip: {{{options}}}", {"request": request}).get("ip") == expected


@pytest.mark.parametrize(
    ("span", "date", "age"),
    [
        ("{days: 1, hours: 2, minutes: 3, seconds: 4}", "Sun, 01 Feb 2026 14:03:04 GMT", 93784),
        ("{hours: 1.5}", "Sat, 31 Jan 2026 13:30:00 GMT", 5400),
        ("{}", "Sat, 31 Jan 2026 12:00:00 GMT", 0),
        ("36h", "Mon, 02 Feb 2026 00:00:00 GMT", 129600),
        ("60", "Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("999ms", "Sat, 31 Jan 2026 12:00:00 GMT", 0),
        ("2147483647", "Thu, 18 Feb 2094 15:14:07 GMT", 2147483647),
    ],
)
def test_set_http_expires_tells_a_date_in_gmt(
    make: Make, request_: FakeRequest, span: str, date: str, age: int
) -> None:
    made = make(f"set-http-expires: {{timedelta: {span}}}")
    made._time = lambda: AT_NOON
    request_.set_header("Cache-Control", "no-store")
    baton = {"request": request_}

    result = made.step()(baton)

    assert result is baton
    assert request_.headers == [("expires", date), ("cache-control", f"public,max-age={age}")]


def test_set_http_expires_skips_a_finished_request(run: Run, request_: FakeRequest) -> None:
    request_.is_finished = True

    run("set-http-expires: {timedelta: 1h}", {"request": request_})

    assert request_.headers == []


@pytest.mark.parametrize(("baton", "got"), [({}, "nothing"), ({"request": 5}, "int")])
@pytest.mark.parametrize("text", ["determine-ip: {}", "set-http-expires: {timedelta: 1h}"])
def test_they_need_a_request(run: Run, text: str, baton: Any, got: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(text, baton)

    assert str(raised.value) == f"expected a request at 'request', got {got}"


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ("25000d", "expected at most 2147483647 seconds, got 2160000000"),
        ("{days: 25000}", "expected at most 2147483647 seconds, got 2160000000"),
        ("{days: -1}", "expected int or float >= 0, got -1"),
        (
            "{weeks: 1}",
            "span has no parameter 'weeks' (known: days, hours, minutes, seconds)",
        ),
        ("soon", "expected duration or mapping, got 'soon'"),
    ],
)
def test_set_http_expires_is_checked(problems: Problems, span: str, message: str) -> None:
    assert problems(f"set-http-expires: {{timedelta: {span}}}") == [message]
