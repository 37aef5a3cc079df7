from __future__ import annotations

import pytest
from click.testing import CliRunner

from piped.cli import piped
from piped.providers.web.passwords import read_hash


@pytest.mark.parametrize("sent", ["correct horse\n", "correct horse", "correct horse\r\nmore\n"])
def test_the_hash_of_a_password_is_printed(sent: str) -> None:
    result = CliRunner().invoke(piped, ["hash-password"], input=sent)

    assert result.exit_code == 0, result.output
    assert read_hash(result.stdout.strip()).matches("correct horse")


def test_two_hashes_of_a_password_differ() -> None:
    first, second = (
        CliRunner().invoke(piped, ["hash-password"], input="x\n").stdout for _ in range(2)
    )

    assert first != second


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ("", "Error: expected a password, got nothing"),
        ("\n", "Error: expected a password, got nothing"),
        ("x" * 1025, "Error: expected at most 1024 signs, got 1025"),
    ],
)
def test_what_is_no_password_is_refused(sent: str, problem: str) -> None:
    result = CliRunner().invoke(piped, ["hash-password"], input=sent)

    assert result.exit_code == 2
    assert result.output.endswith(f"{problem}\n")
