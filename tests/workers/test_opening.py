"""Fronts and workers of one document, opened as `piped run` and `piped work` open them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from piped.app import Service, blueprint_of

pytestmark = pytest.mark.anyio

OWN_POOL = """
workers:
  math: {transport: zmq, listen: "ipc://%s", pipelines: [double, twice], deadline: 8s}
pipelines:
  double: [{eval-lambda: {lambda: "n: n * 2"}}]
  twice: [{run-pipeline: {pipeline: double, workers: math}}, {run-pipeline: {pipeline: double}}]
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "service.yaml"
    file.write_text(OWN_POOL % (tmp_path / "math"), encoding="utf-8")
    return file


async def test_a_pipeline_of_a_pool_may_send_parts_to_this_pool(document: Path) -> None:
    async with Service.load(document) as front, Service(blueprint_of(document), work="math"):
        async with asyncio.timeout(8):
            pool: Any = await front.resources["workers.math"].wait()
            results = await pool.call("twice", 3)

    assert results == [12]


async def test_a_baton_too_long_for_a_frame_harms_no_worker(document: Path) -> None:
    async with Service.load(document) as front, Service(blueprint_of(document), work="math"):
        async with asyncio.timeout(8):
            pool: Any = await front.resources["workers.math"].wait()
            for value in ("x" * (9 << 20), "x" * (5 << 20)):  # it, or its results, are too long
                with pytest.raises(Exception, match="expected at most 8323072 bytes, got "):
                    await pool.call("double", value)
            results = await pool.call("double", 3)

    assert results == [6]
    assert pool.counters.redelivered == 0
