from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from piped.observe.metrics import GROUPS, LAG, Exposition
from piped.observe.metrics.measures import Group, Measure
from tests.observe.conftest import Load, front_of
from tests.observe.metrics.conftest import ADMIN, scraped

pytestmark = pytest.mark.anyio

POOL = "fake_pools: {names: [math]}\n"


async def test_the_service_its_providers_and_the_process_are_shown(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        front_of(service, "math").is_served = False

        scrape = await scraped(service)

    assert scrape("piped_ready") == 0
    assert scrape("piped_pool_served", pool="math") == 0
    states = scrape.by("piped_provider_state", "state")
    assert states == {"ready": 1, "lost": 0, "failed": 0}
    assert scrape("process_resident_memory_bytes") > 1 << 20
    assert scrape("process_open_fds") > 0
    assert scrape("process_cpu_seconds_total") > 0


async def test_what_a_service_has_none_of_is_left_out(load: Load) -> None:
    async with load(f"{ADMIN}contexts: {{a: {{}}}}\n") as service:
        scrape = await scraped(service)

    own = {name for name in scrape.families if name.startswith("piped_")}
    assert own == {"piped_ready", "piped_provider_state", "piped_loop_lag_seconds"}


async def test_the_event_loop_is_looked_at_ten_times_a_second(load: Load) -> None:
    async with load(ADMIN) as service:
        while not (scrape := await scraped(service))("piped_loop_lag_seconds_count"):
            continue

    assert scrape.families["piped_loop_lag_seconds"].type == "histogram"
    assert scrape("piped_loop_lag_seconds_bucket", le="+Inf") >= 1
    assert scrape("piped_loop_lag_seconds_sum") >= 0


async def test_a_client_that_reads_openmetrics_gets_it(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        kind, text = Exposition(service)("application/openmetrics-text;version=1.0.0;q=0.5")

    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics.text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call] # the library's own
    names = {each.name for each in families}
    assert {"piped_pool_parts", "piped_pool_wait_seconds"} <= names


def documented() -> str:
    """Return the page about metrics, without its links."""
    page = Path(__file__).parents[3] / "docs" / "observe.md"
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", page.read_text(encoding="utf-8"))


def row_of(measure: Measure) -> str:
    label = f"`{measure.by}` " if measure.by else ""
    text = measure.text.removesuffix(".")
    return f"| `{measure.shown_name}` | {label}| {text[0].lower()}{text[1:]} |"


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_the_documentation_has_each_metric_with_its_labels(group: Group) -> None:
    labels = [f"`{each}`" for each in group.labels]
    listed = " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))
    plural = "s" if len(labels) > 1 else ""
    title = f"{group.title}, with the label{plural} {listed}:" if labels else f"{group.title}:"

    table = documented().partition(f"\n{title}\n\n")[2].partition("\n\n")[0].splitlines()

    assert table[:2] == ["| metric | more labels | what it is |", "|---|---|---|"]
    assert table[2:][: len(group.measures)] == [row_of(each) for each in group.measures]


def test_the_documentation_has_no_metric_that_there_is_not() -> None:
    known = {each.shown_name for group in GROUPS for each in group.measures} | {LAG.shown_name}
    rows = set(re.findall(r"^\| `(piped_\w+)` \|", documented(), re.MULTILINE))
    named = set(re.findall(r"\bpiped_\w+", documented()))

    assert rows == known
    assert {each.removesuffix("_bucket") for each in named} == known


def test_no_two_metrics_have_one_name() -> None:
    names = [each.name for group in GROUPS for each in group.measures]

    assert len(names) == len(set(names))
