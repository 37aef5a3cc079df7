from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from piped.errors import BatonError
from piped.providers.nats import Bucket, Connection, NatsBucket
from piped.providers.nats.errors import WrongRevision
from tests.providers.nats.conftest import running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bucket(connection: Connection) -> AsyncIterator[Bucket]:
    unit = NatsBucket(storage="memory", bucket=f"b{secrets.token_hex(4)}")
    unit.named("users")
    async with running(unit, connection) as resources:
        yield resources["nats.kv.users"]


async def test_what_is_put_is_there(bucket: Bucket) -> None:
    revision = await bucket.put("users.7", {"name": "Ada"})

    assert await bucket.get("users.7") == ({"name": "Ada"}, revision)
    assert await bucket.keys() == ["users.7"]


async def test_nothing_is_there_at_first_and_when_it_was_deleted(bucket: Bucket) -> None:
    assert await bucket.get("a") is None
    assert await bucket.keys() == []
    await bucket.put("a", 1)

    await bucket.delete("a")

    assert await bucket.get("a") is None


async def test_a_value_that_somebody_has_changed_is_not_overwritten(bucket: Bucket) -> None:
    first = await bucket.put("a", 1, 0)
    await bucket.put("a", 2, first)

    for revision in (0, first):
        with pytest.raises(WrongRevision) as raised:
            await bucket.put("a", 3, revision)

        what = f"'a' of 'users' has changed: expected revision {revision}"
        assert str(raised.value) == what

    found = await bucket.get("a")
    assert found is not None
    assert found.value == 2


async def test_a_key_must_be_a_key(bucket: Bucket) -> None:
    with pytest.raises(BatonError) as raised:
        await bucket.put("a b", 1)

    assert str(raised.value) == "expected a key such as users.7, got 'a b'"


async def test_a_value_must_be_one_that_the_format_can_say(bucket: Bucket) -> None:
    with pytest.raises(BatonError) as raised:
        await bucket.put("a", object())

    what = "cannot say as JSON: encoding objects of type object is unsupported"
    assert str(raised.value) == what


async def test_the_same_bucket_is_opened_again(connection: Connection) -> None:
    unit = NatsBucket(storage="memory", bucket=f"b{secrets.token_hex(4)}")
    unit.named("users")
    async with running(unit, connection) as resources:
        await resources["nats.kv.users"].put("a", 1)

    async with running(unit, connection) as resources:
        found = await resources["nats.kv.users"].get("a")

    assert found.value == 1


def test_a_bucket_needs_a_name() -> None:
    [problem] = NatsBucket(bucket="a b").check()

    assert problem.what == "expected letters, digits, '-' and '_', got 'a b'"
