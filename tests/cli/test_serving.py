from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.stories.processes import Processes, processes

HELD = """\
web: {site: {port: 0, routing: {__config__: {processor: pipeline.slow}}}}
pipelines:
    slow:
        - passthrough
        - eval-lambda:
            output_path: null
            namespace: {sleep: time.sleep}
            lambda: "baton: sleep(1)"
        - write-web-response
"""


@pytest.fixture
def start() -> Iterator[Processes]:
    yield from processes()


def test_a_step_that_holds_the_event_loop_is_told_with_its_place(
    start: Processes, tmp_path: Path
) -> None:
    document = tmp_path / "service.yaml"
    document.write_text(HELD)

    service = start("run", document, cwd=tmp_path).started()
    httpx.get(service.url(), timeout=20)
    line = service.told('.*"a step held the event loop".*')[0]
    exit_code = service.terminated()

    assert '"step":"pipelines.slow[1].eval-lambda"' in line
    assert '"place":"service.yaml:5:11"' in line
    assert exit_code == 0
