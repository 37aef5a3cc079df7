"""Status tests: tests that run inside the live process, and the report on them."""

from __future__ import annotations

from piped.status.cases import StatusTestCase
from piped.status.processors import StatusTestProcessor
from piped.status.reporter import Reporter

__all__ = ["Reporter", "StatusTestCase", "StatusTestProcessor"]
