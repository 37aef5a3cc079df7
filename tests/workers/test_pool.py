"""What a document may say of a pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from piped.app import blueprint_of
from piped.workers.pool import Pool, UnknownPool, pool_of

DOCUMENT = """\
workers:
    "%s": {transport: %s, pipelines: [echo]}
pipelines:
    echo: [{map: {lambda: "value: value"}}]
    ask: [{run-pipeline: {workers: "%s", pipeline: echo}}]
"""


def errors_of(folder: Path, name: str, transport: str) -> list[str]:
    file = folder / "service.yaml"
    file.write_text(DOCUMENT % (name, transport, name), encoding="utf-8")
    return [each.what for each in blueprint_of(file).errors]


@pytest.mark.parametrize("name", ["a b", "a.b", "a>", "a*", "ä", "a/b"])
def test_a_pool_over_nats_has_a_name_that_nats_takes(tmp_path: Path, name: str) -> None:
    errors = errors_of(tmp_path, name, "nats")

    expected = f"expected letters, digits, '-' and '_' in a name for NATS, got '{name}'"
    assert expected in errors


@pytest.mark.parametrize("name", ["a", "a-b", "a_B-2"])
def test_a_plain_name_is_good_for_nats(tmp_path: Path, name: str) -> None:
    errors = errors_of(tmp_path, name, "nats")

    assert not [each for each in errors if "expected letters" in each]


def test_other_transports_take_any_name(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, "a b", "local")

    assert not [each for each in errors if "expected letters" in each]


def test_a_pool_is_found_by_its_name_or_another_is_meant() -> None:
    pool = Pool(pipelines=[])
    pool.named("math")

    assert pool_of([pool], "math") is pool
    with pytest.raises(UnknownPool) as caught:
        pool_of([pool], "meth")
    assert str(caught.value) == "there is no pool 'meth' (did you mean 'math'?)"
