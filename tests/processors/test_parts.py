from __future__ import annotations

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Run
from tests.processors.pool_fakes import Parts


def test_fetch_idempotency_key_stores_the_key_of_the_part(run: Run) -> None:
    baton = run("fetch-idempotency-key: {}", {"n": 1}, workers=Parts("6f2d"))

    assert baton == {"n": 1, "idempotency_key": "6f2d"}


def test_fetch_idempotency_key_stores_it_anywhere(run: Run) -> None:
    text = "fetch-idempotency-key: {output_path: mail.id}"

    assert run(text, {}, workers=Parts("6f2d")) == {"mail": {"id": "6f2d"}}


def test_fetch_idempotency_key_fails_where_no_worker_runs_it(run: Run) -> None:
    baton = {"n": 1}

    with pytest.raises(BatonError) as raised:
        run("fetch-idempotency-key: {}", baton, workers=Parts(""))

    assert str(raised.value) == "no worker pool runs this: there is no idempotency key"
    assert baton == {"n": 1}
