from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from piped.providers.web import passwords
from piped.providers.web.passwords import Hash, TooManyPasswords, Verifier, hashed, read_hash
from tests.conftest import Clock, until

pytestmark = pytest.mark.anyio

CHEAP = "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$YJRpPTSSBL0Ww9nZJ0VWbmEvMmVvYy9lY2hv"


async def test_a_hash_matches_its_password_only() -> None:
    made = read_hash(str(hashed("sésame")))

    assert made.matches("sésame")
    assert not made.matches("sesame")


async def test_a_hash_is_text_that_can_be_read_again() -> None:
    assert str(read_hash(CHEAP)) == CHEAP


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("secret", "expected a hash such as $scrypt$ln=15,r=8,p=1$..., got other text"),
        ("$2b$12$x", "expected a hash such as $scrypt$ln=15,r=8,p=1$..., got other text"),
        (CHEAP[:30], "expected a hash such as $scrypt$ln=15,r=8,p=1$..., got other text"),
        (
            CHEAP.replace("ln=4", "ln=21"),
            "expected a hash of at most 256 MiB, got ln=21, r=8, p=1",
        ),
        (
            CHEAP.replace("r=8", "r=999").replace("ln=4", "ln=20"),
            "expected a hash of at most 256 MiB, got ln=20, r=999, p=1",
        ),
        (CHEAP.replace("p=1", "p=0"), "expected a hash of at most 256 MiB, got ln=4, r=8, p=0"),
    ],
)
async def test_what_is_no_hash_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_hash(text)

    assert f"{caught.value}" == problem


class TestTime:
    @pytest.fixture
    def anyio_backend(self, movable_loop: Any) -> Any:
        return movable_loop

    async def test_a_right_password_is_remembered_for_a_while(self, clock: Clock) -> None:
        verifier = Verifier({"ann": _cheap("one"), "bob": _cheap("two")})

        assert await verifier.verify("ann", "one")
        assert verifier.knows("ann", "one")
        assert not verifier.knows("ann", "two")
        assert not verifier.knows("bob", "one")
        await clock.advance(passwords.REMEMBERED_S + 1)
        assert not verifier.knows("ann", "one")


async def test_a_wrong_password_and_an_unknown_user_are_not_remembered() -> None:
    verifier = Verifier({"ann": _cheap("one")})

    assert not await verifier.verify("ann", "two")
    assert not await verifier.verify("eve", "one")
    assert not verifier.knows("ann", "two")
    assert not verifier.knows("eve", "one")


async def test_few_passwords_are_verified_at_a_time_and_few_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, running = threading.Event(), 0

    def matches(_hash: Hash, _password: str) -> bool:
        nonlocal running
        running += 1
        gate.wait(60)
        return False

    monkeypatch.setattr(Hash, "matches", matches)
    verifier = Verifier({"ann": _cheap("one")})
    async with asyncio.TaskGroup() as tasks:
        many = [tasks.create_task(verifier.verify("ann", f"{i}")) for i in range(34)]
        await until(lambda: running == 2)

        with pytest.raises(TooManyPasswords, match="34 passwords wait to be verified"):
            await verifier.verify("ann", "one")
        assert running == 2
        gate.set()

    assert [each.result() for each in many] == [False] * 34


async def test_remembered_passwords_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED", 2)
    verifier = Verifier({name: _cheap(name) for name in "abc"})
    for name in "abc":
        await verifier.verify(name, name)

    assert [verifier.knows(name, name) for name in "abc"] == [False, True, True]


def _cheap(password: str) -> Hash:
    """Return a hash that costs next to nothing."""
    salt = b"salt of the test"
    return Hash(4, 8, 1, salt, passwords._scrypt(password, Hash(4, 8, 1, salt, bytes(32))))
