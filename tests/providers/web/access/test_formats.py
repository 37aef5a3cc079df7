from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from piped.providers.web.access import formats
from piped.providers.web.access.formats import Facts

BEGAN = 1_750_000_000.987  # 2025-06-15, 15:06:40 UTC


@pytest.fixture(params=[("AAA0", "15:06:40 +0000"), ("BBB-5:30", "20:36:40 +0530")])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A time zone east of Greenwich or there, and what time it is then."""
    name, then = request.param
    yield from in_zone(name, then, monkeypatch)


@pytest.fixture
def west(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from in_zone("CCC3:30", "11:36:40 -0330", monkeypatch)


def in_zone(name: str, then: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", name)
    time.tzset()
    formats._local_time.cache_clear()
    yield then
    monkeypatch.undo()
    time.tzset()
    formats._local_time.cache_clear()


def test_the_combined_format_has_local_time_with_its_offset(zone: str) -> None:
    line = formats.combined(Facts(None, "::1", 400, 0, 7, BEGAN), "web.site")

    assert line == f'::1 - - [15/Jun/2025:{zone}] "-" 400 - "-" "-"\n'.encode()


def test_so_it_has_west_of_greenwich(west: str) -> None:
    line = formats.combined(Facts(None, "", 400, 9, 7, BEGAN), "web.site")

    assert line == f'- - - [15/Jun/2025:{west}] "-" 400 9 "-" "-"\n'.encode()


def test_what_is_not_known_is_null() -> None:
    line = formats.json(Facts(None, "", 408, 60, 7, BEGAN), "web.site")

    assert line == (
        b'{"time":"2025-06-15T15:06:40.987Z","site":"web.site","client":null,"user":null,'
        b'"method":null,"target":null,"protocol":null,"status":408,"bytes":60,"complete":true,'
        b'"duration_s":null,"referer":null,"user_agent":null,"journey":"7","route":null}\n'
    )


def test_signs_beyond_ascii_are_escaped_in_json() -> None:
    facts = Facts(None, "", 200, 0, 7, BEGAN)
    facts.route = "/\u00e9/\U0001f600"

    assert formats.json(facts, "s").endswith(b'"route":"/\\u00e9/\\ud83d\\ude00"}\n')
