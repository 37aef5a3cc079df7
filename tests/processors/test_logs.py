from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.processors.conftest import Problems, Run


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("critical", 50),
        ("error", 40),
        ("warning", 30),
        ("warn", 30),
        ("info", 20),
        ("debug", 10),
    ],
)
def test_log_logs_at_its_level(
    run: Run, caplog: pytest.LogCaptureFixture, level: str, number: int
) -> None:
    baton: dict[str, Any] = {}

    with caplog.at_level(logging.DEBUG):
        result = run(f"log: {{message: 100 %s, level: {level}, logger_name: shop}}", baton)

    assert result is baton
    assert caplog.record_tuples == [("shop", number, "100 %s")]


def test_log_takes_its_message_from_the_baton(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run("log: {message_path: a}", {"a": [1]})

    assert caplog.record_tuples == [("root", 20, "[1]")]


@pytest.mark.parametrize("baton", [{"a": ""}, {"a": None}, {}])
def test_log_does_not_log_what_is_empty(
    run: Run, caplog: pytest.LogCaptureFixture, baton: Any
) -> None:
    with caplog.at_level(logging.INFO):
        run("log: {message_path: a}", baton)

    assert caplog.records == []


def test_log_wants_one_message(problems: Problems) -> None:
    assert problems("log: {}") == [
        "expected exactly one of 'message' and 'message_path', got neither"
    ]
    assert problems("log: {message: a, message_path: b}") == [
        "expected exactly one of 'message' and 'message_path', got both"
    ]
    assert problems("log: {message: a, level: failure}") == [
        "expected 'critical', 'error', 'warning', 'warn', 'info' or 'debug', got 'failure'"
    ]


def test_pretty_print_prints_to_stdout(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    baton = {"b": 1, "a": "x"}

    result = run("pretty-print: {}", baton)
    run("pretty-print: {path: b, formatter: 'b: b + n', namespace: {n: 1}}", baton)

    assert result is baton
    assert capsys.readouterr().out == "{'a': 'x', 'b': 1}\n2\n"


def test_pretty_print_names_what_nobody_defines(problems: Problems) -> None:
    assert problems("pretty-print: {formatter: '_: where'}") == [
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})"
    ]
