from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from piped.providers.web import passwords
from piped.providers.web.passwords import Hash, TooManyPasswords, Verifier, hashed, read_hash
from tests.conftest import Clock, until
from tests.providers.web.support import cheap

pytestmark = pytest.mark.anyio

CHEAP = "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$YJRpPTSSBL0Ww9nZJ0VWbmEvMmVvYy9lY2hv"
ONE, TWO = cheap("one"), cheap("two")


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
        verifier = Verifier()

        assert await verifier.verify(ONE, "one")
        assert verifier.knows(ONE, "one")
        assert not verifier.knows(ONE, "two")
        assert not verifier.knows(TWO, "one")
        await clock.advance(passwords.REMEMBERED_S + 1)
        assert not verifier.knows(ONE, "one")


async def test_a_wrong_password_and_that_of_a_decoy_are_not_remembered() -> None:
    verifier, decoy = Verifier(), ONE.decoy()

    assert not await verifier.verify(ONE, "two")
    assert not await verifier.verify(decoy, "one")
    assert not verifier.knows(ONE, "two")
    assert not verifier.knows(decoy, "one")
    assert (decoy.ln, decoy.r, decoy.p) == (ONE.ln, ONE.r, ONE.p)


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
    verifier = Verifier()
    async with asyncio.TaskGroup() as tasks:
        many = [tasks.create_task(verifier.verify(ONE, f"{i}")) for i in range(34)]
        await until(lambda: running == 2)

        with pytest.raises(TooManyPasswords, match="34 passwords wait to be verified"):
            await verifier.verify(ONE, "one")
        assert running == 2
        gate.set()

    assert [each.result() for each in many] == [False] * 34


async def test_remembered_passwords_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED", 2)
    verifier, hashes = Verifier(), {name: cheap(name) for name in "abc"}
    for name in "abc":
        await verifier.verify(hashes[name], name)

    assert [verifier.knows(hashes[name], name) for name in "abc"] == [False, True, True]
