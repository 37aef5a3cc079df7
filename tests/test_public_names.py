"""What bundles import from `piped`, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import piped

NAMES = [
    "processor",
    "provider",
    "part",
    "Processor",
    "InputOutputProcessor",
    "DecidingProcessor",
    "Provider",
    "Meta",
    "BatonPath",
    "Size",
    "Duration",
    "Lambda",
    "ErrorTypes",
    "Dependency",
    "PipelineName",
    "Input",
    "Baton",
    "MISSING",
    "Service",
    "PipedError",
    "ConfigError",
    "BatonError",
    "Unavailable",
    "Misconfigured",
]


def test_the_public_names_are_few_and_pinned() -> None:
    assert piped.__all__ == NAMES
    assert len(NAMES) <= 25


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(piped, name) is not None


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match=r"^module 'piped' has no attribute 'prossor'$"):
        _ = piped.prossor


def test_names_of_the_ancestor_say_where_to_read_on() -> None:
    text = "'piped.util' is of Piped 0.x and is gone; see docs/differences.md"
    with pytest.raises(ImportError, match=f"^{text}$"):
        _ = piped.util


def imported_by(statement: str) -> set[str]:
    """Return the modules that a fresh Python has after a statement."""
    program = f"{statement}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_piped_imports_nothing_that_takes_time() -> None:
    slow = {"zmq", "httptools", "structlog", "asyncio", "msgspec", "yaml", "click"}

    assert imported_by("import piped") & slow == set()


def test_writing_a_processor_imports_no_provider_and_no_service() -> None:
    found = imported_by("from piped import Processor, processor, BatonError, MISSING")

    assert found & {"zmq", "httptools", "structlog", "piped.app", "piped.engine"} == set()
