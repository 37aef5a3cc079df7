from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from piped import Service
from piped.observe.metrics.pipelines import MAX_PIPELINES
from tests.observe.conftest import Load
from tests.observe.metrics.conftest import ADMIN, scraped

pytestmark = pytest.mark.anyio

WORK = """\
pipelines:
    outer: [{run-pipeline: {pipeline: inner}}, passthrough]
    inner: [passthrough, {eval-lambda: {lambda: "b: 1 / b['by']"}}]
    careful:
        - eval-lambda: {lambda: "b: 1 / b['by']", error_consumers: [passthrough]}
        - passthrough
    scattered:
        - scatter-gather: {mapping: [{pipeline: inner, output_path: x}, {pipeline: inner}]}
    idle: [passthrough]
"""


async def test_each_run_of_a_pipeline_is_counted_and_so_are_errors(load: Load) -> None:
    async with load(ADMIN + WORK) as service:
        for by in (1, 2, 0):
            await asyncio.gather(service.call("outer", {"by": by}), return_exceptions=True)

        scrape = await scraped(service)

    names = ("runs_total", "failed_total", "cancelled_total", "in_flight")
    assert scrape.lines(*(f"piped_pipeline_{each}" for each in names)) == [
        'piped_pipeline_runs_total{pipeline="outer"} 3.0',
        'piped_pipeline_runs_total{pipeline="inner"} 3.0',
        'piped_pipeline_runs_total{pipeline="careful"} 0.0',
        'piped_pipeline_runs_total{pipeline="scattered"} 0.0',
        'piped_pipeline_runs_total{pipeline="idle"} 0.0',
        'piped_pipeline_failed_total{pipeline="outer"} 1.0',
        'piped_pipeline_failed_total{pipeline="inner"} 1.0',
        'piped_pipeline_failed_total{pipeline="careful"} 0.0',
        'piped_pipeline_failed_total{pipeline="scattered"} 0.0',
        'piped_pipeline_failed_total{pipeline="idle"} 0.0',
        'piped_pipeline_cancelled_total{pipeline="outer"} 0.0',
        'piped_pipeline_cancelled_total{pipeline="inner"} 0.0',
        'piped_pipeline_cancelled_total{pipeline="careful"} 0.0',
        'piped_pipeline_cancelled_total{pipeline="scattered"} 0.0',
        'piped_pipeline_cancelled_total{pipeline="idle"} 0.0',
        'piped_pipeline_in_flight{pipeline="outer"} 0.0',
        'piped_pipeline_in_flight{pipeline="inner"} 0.0',
        'piped_pipeline_in_flight{pipeline="careful"} 0.0',
        'piped_pipeline_in_flight{pipeline="scattered"} 0.0',
        'piped_pipeline_in_flight{pipeline="idle"} 0.0',
    ]
    assert scrape("piped_pipeline_seconds_total", pipeline="outer") > 0
    assert scrape("piped_pipeline_seconds_total", pipeline="idle") == 0


async def test_each_processor_is_counted_with_its_errors_and_its_place(load: Load) -> None:
    async with load(ADMIN + WORK) as service:
        for by in (1, 2, 0):
            await asyncio.gather(service.call("outer", {"by": by}), return_exceptions=True)
            await service.call("careful", {"by": by})

        scrape = await scraped(service)

    found = {
        labels: (value, scrape.samples["piped_processor_failed_total", labels])
        for (name, labels), value in scrape.samples.items()
        if name == "piped_processor_runs_total" and value
    }
    assert {tuple(dict(labels).values()): both for labels, both in found.items()} == {
        ("outer", "service.yaml:4", "run-pipeline"): (3, 1),
        ("outer", "service.yaml:4", "passthrough"): (2, 0),
        ("inner", "service.yaml:5", "passthrough"): (3, 0),
        ("inner", "service.yaml:5", "eval-lambda"): (3, 1),
        ("careful", "service.yaml:7", "eval-lambda"): (3, 1),
        ("careful", "service.yaml:7", "passthrough"): (1, 0),
        ("careful", "service.yaml:8", "passthrough"): (2, 0),
    }
    assert all(scrape.by("piped_processor_seconds_total", "processor", pipeline="outer").values())


async def test_pipelines_count_that_others_call_many_times(load: Load) -> None:
    async with load(ADMIN + WORK) as service:
        await service.call("scattered", {"by": 1})

        scrape = await scraped(service)

    assert scrape("piped_pipeline_runs_total", pipeline="scattered") == 1
    assert scrape("piped_pipeline_runs_total", pipeline="inner") == 2


async def test_a_run_that_is_cancelled_is_no_error(load: Load) -> None:
    text = """\
contexts: {gate: {}}
pipelines:
    gate: [{fetch-context: {context: gate, output_path: ''}}]
    slow:
        - passthrough
        - fetch-context: {context: gate}
        - exec-code:
            input_path: ''
            code: |
                baton['gate']['came'].set()
                await baton['gate']['open'].wait()
                return baton
        - passthrough
"""
    async with load(ADMIN + text) as service:
        [gate] = await service.call("gate", {})
        gate["came"], gate["open"] = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(service.call("slow", {}))
            await gate["came"].wait()
            task.cancel()

        scrape = await scraped(service)

    assert scrape("piped_pipeline_runs_total", pipeline="slow") == 1
    assert scrape("piped_pipeline_failed_total", pipeline="slow") == 0
    assert scrape("piped_pipeline_cancelled_total", pipeline="slow") == 1
    assert scrape.by("piped_processor_runs_total", "place", pipeline="slow") == {
        "service.yaml:7": 1,
        "service.yaml:8": 1,
        "service.yaml:9": 1,
        "service.yaml:15": 0,
    }


async def test_processors_that_share_a_line_and_a_name_are_counted_together(load: Load) -> None:
    text = "pipelines: {p: [passthrough, passthrough]}\n"
    async with load(ADMIN + text) as service:
        await service.call("p", {})

        scrape = await scraped(service)

    place = '{pipeline="p",place="service.yaml:3",processor="passthrough"}'
    assert scrape.lines("piped_processor_runs_total") == [f"piped_processor_runs_total{place} 2.0"]


async def test_no_more_pipelines_are_shown_than_are_good_for_prometheus(load: Load) -> None:
    text = "pipelines:\n"
    for number in range(MAX_PIPELINES + 5):
        text += f"    p{number}: [passthrough]\n"
    async with load(ADMIN + text) as service:
        scrape = await scraped(service)

    assert len(scrape.by("piped_pipeline_runs_total", "pipeline")) == MAX_PIPELINES
    assert len(scrape.by("piped_processor_runs_total", "pipeline")) == MAX_PIPELINES


async def test_the_name_of_a_document_need_not_be_text(tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.yaml"
    file.write_text(ADMIN + "pipelines: {p: [passthrough]}\n")
    async with Service.load(file) as service:
        scrape = await scraped(service)

    place = '{pipeline="p",place="caf?.yaml:2",processor="passthrough"}'
    assert scrape.lines("piped_processor_runs_total") == [f"piped_processor_runs_total{place} 0.0"]
